"""The gate: of ten thousand series' evidence, what may be called a finding.

Each block of each series is a hypothesis, *nothing changed in it*, numbered t = 1, 2, ... as blocks
begin. Within a block of n readings M - (readings) is a martingale while nothing changes, so
P(max M >= n x) <= 1/x, and 1/(max M / n) is a p-value. It is calibrated to an e-value

    E_t = (x - 1 - ln x) / (ln x)^2,   x = max M / n      (Shafer, Shen, Vereshchagin, Vovk 2011)

which may be looked at whenever one likes: it only grows within its block. e-LOND (Xu and Ramdas,
*Online multiple testing with e-values*, AISTATS 2024) calls it a finding when

    E_t >= 1 / (rate * g_t * (R + 1)),    R = findings so far in this family,  sum of g_t = 1

**Guarantee.** Of the findings of a family the expected share of false ones is at most `rate`,
however the series hang together, whichever is looked at first, and at any time one stops:
false / all <= sum_t 1{E_t >= 1/a_t} / R_end <= sum_t a_t E_t / R_end, and a_t <= rate g_t R_end for
each that passes, since it is itself one more than R. While nothing changes anywhere, the chance of
any finding in a family is at most `rate`. It presumes of each series what the e-detector presumes.

A family is what begins in one day of the machine's clock, so that the price of the millionth block
is not paid for ever. g_t is level within runs of 1024, 2048, 4096, ... hypotheses, which share
1/2, 1/6, 1/12, ...: g_t = 1 / ((k + 1)(k + 2) 1024 2^k) in run k = 0, 1, 2, ... A series with
three findings in a family is restless: it changes as a matter of course, and is asked no more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Gate", "e_value", "share"]

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]

_RUN = 1024
_FAMILY_US = 24 * 3600 * 1_000_000
_KEPT = 8
"""Families whose findings are still counted; a block that is older has none to its credit."""
_WORTH_A_LOOK = 20.0
_RESTLESS = 3


def e_value(x: Floats) -> Floats:
    """Calibrate what an e-process once reached to an e-value; 0 where it never exceeded e."""
    log = np.log(np.maximum(x, np.e))
    return np.where(x > np.e, (x - 1.0 - log) / (log * log), 0.0)


def share(index: npt.NDArray[np.int64]) -> Floats:
    """Give g_t of hypotheses, counted from 0."""
    run = np.log2(index // _RUN + 1).astype(np.int64)
    return 1.0 / ((run + 1.0) * (run + 2.0) * _RUN * np.exp2(run))


class Gate:
    """What each slot's block must reach."""

    __slots__ = ("_families", "_family", "_length", "_opened", "_share", "_told", "rate")

    def __init__(self, capacity: int, rate: float = 0.1) -> None:
        """Ask up to `capacity` slots.

        `rate`: the declared share of false findings, and the chance of any on a calm day.
        """
        self.rate = rate
        self._opened = 0
        """Hypotheses of the family so far."""
        self._families: dict[int, int] = {}
        """Findings of each family, by its number."""
        self._share: Floats = np.zeros(capacity)
        """g_t of the block of each slot; 0: it is none, or has had its finding."""
        self._length: Floats = np.ones(capacity)
        self._family: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._told: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        """Findings of each slot in today's family."""

    def open(self, slots: Slots, lengths: npt.NDArray[np.int64], mono_us: int) -> None:
        """A block begins at each slot."""
        family = mono_us // _FAMILY_US
        if family not in self._families:
            self._opened = 0
            self._told[:] = 0
            self._families[family] = 0
            for old in sorted(self._families)[:-_KEPT]:
                del self._families[old]
        self._length[slots], self._family[slots], self._share[slots] = lengths, family, 0.0
        asked = slots[self._told[slots] < _RESTLESS]
        self._share[asked] = share(np.arange(self._opened, self._opened + len(asked)))
        self._opened += len(asked)

    def leave(self, slot: int) -> None:
        """The series of a slot is gone; whoever comes next is another one."""
        self._share[slot], self._told[slot] = 0.0, 0

    def restless(self, slot: int) -> bool:
        """Whether a slot has had its findings for today."""
        return bool(self._told[slot] >= _RESTLESS)

    def passing(self, slots: Slots, mass: Floats) -> list[tuple[int, float]]:
        """Give the slots, by their place in `slots`, whose evidence is a finding, and its score.

        The score is the logarithm of the evidence over that of what it must reach. A block has one
        finding at most.
        """
        hot = np.flatnonzero(mass > _WORTH_A_LOOK * np.e)
        if not len(hot):
            return []
        found = []
        chosen = slots[hot]
        reached = e_value(mass[hot] / self._length[chosen])
        # Each may be the next one's credit: nothing that could pass is left out of the loop.
        most = 1 + max(self._families.values(), default=0) + len(hot)
        near = np.flatnonzero(reached * self.rate * self._share[chosen] * most >= 1.0)
        for place in near[np.argsort(-reached[near], kind="stable")]:
            slot = int(chosen[place])
            family = int(self._family[slot])
            findings = self._families.get(family, 0)
            limit = 1.0 / (self.rate * float(self._share[slot]) * (findings + 1))
            if reached[place] >= limit:
                if family in self._families:
                    self._families[family] = findings + 1
                self._share[slot] = 0.0
                self._told[slot] += 1
                found.append((int(hot[place]), float(np.log(reached[place]) / np.log(limit))))
        return found

    def spent(self) -> dict[str, int]:
        """Say how many hypotheses and findings today's family has."""
        latest = max(self._families, default=0)
        return {"hypotheses": self._opened, "findings": self._families.get(latest, 0)}
