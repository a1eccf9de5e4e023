"""One trial: work as usual for some hours, a fault planted into it, and who notices when.

    clean day      24 hours of work: every rise of any alarm is a false one
    fault          found if an alarm rises after it began and before its harm is done
    slow fault     the harm is an amount; lead time is from the first finding to that

An alarm that stood already when the fault began finds nothing, and all of it is simulated time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from offswitch.drills.bench.channels import Channels
from offswitch.drills.bench.faults import SLOW, Fault
from offswitch.drills.bench.parsing import Parsing
from offswitch.drills.bench.work import DAY_US, Happening, S, work

__all__ = ["Found", "Lead", "clean_day", "lead_of", "trial_of"]

_LEARNT_US = 4 * 3600 * S
"""How long it works before anything happens."""
_BEGIN_US = 9 * 3600 * S
_LEVELS = frozenset({"processes.memory_bytes", "processes.count"})


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a planted fault was found."""

    fault: str
    seed: int
    after_us: int | None
    """How long after its begin; None: not before the harm was done."""
    channel: str
    """Who noticed first."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How early a slow fault was found."""

    fault: str
    seed: int
    lead_us: int
    """From the first finding to the harm; 0: it was not found before."""
    channel: str


def _findings(
    happenings: Iterable[Happening], sensor: str = "", *, early: bool = False
) -> Iterator[tuple[int, str]]:
    """Give every rise of an alarm with its time; if asked, early signs, too."""
    channels = Channels(sensor)
    with Parsing() as parsing:
        for one in happenings:
            for time_us, series, value, detail in parsing.readings(one):
                for name in channels.feed(time_us, series, value, detail):
                    yield time_us, name
                if early:
                    yield from channels.signs
                channels.signs.clear()


def clean_day(seed: int) -> list[str]:
    """List the false alarms of 24 hours."""
    return [
        f"{name} at {time_us // (3600 * S):02}:{time_us // (60 * S) % 60:02}"
        for time_us, name in _findings(work(seed, 0, DAY_US))
    ]


def trial_of(fault: Fault, seed: int, sensor: str = "") -> Found:
    """Plant a fault, and see when it is found; by one sensor alone, if one is named."""
    chance = random.Random(f"{fault.name} {seed}")  # noqa: S311 - no secret
    at_us = _BEGIN_US + fault.learnt_us + chance.randrange(600 * S)
    until_us = at_us + fault.harm_us
    usual = (one for one in work(seed, _BEGIN_US, until_us) if one.what in fault.shows)
    if fault.replaces:
        usual = (one for one in usual if one.time_us < at_us)
    mixed = heapq.merge(usual, fault.plant(chance, at_us), key=lambda one: one.time_us)
    for time_us, name in _findings((one for one in mixed if one.time_us < until_us), sensor):
        if at_us <= time_us < until_us:
            return Found(fault.name, seed, time_us - at_us, name)
    return Found(fault.name, seed, None, "")


def lead_of(name: str, seed: int) -> Lead:
    """Plant a slow fault, and see how long before the harm it is found."""
    plant, series, harm = SLOW[name]
    chance = random.Random(f"{name} {seed}")  # noqa: S311 - no secret
    at_us = _BEGIN_US + _LEARNT_US
    planted = [*plant(chance, at_us)]
    harm_us = _harm_us(planted, series, harm)
    usual = (one for one in work(seed, _BEGIN_US, harm_us) if one.what == series)
    if series in _LEVELS:  # the fault's level takes the place of the usual one
        usual = (one for one in usual if one.time_us < at_us)
    mixed = heapq.merge(usual, planted, key=lambda one: one.time_us)
    for time_us, channel in _findings((one for one in mixed if one.time_us <= harm_us), early=True):
        if time_us >= at_us:
            return Lead(name, seed, max(harm_us - time_us, 0), channel)
    return Lead(name, seed, 0, "")


def _harm_us(planted: Iterable[Happening], series: str, harm: float) -> int:
    total = 0.0
    last_us = 0
    for one in planted:
        if one.what == series:
            total = one.value if series in _LEVELS else total + one.value
            last_us = one.time_us
            if total >= harm:
                break
    return last_us
