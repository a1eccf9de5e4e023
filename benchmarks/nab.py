"""How well anomalies are found on the Numenta Anomaly Benchmark v1.1, strictly online.

    benchmarks/nab.py [--quick] [--json] [--data DIR]

standard, low-fp, low-fn   the benchmark's three profiles, with its own choice of threshold:
                           the one, for all files, at which the profile's sum is largest
standard-loco              each category scored at the threshold chosen without it
standard-nested            each category scored with the weights, widths, vigilance, growth,
                           quiet time and threshold chosen without it, among those tried
alarms-per-1000            rows that are alarms at the standard threshold, of 1,000 judged

The detector is `novelty` as it ships, made anew for each file and given one row after the
other; it knows neither how long a file is nor how large its values will be. Its score is
what `offswitch detector score` prints. `--quick` runs every third file of the corpus; its
figures can be compared with each other and not with those of others.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figures import Figures
from nab_score import PROFILES, Floats, Recording, best, gained, read, steps, weighed

from offswitch.watch.detectors.novelty import Novelty, NoveltySection

LIMITS = tuple(round(1.0 + 0.1 * number, 1) for number in range(41))
Parts = Mapping[str, Floats]
"""Of one file: the surprises of each row by what was surprising."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way of adding up the surprises."""

    weights: tuple[tuple[str, float], ...]
    quiet: int


RUNS: Mapping[str, Mapping[str, float]] = {
    "": {},
    "wide ": {"short": 8, "long": 24},
    "keen ": {"vigilance": 0.08},
    "dull ": {"vigilance": 0.18},
    "fast ": {"growth": 500},
    "slow ": {"growth": 1500},
}
"""Runs of the detector by other keys, for the nested score; the first is the default."""
SHAPES = (
    (),
    *((one,) for one in ("short", "long", "wide short", "wide long")),
    *itertools.product(("short", "wide short"), ("long", "wide long")),
    *((f"{run}short", f"{run}long") for run in list(RUNS)[2:]),
)


def configurations() -> Iterator[Configuration]:
    """Give those that were tried: which shapes, how much range and season, how long quiet."""
    for shapes, beyond, season, quiet in itertools.product(
        SHAPES, (0.5, 0.75, 1.0), (0.0, 0.5, 1.0), (40, 60, 80, 100)
    ):
        weights = {**dict.fromkeys(shapes, 1.0), "range": beyond, "season": season}
        yield Configuration(tuple(weights.items()), quiet)


def judged(recording: Recording, **keys: float) -> tuple[Floats, Floats]:
    """Give the score of each row, and its parts, by a detector that sees one row at a time."""
    section = NoveltySection.model_validate({"kind": "novelty", "series": "nab.value", **keys})
    detector = Novelty(section)
    scores, parts, now = [], [], 0
    for moment, value in zip(recording.times_us, recording.values, strict=True):
        now = max(now, moment)  # the clocks of one file were set back
        scores.append(detector.update(now, value).score)
        parts.append(detector.parts)
    return np.array(scores), np.array(parts)


def alarms(surprise: Floats, limit: float, quiet: int) -> list[int]:
    """Give the rows at which an alarm begins."""
    rows = np.flatnonzero(surprise > limit)
    begins: list[int] = []
    place = 0
    while place < len(rows):
        row = int(rows[place])
        begins.append(row)
        place = int(np.searchsorted(rows, row + quiet, side="right"))
    return begins


def table(recordings: Sequence[Recording], parts: Sequence[Parts]) -> Floats:
    """Give what each file gains by each configuration at each limit, in the standard profile."""
    profile = PROFILES["standard"]
    every = list(configurations())
    gains = np.zeros((len(recordings), len(every), len(LIMITS)))
    for file, recording in enumerate(recordings):
        weights, inside = weighed(recording, profile)
        for one, configuration in enumerate(every):
            total = sum(weight * parts[file][name] for name, weight in configuration.weights)
            for place, limit in enumerate(LIMITS):
                found: dict[int, float] = {}
                gain = 0.0
                for row in alarms(np.asarray(total), limit, configuration.quiet):
                    window = int(inside[row])
                    if row < recording.probation:
                        continue
                    if window < 0:
                        gain += float(weights[row])
                    else:
                        worth = float(weights[row]) + profile.miss
                        found[window] = max(found.get(window, 0.0), worth)
                gains[file, one, place] = gain + sum(found.values())
    return gains


