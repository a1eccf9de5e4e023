"""The states of a target, and the only ways between them.

Three verbs move a target: *stop* sets the latch, *reset* clears it and starts nothing,
*start* runs it and is refused while latched. Everything else is the world's doing: the
target exits, standstill is observed, a frozen one moves. From *freeze* on, nothing is called
stopped before its standstill was observed, however empty it looks: what left its cell through
a broker may live. `step` is total and pure; the tests walk through every state, level and
event (RST-3).
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from offswitch.model.level import Level

__all__ = ["Event", "State", "step"]


class State(StrEnum):
    """What `status` says of a target."""

    RUNNING = "running"
    RESTRICTED = "restricted"
    DRAINING = "draining"
    STOPPING = "stopping"
    FROZEN = "frozen"
    STOPPED = "stopped"
    IDLE = "idle"
    EXITED = "exited"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


class Event(StrEnum):
    """What can happen to a target."""

    STOP = "stop"
    RESET = "reset"
    START = "start"
    EXIT = "exit"
    STANDSTILL = "standstill"
    MOVED = "moved"
    LOST = "lost"
    FOUND = "found"


def _stopped_at(level: Level, *, alive: bool) -> State:
    """Give the state of something that a stop of `level` was just commanded for."""
    match level:
        case Level.RESTRICT:
            return State.RESTRICTED if alive else State.STOPPED
        case Level.DRAIN:
            return State.DRAINING if alive else State.STOPPED
        case Level.FREEZE | Level.KILL | Level.POWEROFF:
            return State.STOPPING
        case _:
            assert_never(level)


def _after_reset(now: State, level: Level | None, *, alive: bool) -> State:
    """A reset starts nothing: what another stop still holds is held as it was."""
    if level is None:
        return State.RUNNING if alive else State.IDLE
    if level < Level.FREEZE:
        return _stopped_at(level, alive=alive)
    return now if alive or now is State.STOPPED else State.STOPPING


def _after_exit(now: State, level: Level | None) -> State:
    """It ended: at a level at which it is watched, that is for the observer to say."""
    if level is None:
        return State.EXITED
    return now if level >= Level.FREEZE else State.STOPPED


def _after_standstill(now: State, level: Level | None, *, alive: bool) -> State:
    """Standstill was observed: what may still run at its level has not stopped."""
    if level is None or (alive and level < Level.FREEZE):
        return now
    return State.FROZEN if level is Level.FREEZE and alive else State.STOPPED


def step(  # noqa: PLR0911 - a table of states reads best as one
    now: State, event: Event, level: Level | None, *, alive: bool
) -> State:
    """Give the state after `event`.

    `level` is the latch's level for this target *after* the event (None: not latched);
    `alive` says whether anything of it was still seen. A start while latched, or while
    something runs, changes nothing.
    """
    match event:
        case Event.STOP:
            return now if level is None else _stopped_at(level, alive=alive)
        case Event.RESET:
            return _after_reset(now, level, alive=alive)
        case Event.START:
            return now if level is not None or alive else State.RUNNING
        case Event.EXIT:
            return _after_exit(now, level)
        case Event.STANDSTILL:
            return _after_standstill(now, level, alive=alive)
        case Event.MOVED:
            return now if level is None or level < Level.FREEZE else State.STOPPING
        case Event.LOST:
            return State.UNKNOWN
        case Event.FOUND:
            if level is None:
                return State.RUNNING if alive else State.EXITED
            return _stopped_at(level, alive=alive)
        case _:
            assert_never(event)
