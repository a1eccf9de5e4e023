"""Alarms and questions for the Board: what came first on top, its consequences folded under it.

Watch's desk tells of both; where it does not answer, the warden still knows which alarms stand.
A question that waits for a person stands above all others, the most urgent first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offswitch.errors import OffswitchError
from offswitch.model.scope import Scope, parse_scope
from offswitch.station.alarms.rows import first_out
from offswitch.station.console.scene import Message, Scene

__all__ = ["Group", "alarms", "questions"]


@dataclass(frozen=True, slots=True)
class Group:
    """An alarm, and what followed from it as far as can be told."""

    first: Message
    others: tuple[Message, ...]

    @property
    def seen(self) -> bool:
        """Whether somebody has acknowledged all of it."""
        return all(one.get("acked_by") for one in (self.first, *self.others))

    @property
    def rules(self) -> list[str]:
        """The rules whose alarms nobody has acknowledged."""
        those = (self.first, *self.others)
        return [str(one["rule"]) for one in those if not one.get("acked_by")]


def alarms(scene: Scene, scope: Scope) -> list[Group]:
    """Give the alarms that concern `scope`: those that nobody has seen first, then by time."""
    picture = scene.picture
    known = picture.desk.alarms if picture.desk.live else picture.alarms
    standing = [
        one
        for one in known
        if not one.get("shelved")
        and not (one.get("decision") or one.get("asks"))
        and _concerns(scope, str(one.get("scope")))
    ]
    groups = _grouped(sorted(standing, key=lambda one: int(one.get("since_us") or 0)))
    return sorted(groups, key=lambda group: group.seen)


def questions(scene: Scene, scope: Scope) -> list[Message]:
    """Give what waits for a person and concerns `scope`, the most urgent first."""
    picture = scene.picture
    if picture.desk.live:
        known: Iterable[Message] = (*picture.desk.leaves, *picture.desk.decisions)
    else:
        known = [{**one, "decision": one["asks"]} for one in picture.alarms if one.get("asks")]
    mine = [one for one in known if _concerns(scope, str(one.get("scope")))]
    return sorted(mine, key=lambda one: int(one.get("due_us") or 0))


def _grouped(standing: Sequence[Message]) -> list[Group]:
    return [Group(dict(first), tuple(map(dict, others))) for first, *others in first_out(standing)]


def _concerns(scope: Scope, text: str) -> bool:
    return scope.text == "/" or _meet(scope.text, text)


def _meet(one: str, other: str) -> bool:
    try:
        mine, theirs = parse_scope(one), parse_scope(other)
    except OffswitchError:
        return True  # an alarm is shown rather than not
    return mine.contains(theirs) or theirs.contains(mine)
