"""What so many drills prove: bounds, means and probabilities of failure on demand. Pure.

    upper_bound     the Clopper-Pearson bound: had a demand failed more often than this, so few
                    failures in so many drills would come in one of ten cases or less
    jeffreys_mean   (k + ½)/(n + 1): the mean under Jeffreys' prior, for comparing and not for
                    promising
    rate            (k + ½)/T: the rate of dangerous failures, of which nothing was known before
                    the next drill (λDU), likewise under Jeffreys' prior
    average         the mean probability that a demand fails, under a test every τ (PFDavg, after
                    IEC 61508-6, annex B): λτ/2 and what more channels make of it, with the share β
                    of failures that they have in common
    now             1 - exp(-λ·age): the same at one moment, so long after the last clean drill

Clopper and Pearson, Biometrika 26 (1934), 404-413; the incomplete beta function after Numerical
Recipes, 6.4 (a continued fraction by Lentz's method), and its inverse by bisection. None of the
results is a safety integrity level: they are *measured demand-failure bounds*.
"""

from __future__ import annotations

import math
from enum import StrEnum

__all__ = [
    "CONFIDENCE",
    "Architecture",
    "average",
    "average_exact",
    "clean_drills",
    "incomplete_beta",
    "jeffreys_mean",
    "now",
    "partly_tested",
    "rate",
    "upper_bound",
]

CONFIDENCE = 0.9
_TINY = 1e-300
_CLOSE = 1e-14
_MOST_TERMS = 100_000
_HALVINGS = 64
_EXACT_BELOW = 1e-9
"""Below this the exact formula would only show what the machine's numbers lose."""


class Architecture(StrEnum):
    """How many of how many channels must act."""

    ONE_OF_ONE = "1oo1"
    ONE_OF_TWO = "1oo2"
    TWO_OF_THREE = "2oo3"
    ONE_OF_THREE = "1oo3"


def clean_drills(bound: float, confidence: float = CONFIDENCE) -> int:
    """Say how many drills without a failure show that a demand fails less often than `bound`."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-bound))


def upper_bound(failures: int, drills: int, confidence: float = CONFIDENCE) -> float:
    """Give the one-sided Clopper-Pearson bound; 1 where no drill, or none that passed, is there."""
    if failures >= drills:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if incomplete_beta(failures + 1, drills - failures, middle) < confidence:
            low = middle
        else:
            high = middle
    return high


def jeffreys_mean(failures: int, drills: int) -> float:
    """Give the mean probability of a failure under Jeffreys' prior."""
    return (failures + 0.5) / (drills + 1)


def rate(failures: int, exposure: float) -> float | None:
    """Give failures for each unit of `exposure`; None where there was no exposure."""
    return (failures + 0.5) / exposure if exposure > 0 else None


def average(
    architecture: Architecture, failure_rate: float, interval: float, common: float = 0.1
) -> float:
    """Give PFDavg of a group of equal channels that are tested every `interval`."""
    each = failure_rate * interval
    shared, own = common * each / 2, (1 - common) * each
    match architecture:
        case Architecture.ONE_OF_ONE:
            return each / 2
        case Architecture.ONE_OF_TWO:
            return own**2 / 3 + shared
        case Architecture.TWO_OF_THREE:
            return own**2 + shared
        case Architecture.ONE_OF_THREE:
            return own**3 / 4 + shared


def average_exact(failure_rate: float, interval: float) -> float:
    """Give PFDavg of one channel by the whole saw-tooth: λτ/2 is too much where λτ is not small."""
    each = failure_rate * interval
    return each / 2 if each < _EXACT_BELOW else 1 + math.expm1(-each) / each


def partly_tested(failure_rate: float, interval: float, life: float, coverage: float) -> float:
    """Give PFDavg where a test finds only the share `coverage`, the rest at the end of `life`."""
    return coverage * failure_rate * interval / 2 + (1 - coverage) * failure_rate * life / 2


def now(failure_rate: float, age: float) -> float:
    """Give the probability that a demand fails right now, `age` after the last clean drill."""
    return -math.expm1(-failure_rate * max(age, 0.0))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Give the regularised incomplete beta function I_x(a, b)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Sum the continued fraction."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            total *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return total


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
