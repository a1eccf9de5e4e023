"""How every benchmark here takes its arguments and says its figures.

    benchmarks/NAME.py [--quick] [--json] [--data DIR]

A figure is either a *value* in a unit ("0.4 ms", and maybe what a bare thing takes in the
same run), or a *ratio* to a baseline whose runs were interleaved with ours, one pair after
the other, so that a slow second on the machine hits both sides. For a ratio the figure is
the median of the paired ratios, in "×", its baseline being 1 × by definition; the table
also shows the two medians from which it came. What cannot run here is left out of the
object and named on stderr, never guessed.

A benchmark that is interrupted or told to end does what stands in its `finally`: what it started
ends with it.

    figures = Figures("stop", "how fast a stop is")
    figures.value("last-act", samples_ms, "ms", target="≤ 1 ms", what="order → last act")
    figures.against("empty-10", ours_ms, bare_ms, "ms", target="≤ 1.5 ×", what="…")
    figures.absent("fsyncs", "strace is not installed")
    figures.show()
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

__all__ = ["Figures", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure as the table and the object show it."""

    key: str
    what: str
    """One clause for people."""
    value: float
    unit: str
    """The unit of the target in the issue's table; `×` for a ratio."""
    baseline: float | None
    ratio: float | None
    runs: int
    target: str
    detail: str
    """The raw medians, where the value is a ratio; the spread, where it is not."""


def _quantile(samples: Sequence[float], share: float) -> float:
    if share == 0.5:
        return statistics.median(samples)
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _spread(samples: Sequence[float], unit: str) -> str:
    middle, p90 = statistics.median(samples), _quantile(samples, 0.9)
    return f"p50 {middle:.4g} {unit}, p90 {p90:.4g} {unit}, max {max(samples):.4g} {unit}"


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave by way of every `finally`; a second signal does not cut that short."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


class Figures:
    """The figures of one run, and its arguments: `quick`, `as_json`, `data`."""

    def __init__(self, name: str, about: str, argv: Sequence[str] | None = None) -> None:
        """Read the arguments that every benchmark takes; `argv` is the process's own by default."""
        parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py", description=about)
        parser.add_argument("--quick", action="store_true", help="end within 40 s")
        parser.add_argument("--json", action="store_true", help="one object on stdout")
        parser.add_argument("--data", type=Path, help="folder of data sets (OFFSWITCH_DATA)")
        given = parser.parse_args(argv)
        self.name = name
        self.quick: bool = given.quick
        self.as_json: bool = given.json
        usual = os.environ.get("OFFSWITCH_DATA")
        self.data: Path | None = given.data or (Path(usual) if usual else None)
        self._rows: list[Row] = []
        for each in _ENDING:  # SIGINT, too, where a shell has it ignored in the background
            if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, _end)

    def runs(self, usual: int, quick: int) -> int:
        """How many runs to take."""
        return quick if self.quick else usual

    def say(self, text: str) -> None:
        """Tell whoever waits what is being measured now (stderr)."""
        print(text, file=sys.stderr, flush=True)

    def value(
        self,
        key: str,
        samples: Sequence[float],
        unit: str,
        *,
        what: str,
        target: str = "",
        baseline: Sequence[float] | None = None,
        share: float = 0.5,
    ) -> None:
        """Add the median of `samples`; `baseline` holds samples of the bare thing, if any.

        `share`: another quantile than the median, such as 0.99.
        """
        value = _quantile(samples, share)
        bare = _quantile(baseline, share) if baseline else None
        ratio = value / bare if bare else None
        row = Row(key, what, value, unit, bare, ratio, len(samples), target, _spread(samples, unit))
        self._rows.append(row)

    def against(
        self,
        key: str,
        ours: Sequence[float],
        bare: Sequence[float],
        unit: str,
        *,
        what: str,
        target: str = "",
    ) -> None:
        """Add the median of the paired ratios; `ours[i]` and `bare[i]` were taken side by side."""
        pairs = [mine / other for mine, other in zip(ours, bare, strict=True) if other]
        ratio = statistics.median(pairs)
        detail = f"{statistics.median(ours):.4g} against {statistics.median(bare):.4g} {unit}"
        self._rows.append(Row(key, what, ratio, "×", 1.0, ratio, len(pairs), target, detail))

    def count(self, key: str, hits: int, runs: int, *, what: str, target: str = "") -> None:
        """Add in how many of so many runs something happened."""
        row = Row(key, what, float(hits), "", None, None, runs, target, f"{hits} of {runs}")
        self._rows.append(row)

    def absent(self, key: str, why: str) -> None:
        """Say on stderr what cannot be measured on this machine; it is left out of the object."""
        self.say(f"{key}: not measured here: {why}")

    def show(self) -> None:
        """Print the table, or with `--json` the object, on stdout."""
        if self.as_json:
            figures = {
                row.key: {
                    "value": row.value,
                    "unit": row.unit,
                    "baseline": row.baseline,
                    "ratio": row.ratio,
                    "runs": row.runs,
                }
                for row in self._rows
            }
            print(json.dumps({"figures": figures}, ensure_ascii=False))
            return
        print(_table(self._rows))


def _table(rows: Sequence[Row]) -> str:
    head = ("figure", "value", "target", "baseline", "ratio", "runs", "what, and from what")
    lines = [head]
    for row in rows:
        baseline = "" if row.baseline is None else f"{row.baseline:.4g} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
        said = f"{row.what} ({row.detail})"
        value = f"{row.value:.4g} {row.unit}"
        lines.append((row.key, value, row.target, baseline, ratio, str(row.runs), said))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    shown = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    shown.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in shown)
