"""Doing the same at several places at once, and putting together what was seen there.

A credential is good at every replica that has not heard of its end, so all are told, and all are
asked. Each place has a thread of its own meanwhile: one that hangs holds up no other, and what it
may take is the time limit of its connection. What is put together errs to the safe side: cut is
what was seen as cut everywhere, and ready is as ready as its worst part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Sight, Trouble

__all__ = ["at_once", "everywhere", "troubles", "worst"]

T = TypeVar("T")
_ORDER = (Ready.READY, Ready.DEGRADED, Ready.UNPROVEN, Ready.ABSENT)
_MOST = 6


def at_once(calls: Sequence[Callable[[], T]]) -> list[T | Trouble]:
    """Make all calls at once, and give what each one gave, or the `Trouble` that it met."""
    came: list[T | Trouble] = [Trouble("it never began") for _ in calls]

    def make(place: int) -> None:
        try:
            came[place] = calls[place]()
        except Trouble as trouble:
            came[place] = trouble
        except Exception as error:  # noqa: BLE001 - in a thread of its own it would be lost
            came[place] = Trouble(f"{type(error).__name__}: {error}")

    own = [0] if calls else []
    threads = []
    for place in range(1, len(calls)):
        thread = threading.Thread(target=make, args=(place,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had: one after the other, then
            own.append(place)
        else:
            threads.append(thread)
    for place in own:
        make(place)
    for thread in threads:
        thread.join()
    return came


def troubles(came: Sequence[object]) -> str:
    """Say what went wrong, or nothing."""
    wrong = [one.message for one in came if isinstance(one, Trouble)]
    return "; ".join(dict.fromkeys(wrong))


def everywhere(seen: Sequence[Sight | Trouble]) -> Sight:
    """Put together what was seen at several places: cut is what is cut at every one of them."""
    sights = [Sight(None, one.message) if isinstance(one, Trouble) else one for one in seen]
    for verdict in (False, None):
        found = [sight.detail for sight in sights if sight.stands is verdict]
        if found:
            return Sight(verdict, "; ".join(dict.fromkeys(found[:_MOST])))
    if not sights:
        return Sight(None, "there is nowhere to look")
    return Sight(True, "; ".join(dict.fromkeys(sight.detail for sight in sights[:_MOST])))


def worst(parts: Sequence[Readiness | Trouble]) -> Readiness:
    """Put together how ready several parts are: no readier than the worst, and why."""
    known = [
        Readiness(Ready.UNPROVEN, part.message) if isinstance(part, Trouble) else part
        for part in parts
    ]
    if not known:
        return Readiness(Ready.UNPROVEN, "nothing was proven")
    state = max((part.state for part in known), key=_ORDER.index)
    why = [part.detail for part in known if part.detail and part.state is not Ready.READY]
    said = [part.detail for part in known if part.detail]
    return Readiness(state, "; ".join(dict.fromkeys((why or said)[:_MOST])))
