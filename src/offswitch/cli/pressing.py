"""One stop over every road at once, and what is known of it in the end (SR-7, SR-11).

    at once            the warden's socket, the keeper's, the spool, of every installation
    after 20 ms        where nobody has accepted: what our own rights can kill
    until 3 s          answers are awaited; cells that no warden vouches for are looked at,
                       and once all of them are empty nobody is waited for beyond 1 s

Only a warden's final answer says *confirmed*. What the keeper accepted and what we killed
ourselves is *commanded*, and said to be no more, even where a cell was seen empty.
"""

from __future__ import annotations

import time

from offswitch.cli.roads import Road, serve
from offswitch.cli.spooling import leave, take_back

__all__ = ["Pressed", "follow", "press"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.cli.own_hands import Cell
    from offswitch.control.place import Place

_ACCEPT_NS = 20_000_000
_ANSWER_NS = 3_000_000_000
_EMPTY_NS = 1_000_000_000
_PING_NS = 1_000_000_000
_GLANCE_MS = 2.0
_BY_KEEPER = frozenset({"freeze", "kill", "poweroff"})
_BY_HAND = frozenset({"kill", "poweroff"})
_BY_SPOOL = _BY_HAND
"""A name in the spool is a kill: for a poweroff, less than was asked, and more than nothing."""


class Pressed:
    """What became of one press in one installation."""

    __slots__ = ("began_ns", "cells", "keeper", "place", "spooled", "tried", "warden")

    def __init__(self, place: Place, message: dict[str, Any]) -> None:
        """Send the order everywhere in this installation; wait for nothing."""
        self.place = place
        self.began_ns = time.monotonic_ns()
        level = message["level"]
        self.warden = Road(place.warden_socket, message)
        self.keeper = Road(place.keeper_socket, message) if level in _BY_KEEPER else None
        self.spooled = leave(place, message["scopes"]) if level in _BY_SPOOL else None
        self.cells: list[Cell] = []
        """What we killed, or only look at, ourselves."""
        self.tried = False
        """Whether our own rights were used."""

    @property
    def final(self) -> dict[str, Any] | None:
        """The warden's last word; None: there is none."""
        for answer in self.warden.answers:
            if isinstance(answer.get("targets"), list):
                return answer
        return None

    @property
    def error(self) -> dict[str, Any] | None:
        """What the warden refused; None: nothing."""
        for answer in self.warden.answers:
            error = answer.get("error")
            if isinstance(error, dict):
                return error
        return None

    @property
    def accepted(self) -> bool:
        """Whether the warden has given every command."""
        return any(answer.get("accepted") is True for answer in self.warden.answers)

    @property
    def kept(self) -> dict[str, Any] | None:
        """The keeper's answer, if it accepted."""
        if self.keeper is None:
            return None
        return next((a for a in self.keeper.answers if a.get("accepted") is True), None)

    @property
    def commanded(self) -> bool:
        """Whether anybody at all carried the order out."""
        return self.accepted or self.kept is not None or any(c.commanded_ns for c in self.cells)

    @property
    def deserted(self) -> bool:
        """Whether nobody is there at all, and nothing lives in a cell."""
        gone = all(cell.effect_ns is not None for cell in self.cells)
        return self._alone and self.tried and gone

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be learnt here."""
        if self.final is not None or self.error is not None:
            return True
        late = time.monotonic_ns() > self.began_ns + _EMPTY_NS
        empty = all(cell.effect_ns is not None or cell.path is None for cell in self.cells)
        if not self.tried:
            return False
        if not self.warden.ended:
            # It hangs: where all that it would vouch for was seen empty, it gets no more time.
            return late and empty and not self.accepted
        heard = self.keeper is None or self.keeper.ended or bool(self.keeper.answers)
        return heard and (late or empty)

    @property
    def _alone(self) -> bool:
        return self.warden.ended and (self.keeper is None or self.keeper.ended)

    def step(self, level: str, scopes: list[str]) -> None:
        """Do what is due now: our own hands, a look, the spool taken back."""
        if self.final is not None or self.error is not None:
            return
        if self.warden.answers and not self.warden.ended:
            return
        now = time.monotonic_ns()
        if not self.tried and (self._alone or now >= self.began_ns + _ACCEPT_NS):
            self.tried = True
            self._find(scopes)
            if level in _BY_HAND and self.kept is None:
                for cell in self.cells:
                    cell.kill()
        for cell in self.cells:
            if cell.effect_ns is None:
                cell.look()

    def _find(self, scopes: list[str]) -> None:
        from offswitch.cli.own_hands import cells_of  # noqa: PLC0415 - only where nobody answers

        self.cells = cells_of(self.place, scopes)

    def finish(self, scopes: list[str]) -> None:
        """Hang up; where the warden has the order, take our file out of the spool.

        A warden that accepted and then fell silent has left its cells to be looked at.
        """
        if self.accepted and self.final is None and not self.tried:
            self._find(scopes)
            for cell in self.cells:
                cell.look()
        if self.accepted and self.spooled:
            take_back(self.place, self.spooled)
        self.warden.close()
        if self.keeper is not None:
            self.keeper.close()


def press(places: list[Place], message: dict[str, Any]) -> list[Pressed]:
    """Press in all of `places` at once; wait for nothing."""
    return [Pressed(place, message) for place in places]


def follow(presses: list[Pressed], level: str, scopes: list[str], *, patient: bool) -> None:
    """Wait for the answers, and do what is due; `patient` waits for as long as a drain takes."""
    deadline = time.monotonic_ns() + _ANSWER_NS
    while True:
        for each in presses:
            each.step(level, scopes)
        open_ = [each for each in presses if not each.settled]
        now = time.monotonic_ns()
        if patient:
            deadline = max([deadline, *(_patience_with(each, now) for each in open_)])
        if not open_ or now >= deadline:
            break
        roads = [road for each in open_ for road in (each.warden, each.keeper) if road is not None]
        serve(roads, _patience_ms(open_, now, deadline))
    for each in presses:
        each.finish(scopes)


def _patience_with(each: Pressed, now: int) -> int:
    """How long to wait for a warden that has accepted and shows that it lives."""
    if not each.accepted:
        return 0
    if now > each.warden.heard_ns + _PING_NS:
        each.warden.ping()
    return each.warden.heard_ns + _ANSWER_NS


def _patience_ms(open_: list[Pressed], now: int, deadline: int) -> float:
    """How long nothing of ours is due."""
    due = [deadline, now + _PING_NS]
    for each in open_:
        if each.tried and each.cells:
            return _GLANCE_MS
        if not each.tried and each.began_ns + _ACCEPT_NS > now:
            due.append(each.began_ns + _ACCEPT_NS)
    return max((min(due) - now) / 1e6, 0.1)
