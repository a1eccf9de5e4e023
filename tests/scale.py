"""How often a test repeats itself: a twentieth every day, in full under OFFSWITCH_LONG=1.

A requirement that says "10,000 times" is shown 500 times at every change and 10,000 times
before a release. Twice is the least, since once shows nothing about a race.
"""

from __future__ import annotations

import os

LONG = os.environ.get("OFFSWITCH_LONG") == "1"
"""True where the run counts are those that the requirements name."""


def runs(full: int) -> int:
    """Give `full` in a long run, a twentieth of it (at least 2) every day."""
    return full if LONG else max(2, full // 20)