def nested(recordings: Sequence[Recording], gains: Floats) -> float:
    """Sum what each category gains by what is best on the others, in points."""
    category = np.array([recording.category for recording in recordings])
    gain = 0.0
    for left_out in np.unique(category):
        others = gains[category != left_out].sum(axis=0)
        chosen = np.unravel_index(int(others.argmax()), others.shape)
        gain += float(gains[category == left_out].sum(axis=0)[chosen])
    return points(recordings, gain)


def points(recordings: Sequence[Recording], gain: float) -> float:
    """Give a gain over no alarm at all, in hundredths of the standard profile's largest."""
    windows = sum(len(recording.windows) for recording in recordings)
    return 100 * gain / (windows * (1 + PROFILES["standard"].miss))


def left_out(recordings: Sequence[Recording], scores: Sequence[Floats]) -> float:
    """Score each category at the threshold that is best on the others."""
    weighted = [
        steps(one, score, PROFILES["standard"])
        for one, score in zip(recordings, scores, strict=True)
    ]
    gain = 0.0
    for category in sorted({recording.category for recording in recordings}):
        named = list(zip(recordings, weighted, strict=True))
        chosen = best([one for recording, one in named if recording.category != category])
        inside = [one for recording, one in named if recording.category == category]
        gain += gained(inside, chosen.threshold)
    return points(recordings, gain)


def main() -> int:
    """Judge every file, and show."""
    figures = Figures("nab", "anomaly detection on the Numenta Anomaly Benchmark, strictly online")
    data = figures.data or Path("../shared/data")
    if not any((data / name).exists() for name in ("nab-v1.1.tar.gz", "nab-v1.1")):
        figures.absent("standard", f"there is no nab-v1.1.tar.gz in {data}: name one by --data")
        figures.show()
        return 1
    recordings = list(read(data))
    if figures.quick:
        recordings = recordings[::3]
        figures.say(f"--quick: every third file, {len(recordings)} of 58: no score of the corpus")
    scores, parts = [], []
    begin = time.monotonic()
    for recording in recordings:
        figures.say(recording.name)
        score, part = judged(recording)
        scores.append(score)
        short, long, beyond, season = part.T
        rare = np.maximum(0.0, season - 1.25)  # as `novelty` counts it
        parts.append({"short": short, "long": long, "range": beyond, "season": rare})
    took = time.monotonic() - begin
    rows = sum(len(recording.values) for recording in recordings)
    figures.say(f"{rows} rows in {took:.0f} s, {took / rows * 1e6:.0f} µs each")
    show_profiles(figures, recordings, scores)
    loco = left_out(recordings, scores)
    what = "a threshold for each category, chosen without it"
    figures.value("standard-loco", [loco], "points", what=what, target="≥ 70")
    if figures.quick:
        figures.absent("standard-nested", "it takes all files, and other configurations")
    else:
        for name, keys in list(RUNS.items())[1:]:
            figures.say(f"once more with other keys: {dict(keys)}")
            for recording, part in zip(recordings, parts, strict=True):
                short, long, *_ = judged(recording, **keys)[1].T
                part |= {f"{name}short": short, f"{name}long": long}
        value = nested(recordings, table(recordings, parts))
        what = f"{len(list(configurations()))} configurations, chosen like the threshold"
        figures.value("standard-nested", [value], "points", what=what, target="≥ 66")
    figures.show()
    return 0


def show_profiles(
    figures: Figures, recordings: Sequence[Recording], scores: Sequence[Floats]
) -> None:
    """Score the corpus by each profile."""
    targets = {"standard": "≥ 71", "low-fp": "≥ 65", "low-fn": ""}
    for name, profile in PROFILES.items():
        files = [steps(one, score, profile) for one, score in zip(recordings, scores, strict=True)]
        top = best(files)
        what = f"threshold {top.threshold:.4g}, {top.alarms} alarms, {top.false} of them false"
        figures.value(name, [top.score], "points", what=what, target=targets[name])
        if name == "standard":
            rate = 1000 * top.alarms / top.judged
            what = f"{top.alarms} in {top.judged} rows after probation"
            figures.value("alarms-per-1000", [rate], "alarms", what=what, target="≤ 1.1")


if __name__ == "__main__":
    sys.exit(main())
