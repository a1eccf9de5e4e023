"""The survey: every series that any sensor reads is judged, without a word in the configuration.

    batches ─► roster: series → slot ─► rounds ─► bank: evidence of each ─► gate ─► findings

It looks on (`watch.onlookers`): rules have judged and orders have left when it learns of a reading.
Its findings are recorded and shown; none stops anything. That nothing was found is no proof of
calm, and nobody's findings are lowered by it. Series of the target's own words are judged as all
others are: what they raise stays raised.

Bounded: 20,000 series of 2.5 KiB, no target more than a quarter of them; 64 readings of one series
waiting; eight rounds a turn, or what makes 1,000 readings, and 256 series that are new. What is
left out is said, and again each time that it has grown tenfold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from offswitch.model.finding import Finding
from offswitch.watch.onlookers import Batch
from offswitch.watch.survey.evidence_bank import EvidenceBank
from offswitch.watch.survey.gate import Gate
from offswitch.watch.survey.roster import Roster, Row
from offswitch.watch.survey.rounds import Round, Rounds

__all__ = ["CAPACITY", "Survey"]

CAPACITY = 20_000
_DETECTOR = "survey(e_detector)"
_GATHER_US = 100_000
"""How long readings may wait for others, so that few steps of the bank judge many."""
_SEASONED = 3
"""How many blocks of a series are for learning only: those that are not yet of full size."""
_SUPPOSED = 12.0
"""The wander of a series of which nothing is known."""
_A_TURN = 1_000
_MOST_ROUNDS = 8
_MOST_NEW = 256
"""Series that may join between two turns; the others join later."""
_NOTED_US = 3600 * 1_000_000
_MOST_NOTED = 8
"""Of its findings `status` shows the latest, for an hour."""
_CONTRADICTS = "the next readings lie in the band; or a deploy, a load or a schedule explains it"


class Survey:
    """All series, the bank and the gate."""

    __slots__ = (
        "_bank",
        "_behind",
        "_gate",
        "_new",
        "_noted",
        "_roster",
        "_rounds",
        "_since_us",
        "_told",
    )

    def __init__(self, capacity: int = CAPACITY, rate: float = 0.1) -> None:
        """Survey up to `capacity` series; `rate` is the declared share of false findings."""
        self._roster = Roster(capacity)
        self._bank = EvidenceBank(capacity, wander=_SUPPOSED)
        self._gate = Gate(capacity, rate)
        self._rounds = Rounds()
        self._noted: deque[tuple[int, str]] = deque(maxlen=_MOST_NOTED)
        self._since_us = 0
        self._new = 0
        self._told = 0
        self._behind = False

    def __len__(self) -> int:
        return len(self._roster)

    @property
    def waiting(self) -> bool:
        """Whether it was not done with what it had at its last turn."""
        return self._behind

    @property
    def gate(self) -> Gate:
        """The gate, for those who want to know what it has spent."""
        return self._gate

    def take(self, batch: Batch) -> None:
        """Have a batch wait for the next turn; what is no number says nothing here.

        Readings with a detail may be single events, a hundred of one series at once: they are one
        reading, their sum, or each would be a round of its own.
        """
        roster, rounds, target, now_us = self._roster, self._rounds, batch.target, batch.mono_us
        summed: dict[str, float] = {}
        for series, value, detail in batch.samples:
            if detail:
                summed[series] = summed.get(series, 0.0) + value
                continue
            row = roster.known(target, series, now_us) or self._enter(target, series, now_us)
            if row is not None and value == value:  # noqa: PLR0124 - the quickest way to tell a number
                rounds.add(row.slot, value, batch.wall_us)
        for series, value in summed.items():
            row = roster.known(target, series, now_us) or self._enter(target, series, now_us)
            if row is not None and not math.isnan(value):
                rounds.add(row.slot, value, batch.wall_us)

    def _enter(self, target: str, series: str, now_us: int) -> Row | None:
        """Follow one series more, if there is room for it."""
        if self._new >= _MOST_NEW:
            return None
        row = self._roster.enter(target, series, now_us)
        if row is not None:
            self._new += 1
            self._bank.join(row.slot)
            self._gate.leave(row.slot)
        return row

    def turn(self, mono_us: int, wall_us: int) -> Sequence[Finding]:
        """Judge some of what waits."""
        findings: list[Finding] = []
        self._new = 0
        due = self._behind or self._rounds.full or mono_us - self._since_us >= _GATHER_US
        self._behind = False
        if due and len(self._rounds):
            self._since_us = mono_us
            done = 0
            for _ in range(min(len(self._rounds), _MOST_ROUNDS)):
                one = self._rounds.take()
                findings += self._judge(one, mono_us)
                done += len(one.slots)
                if done >= _A_TURN:
                    break
            self._behind = len(self._rounds) > 0
        lost = self._lost(wall_us)
        if lost:
            findings.append(lost)
        for claim in findings[-_MOST_NOTED:]:
            text = f"survey: {claim.series} of {claim.target}: {claim.what}"
            self._noted.append((mono_us, text))
        return findings

    def notes(self, mono_us: int) -> list[str]:
        """Give the latest findings of the last hour, for `status`."""
        return [text for when, text in reversed(self._noted) if mono_us - when < _NOTED_US]

    def _judge(self, one: Round, mono_us: int) -> list[Finding]:
        slots = np.array(one.slots, np.intp)
        mass = self._bank.update(slots, np.array(one.values))
        begun = self._bank.begun
        begun = begun[self._bank.blocks(begun) >= _SEASONED]
        if len(begun):
            self._gate.open(begun, self._bank.length(begun), mono_us)
        return [
            self._claim(one.slots[place], one.values[place], one.wall_us[place], score)
            for place, score in self._gate.passing(slots, mass)
        ]

    def _claim(self, slot: int, value: float, wall_us: int, score: float) -> Finding:
        row = self._roster.of(slot)
        low, high = self._bank.usual(slot)
        what = f"it has changed: {value:g} now, {low:g} to {high:g} expected"
        if self._gate.restless(slot):
            what += "; it changes so often that no more is said of it today"
        return Finding(
            detector=_DETECTOR,
            target=row.target,
            series=row.series,
            what=what,
            time_us=wall_us,
            score=score,
            evidence=self._evidence(value, low, high),
        )

    def _evidence(self, value: float, low: float, high: float) -> Mapping[str, str]:
        spent = self._gate.spent()
        return {
            "value": f"{value:g}",
            "band": f"{low:g} to {high:g}",
            "declared": f"at most {self._gate.rate:g} of a day's findings are false, over all "
            f"series however they hang together: finding {spent['findings']} of "
            f"{spent['hypotheses']} blocks of {len(self._roster)} series",
            "contradicts": _CONTRADICTS,
        }

    def _lost(self, wall_us: int) -> Finding | None:
        """Say what could not be surveyed, if that is news."""
        left_out = self._roster.left_out
        lost = left_out.total() + self._rounds.left_out if left_out or self._rounds.left_out else 0
        if lost <= 10 * self._told:
            return None
        self._told = lost
        target = max(left_out, key=lambda name: left_out[name], default="")
        why = "they came faster than they could be judged"
        if target:
            why = f"there is no room for more series ({len(self._roster)}), most of {target}"
        return Finding(
            detector="survey",
            target=target or "/",
            series="survey",
            what=f"{lost} readings were not surveyed: {why}",
            time_us=wall_us,
            score=1.0,
        )

    def close(self) -> None:
        """Let go of what waits."""
        self._rounds.clear()
