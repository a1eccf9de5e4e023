"""The scorer of the Numenta Anomaly Benchmark, written from its published definition.

Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly
Benchmark", ICMLA 2015. A row is an alarm when its score is at least the threshold, which is
one for all files and is chosen so that the sum is largest.

    sigma(y) = 2 / (1 + exp(5 y)) - 1          for y <= 3, and -1 beyond
    in a window     the first alarm counts (the largest sigma of its alarms, which is the
                    first): y = -(rows to its right end + 1) / width; sigma(-1) is made 1
    in no window    each alarm costs weight_fp times sigma(y), y = rows since the last
                    window's end over its width - 1; the full weight before any window
    a window without an alarm costs weight_fn
    the first 15 % of a file, at most 750 rows (15 % of 5,000), count for nothing

    score = 100 (sum - null) / (perfect - null)

where null is the sum of a detector that never alarms, and perfect that of one that finds
each window at its first row and nothing else.

A file's sum is a step function of the threshold, kept as its steps; a corpus is the sum of
its files, so that leaving some out costs a sort and no new run of a detector.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "PROFILES",
    "Floats",
    "Profile",
    "Recording",
    "Rows",
    "Steps",
    "Sum",
    "best",
    "gained",
    "read",
    "steps",
    "weighed",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]

_ARCHIVE = "nab-v1.1"
_PROBATION, _PROBATION_ROWS = 0.15, 5000


@dataclass(frozen=True, slots=True)
class Profile:
    """What an application cares for."""

    false_alarm: float
    """What a row costs that is an alarm far from any window."""
    miss: float
    """What a window costs that has no alarm; a window found at once gives 1."""


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "low-fp": Profile(0.22, 1.0),
    "low-fn": Profile(0.11, 2.0),
}
"""By our names; the benchmark's own profiles.json says the same."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of the corpus."""

    name: str
    """Such as `realTweets/Twitter_volume_AAPL.csv`."""
    times_us: Sequence[int]
    """As written, read as if in UTC, in microseconds since 1970."""
    values: Sequence[float]
    windows: Sequence[tuple[int, int]]
    """First and last row of each labelled window, in order."""

    @property
    def category(self) -> str:
        """The folder in which it lies."""
        return self.name.partition("/")[0]

    @property
    def probation(self) -> int:
        """How many rows at its begin count for nothing."""
        return int(_PROBATION * min(len(self.values), _PROBATION_ROWS))


@dataclass(frozen=True, slots=True)
class Steps:
    """A file's sum as a function of the threshold: what changes where it falls below a score."""

    scores: Floats
    """Falling."""
    gains: Floats
    """What an alarm at that row adds, those at higher scores being alarms already."""
    false: Floats
    """1 where the row is in no window."""
    windows: int
    """How many windows can be found."""
    null: float
    """The sum with no alarm at all."""
    judged: int
    """How many rows count: those after probation."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A corpus at one threshold."""

    threshold: float
    score: float
    """100 is perfect, 0 is no alarm at all."""
    alarms: int
    """How many rows are alarms, after probation."""
    false: int
    """How many of them lie in no window."""
    judged: int
    """How many rows count: those after probation."""


def _sigma(y: Floats) -> Floats:
    return np.where(y > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(y, 3.0))) - 1.0)


_FIRST = float(_sigma(np.array([-1.0]))[0])


def weighed(recording: Recording, profile: Profile) -> tuple[Floats, Rows]:
    """Give what an alarm at each row is worth, and the number of its window or -1."""
    count = len(recording.values)
    weights = np.full(count, -profile.false_alarm)
    inside = np.full(count, -1, dtype=np.int64)
    for number, (first, last) in enumerate(recording.windows):
        width = last - first + 1
        end = recording.windows[number + 1][0] if number + 1 < len(recording.windows) else count
        after = np.arange(last + 1, end)
        weights[after] = profile.false_alarm * _sigma((after - last) / (width - 1))
        rows = np.arange(first, last + 1)
        weights[rows] = _sigma(-(last - rows + 1) / width) / _FIRST
        inside[rows] = number
    return weights, inside


