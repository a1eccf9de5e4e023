"""Ranks as draws from an urn: the e-values that the e-detector bets with.

Let R be m = G - 1 reference values and let the readings after them be exchangeable with R. The
order statistics of R part the line into G gaps, and the gaps that later readings fall into are
draws from a Polya urn that begins with one ball for each gap, whatever the distribution is:

    P(next reading in gap i | the block so far) = (1 + drawn_i) / (G + t),   t readings drawn

This is the law of sequential ranks (Renyi 1962), and so of online conformal p-values (Vovk,
Gammerman and Shafer 2005), with the ranks among R hidden. Gaps are joined into bins, few and
narrow in the tails; bin b begins with g_b balls. A *bet* f is a likelihood ratio on the bins with
sum_b g_b f_b = G. Dividing by what the urn itself expects of it makes an e-value,

    e_t = f(b_t) (G + t) / S_t,   S_0 = G,   S_(t+1) = S_t + f(b_t),     E[e_t | block so far] = 1

exactly, in finite samples, for any distribution; and S_t is all that must be kept of the block.
What repeats for long makes its own gap heavy, and stops counting as strange.

The bets are what normal readings would do if they moved by 1, 2 or 4 spreads up or down, or spread
2 or 4 times as much, or a third as much. None is about less than a spread: small drifts lose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist

__all__ = ["BETS", "LEVELS", "MOST_BINS", "USUAL", "Urn", "lot", "urn"]

LEVELS = (32, 64, 128, 256)
"""The gaps of a series' first, second, third and every later block."""
BETS = (
    (1.0, 1.0),
    (2.0, 1.0),
    (4.0, 1.0),
    (-1.0, 1.0),
    (-2.0, 1.0),
    (-4.0, 1.0),
    (0.0, 2.0),
    (0.0, 4.0),
    (0.0, 1 / 3),
)
"""Where readings would go, in spreads, and how many spreads they would then have."""
USUAL = 32
"""The usual band leaves out one in so many at either end."""
_LOTS = 4096


@dataclass(frozen=True, slots=True)
class Urn:
    """The bins and bets for one number of gaps."""

    gaps: int
    """G; the reference has one value fewer."""
    edges: tuple[int, ...]
    """Gaps below each cut; the cut itself is the order statistic of that rank, counted from 1."""
    bets: tuple[tuple[float, ...], ...]
    """For each bin the value of each bet there."""


MOST_BINS = 2 * (LEVELS[-1].bit_length() - 2) + 4


@cache
def urn(gaps: int) -> Urn:
    """Give the urn with `gaps` gaps, a power of two from 32 up.

    Bins from the left: 1, 1, 2, 4, ... G/8 gaps, then four of G/8, then the same outwards.
    """
    tail = [1, *(1 << n for n in range(gaps.bit_length() - 3))]
    widths = [*tail, *[gaps // 8] * 4, *reversed(tail)]
    ends = [0]
    for width in widths:
        ends.append(ends[-1] + width)
    assert ends[-1] == gaps  # noqa: S101 - arithmetic
    normal = NormalDist()
    marks = [-math.inf, *(normal.inv_cdf(end / gaps) for end in ends[1:-1]), math.inf]
    bins = [
        tuple((_below(high, *bet) - _below(low, *bet)) * gaps / width for bet in BETS)
        for width, (low, high) in zip(widths, pairwise(marks), strict=True)
    ]
    return Urn(gaps, tuple(ends[1:-1]), tuple(bins))


def _below(mark: float, shift: float, spread: float) -> float:
    return 0.5 * math.erfc((shift - mark) / (spread * math.sqrt(2)))


def lot(count: int) -> float:
    """Draw the lot by which the reading number `count` is parted from its equals, in [0, 1)."""
    return _lots()[count % _LOTS]


@cache
def _lots() -> tuple[float, ...]:
    """Draw them all, by splitmix64 (Steele, Lea and Flood 2014): always the same ones."""
    drawn = []
    for number in range(1, _LOTS + 1):
        word = number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        word = (word ^ word >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        drawn.append(((word ^ word >> 31) >> 11) / (1 << 53))
    return tuple(drawn)
