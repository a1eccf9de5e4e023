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

*Boldness.* Where readings keep moods for longer than any whitening sees, minutes unlike the minutes
before, blocks reach evidence that exchangeable ones do not. Of those the most evidence in a block
of n, y = ln(max M / n), has P(y > x) <= exp(-x). The root of the mean square of y over the blocks
before, as it would have been with bold bets, is a series' *wander*; bets are raised to a power of
about 1 / wander before they are made, so that ten strange readings of one mood count as one. A bet
so weakened is a bet as any other, chosen by the past alone, and the e-value as exact; only the
delay is longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist

__all__ = [
    "BETS",
    "BOLDNESS",
    "LEVELS",
    "MOST_BINS",
    "USUAL",
    "Urn",
    "lot",
    "timidity",
    "urn",
    "wandered",
]

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
BOLDNESS = tuple(2.0 ** (-step / 2) for step in range(11))
"""The powers that bets are raised to."""
TOLERATED = 1.0
"""Wander that is no reason to be timid."""
_WANDER = 1 / 32
"""The weight of the latest block in the square of the wander, once there were thirty."""
_LEAP = 16.0
"""How many times its square a block may count for, at most: one change is no mood."""
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
    bets: tuple[tuple[tuple[float, ...], ...], ...]
    """For each boldness and bin the value of each bet there."""


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
        [(_below(high, *bet) - _below(low, *bet)) / width for bet in BETS]
        for width, (low, high) in zip(widths, pairwise(marks), strict=True)
    ]
    bets = tuple(_timid(bins, widths, power) for power in BOLDNESS)
    return Urn(gaps, tuple(ends[1:-1]), bets)


def _timid(
    bins: list[list[float]], widths: list[int], power: float
) -> tuple[tuple[float, ...], ...]:
    """Raise each bet to a power, so that the fresh urn expects 1 of it."""
    raised = [[value**power for value in one] for one in bins]
    gaps = sum(widths)
    expected = [
        sum(width * one[bet] for width, one in zip(widths, raised, strict=True)) / gaps
        for bet in range(len(BETS))
    ]
    return tuple(
        tuple(value / whole for value, whole in zip(one, expected, strict=True)) for one in raised
    )


def wandered(square: float, blocks: int, peak: float, timid: int) -> float:
    """Take a block into the square of the wander: its evidence reached `peak` times its length."""
    reached = math.log(max(peak, 1.0)) / BOLDNESS[timid]
    counted = min(reached * reached, _LEAP * (square + 1.0))
    learnt: float = square + (counted - square) * max(_WANDER, 1.0 / (blocks + 2))
    return learnt


def timidity(square: float) -> int:
    """Give the place in `BOLDNESS` for the square of a wander."""
    wander = max(math.sqrt(square), TOLERATED)
    return min(math.ceil(2.0 * math.log2(wander / TOLERATED)), len(BOLDNESS) - 1)


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