def steps(recording: Recording, scores: Sequence[float] | Floats, profile: Profile) -> Steps:
    """Weigh each row of a file, in the order in which a falling threshold reaches them."""
    given = np.asarray(scores, dtype=np.float64)
    count = len(recording.values)
    if given.shape != (count,) or np.isnan(given).any():
        raise ValueError(f"{recording.name}: {count} rows want as many scores, and no NaN")
    weights, inside = weighed(recording, profile)
    judged = np.arange(recording.probation, count)
    order = judged[np.argsort(-given[judged], kind="stable")]
    gains, place = weights[order], inside[order]
    best_yet = dict.fromkeys(np.unique(inside[judged][inside[judged] >= 0]).tolist(), -profile.miss)
    windows = len(best_yet)
    for at in np.flatnonzero(place >= 0):
        window, weight = int(place[at]), float(gains[at])
        gains[at] = max(0.0, weight - best_yet[window])
        best_yet[window] = max(best_yet[window], weight)
    false = (place < 0).astype(np.float64)
    return Steps(given[order], gains, false, windows, -profile.miss * windows, len(judged))


def _joined(files: Iterable[Steps]) -> tuple[Floats, Floats, Floats, float, int, int]:
    all_files = list(files)
    scores = np.concatenate([one.scores for one in all_files])
    gains = np.concatenate([one.gains for one in all_files])
    false = np.concatenate([one.false for one in all_files])
    order = np.argsort(-scores, kind="stable")
    windows = sum(one.windows for one in all_files)
    null = sum(one.null for one in all_files)
    rows = sum(one.judged for one in all_files)
    return scores[order], gains[order], false[order], null, windows, rows


def best(files: Iterable[Steps]) -> Sum:
    """Choose the threshold at which the sum is largest, as the benchmark's optimiser does."""
    scores, gains, false, null, windows, rows = _joined(files)
    # A threshold takes all rows of one score, or none of them.
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    sums = np.cumsum(gains)[ends]
    top = int(np.argmax(sums))
    if sums[top] <= 0:
        return Sum(float("inf"), 0.0, 0, 0, rows)
    alarms = int(ends[top]) + 1
    gained = 100 * float(sums[top]) / (windows - null)
    return Sum(float(scores[ends[top]]), gained, alarms, int(false[:alarms].sum()), rows)


def gained(files: Iterable[Steps], threshold: float) -> float:
    """Give what files gain over no alarm at all at a threshold, a window found at once being 1."""
    return sum(float(one.gains[one.scores >= threshold].sum()) for one in files)


def _seconds(text: str) -> int:
    moment = datetime.fromisoformat(text + "+00:00")
    return round(moment.timestamp() * 1_000_000)


def _recording(name: str, text: str, windows: Sequence[Sequence[str]]) -> Recording:
    rows = [line.split(",") for line in text.splitlines()[1:] if line]
    times = [_seconds(row[0]) for row in rows]
    first: dict[int, int] = {}
    for number, moment in enumerate(times):
        first.setdefault(moment, number)
    limits = [(first[_seconds(begin)], first[_seconds(end)]) for begin, end in windows]
    return Recording(name, times, [float(row[1]) for row in rows], limits)


def read(data: Path) -> Iterator[Recording]:
    """Read the corpus from the archive as it is, or from a folder of the same name, in order."""
    texts = dict(_texts(data))
    labels: Mapping[str, Any] = json.loads(texts["labels/combined_windows.json"])
    for name in sorted(labels):
        yield _recording(name, texts[f"data/{name}"], labels[name])


def _texts(data: Path) -> Iterator[tuple[str, str]]:
    folder = data / _ARCHIVE
    if folder.is_dir():
        for path in folder.rglob("*"):
            if path.suffix in {".csv", ".json"}:
                yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        return
    with tarfile.open(data / f"{_ARCHIVE}.tar.gz") as archive:
        for member in archive:
            held = archive.extractfile(member)
            if held is not None and member.name.endswith((".csv", ".json")):
                text = io.TextIOWrapper(held, encoding="utf-8").read()
                yield member.name.removeprefix("./"), text
