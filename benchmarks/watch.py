"""How fast watch takes in what it sees: many series, single samples, log lines.

    benchmarks/watch.py [--quick] [--json] [--data DIR]

`series-rate`: readings a second on one core from parsed readings (series and value, as arrays) to
findings, through the default bank and its gate. `sample-to-order`: what a received sample takes to
become an order, beside the bare round trip. `log-lines`: lines a second through the template miner.
Each figure is one function in a section of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from figures import Figures

# --- series-rate ------------------------------------------------------------------------


def series_rate(figures: Figures) -> None:
    """Readings a second of ten thousand series, on one core."""
    figures.absent("series-rate", "the bank is not built yet")


# --- sample-to-order --------------------------------------------------------------------


def sample_to_order(figures: Figures) -> None:
    """A sample received to its order, beside the bare round trip."""
    figures.absent("sample-to-order", "not written yet")


# --- log-lines --------------------------------------------------------------------------


def log_lines(figures: Figures) -> None:
    """Lines a second through the template miner."""
    figures.absent("log-lines", "not written yet")


# ----------------------------------------------------------------------------------------

KEYS: dict[str, Callable[[Figures], None]] = {
    "series-rate": series_rate,
    "sample-to-order": sample_to_order,
    "log-lines": log_lines,
}


def main() -> int:
    """Measure and print."""
    figures = Figures("watch", "How fast watch takes in what it sees.")
    for measure in KEYS.values():
        measure(figures)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
