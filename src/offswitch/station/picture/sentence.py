"""One glance, one answer: the single most important thing, in one sentence.

In this order: we do not know · a stop is not confirmed · a rule asks, or stops · nobody sees ·
something cannot be stopped · something is stopped · a gateway may be gone round · all is well.
Where several are true the first is said, and how many more there are of its kind; the rest stands
below it on the page.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from offswitch.station.picture.rows import TargetRow

if TYPE_CHECKING:
    from offswitch.station.picture.picture import Picture

__all__ = ["Gravity", "Sentence", "ago", "sentence"]

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_IN_COMMON = 2
_REST = ("running", "restricted", "draining", "exited", "idle")


class Gravity(StrEnum):
    """How it is to be shown, never by colour alone."""

    LOST = "lost"
    """Nothing is known."""
    ALARM = "alarm"
    """A person is wanted now."""
    NOTICE = "notice"
    """Something is not as usual, and is held."""
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Sentence:
    """What to show above everything else."""

    text: str
    gravity: Gravity
    about: str = ""
    """The scope, target or rule that it is about; empty: everything."""
    due_us: int | None = None
    """When time is up, UTC in microseconds, where it runs."""


def sentence(picture: Picture, scope: str, now_us: int) -> Sentence:
    """Say what is most important in `scope`."""
    rows = picture.under(scope)
    return (
        _lost(picture, now_us)
        or _unproven(rows)
        or _asked(picture, scope)
        or _unknown(rows)
        or _stopping_itself(picture, scope)
        or _blind(rows)
        or _cannot(picture, scope)
        or _stopped(rows)
        or _doubted(picture, scope)
        or _calm(picture, rows, scope, now_us)
    )


def _lost(picture: Picture, now_us: int) -> Sentence | None:
    if picture.live:
        return None
    since = f" Last heard {ago(picture.as_of_us, now_us)}." if picture.as_of_us else ""
    return Sentence(
        f"NOT LIVE: {picture.why}. What runs now is unknown.{since}"
        " Stopping works all the same: offswitch stop --all",
        Gravity.LOST,
    )


def _unproven(rows: list[TargetRow]) -> Sentence | None:
    found = [row for row in rows if row.unproven]
    if not found:
        return None
    first = found[0]
    missing = sorted(layer for layer, seen in first.layers.items() if not seen)
    still = f" Not seen yet: {', '.join(missing)}." if missing else ""
    text = f"{_first_of(found)}: stop commanded, NOT CONFIRMED; it may still act.{still}"
    return Sentence(text, Gravity.ALARM, first.name)


def _asked(picture: Picture, scope: str) -> Sentence | None:
    asks = [one for one in picture.concerns(scope) if one.get("asks")]
    if not asks:
        return None
    first = min(asks, key=lambda one: int(one.get("due_us") or 0))
    more = f" ({len(asks) - 1} more wait.)" if len(asks) > 1 else ""
    text = f"Rule {first['rule']} asks: stop {first['scope']}? {_harm(first)}{more}"
    return Sentence(text, Gravity.ALARM, str(first["scope"]), int(first.get("due_us") or 0) or None)


def _harm(alarm: Mapping[str, Any]) -> str:
    return f"Else: {alarm['harm']}." if alarm.get("harm") else ""


def _unknown(rows: list[TargetRow]) -> Sentence | None:
    found = [row for row in rows if row.state in {"unknown", "unreachable"} or row.trouble]
    if not found:
        return None
    why = f": {found[0].trouble}" if found[0].trouble else ""
    return Sentence(f"{_first_of(found)}: state unknown{why}.", Gravity.ALARM, found[0].name)


def _stopping_itself(picture: Picture, scope: str) -> Sentence | None:
    loud = [one for one in picture.concerns(scope) if one.get("act") != "shadow"]
    if not loud:
        return None
    first = loud[0]
    more = f" ({len(loud) - 1} more alarms.)" if len(loud) > 1 else ""
    text = f"Alarm of rule {first['rule']} about {first['scope']}. {_harm(first)}{more}".strip()
    return Sentence(text, Gravity.ALARM, str(first["scope"]))


def _blind(rows: list[TargetRow]) -> Sentence | None:
    found = [row for row in rows if row.blind]
    if not found:
        return None
    text = f"{_first_of(found)}: BLIND, a rule is about it and nobody sees for it."
    return Sentence(text, Gravity.ALARM, found[0].name)


def _cannot(picture: Picture, scope: str) -> Sentence | None:
    able = picture.can_stop(scope)
    if able.everything or able.doubt:
        return None
    return Sentence(f"Not everything here can be stopped: {able.why}.", Gravity.ALARM)


def _doubted(picture: Picture, scope: str) -> Sentence | None:
    able = picture.can_stop(scope)
    if not able.doubt:
        return None
    known = _spelt(picture.under(scope))
    text = f"{known}, nothing latched; a stop cuts what goes through a gateway, but {able.doubt}."
    return Sentence(text, Gravity.NOTICE)


def _stopped(rows: list[TargetRow]) -> Sentence | None:
    held = [row for row in rows if row.latched]
    if not held:
        return None
    states = {row.state for row in held}
    word = (
        "stopped and confirmed" if states == {"stopped"} else f"held ({', '.join(sorted(states))})"
    )
    rest = [row for row in rows if not row.latched]
    more = f" {_spelt(rest)}." if rest else ""
    return Sentence(f"{_first_of(held)}: {word}; latched until reset.{more}", Gravity.NOTICE)


def _calm(picture: Picture, rows: list[TargetRow], scope: str, now_us: int) -> Sentence:
    able = picture.can_stop(scope)
    if not rows:
        held = f"; {picture.live_stops} stops are latched" if picture.live_stops else ""
        return Sentence(f"No targets here yet{held}.", Gravity.CALM)
    proven = f" (proven {ago(able.oldest_us, now_us)})" if able.oldest_us is not None else ""
    close = f"everything here can be stopped{proven}." if able.targets else "nothing runs here."
    running = sum(row.state == "running" for row in rows)
    what = f"All {running} targets running" if running == len(rows) > 1 else _spelt(rows)
    where = "" if scope == "/" else f" in {scope}"
    loose = f" {len(picture.untracked)} processes beside them are under no control." * bool(
        picture.untracked and scope == "/"
    )
    observing = " OBSERVE MODE: rules only record." if picture.mode == "observe" else ""
    gravity = Gravity.NOTICE if observing else Gravity.CALM
    return Sentence(f"{what}{where}, nothing latched; {close}{loose}{observing}", gravity)


def _spelt(rows: list[TargetRow]) -> str:
    """Count targets by state: `1 target running, 2 exited`."""
    states = [row.state for row in rows]
    known = [state for state in (*_REST, *sorted(set(states) - {*_REST})) if state in states]
    first = f"{states.count(known[0])} target{'s' * (states.count(known[0]) != 1)} {known[0]}"
    return ", ".join([first, *(f"{states.count(state)} {state}" for state in known[1:])])


def _first_of(rows: list[TargetRow]) -> str:
    """Name what it is about: the first one, or how many and what they share."""
    if len(rows) == 1:
        return rows[0].name
    if len(rows) == _IN_COMMON:
        return f"{rows[0].name} and {rows[1].name}"
    return f"{len(rows)} targets ({rows[0].name}, {rows[1].name}, …)"


def ago(time_us: int, now_us: int) -> str:
    """Say how long ago something was, as people do."""
    seconds = max((now_us - time_us) // 1_000_000, 0)
    if seconds < _MINUTE_S:
        return f"{seconds} s ago"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min ago"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h ago"
    return time.strftime("on %Y-%m-%d", time.gmtime(time_us / 1e6))
