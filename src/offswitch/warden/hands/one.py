"""One declared actuator: the process that acts, the one that looks, and what is asked of them.

    trip ─► told at once ─► answered ─► entered in the ledger, confirms nothing
                        └─► silent past its deadline ─► killed ─► another one, told the same

As long as its target is latched nothing is proven: what is cut proves nothing. Whoever comes new
under a latch cuts first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from offswitch.model.level import Level
from offswitch.warden.core import Core
from offswitch.warden.hands.side import Side, Standing, lines
from offswitch.warden.hands.spec import Spec
from offswitch.warden.loop import Timer
from offswitch.warden.table import Tracked

__all__ = ["One", "worst"]

_ORDER = ("ready", "degraded", "unproven", "absent")
_LONGEST = 1000
_COMING_S = 15.0
"""How long a process may take to come up; its deadline begins when it has."""
_MOST_MEMORY = 4096
_BLIND_SILENCE = "its look has proven nothing yet"


class _Asked:
    """A trip, or a release, that was not answered yet."""

    __slots__ = ("level", "noted", "timer")

    def __init__(self, level: Level | None, noted: Callable[[bool, str], None]) -> None:
        self.level = level
        self.noted = noted
        self.timer: Timer | None = None


class One:
    """A hand and its look."""

    def __init__(
        self,
        core: Core,
        spec: Spec,
        number: int,
        changed: Callable[[One], None],
        lost: Callable[[One], None],
        kept: Callable[[], None],
    ) -> None:
        """Start nothing yet.

        `lost` hears that a new process knows nothing of a stop, `kept` that there is something else
        to remember.
        """
        self._core = core
        self._kept = kept
        self.spec = spec
        self.number = number
        """By which the observer knows its look."""
        self.reissue: tuple[str, ...] = ()
        """What a person must make anew before the target can work again (RST-8)."""
        self.happened: tuple[str, ...] = ()
        """What was in flight at the last trip (ACT-9)."""
        self._owes = False
        """Whether it has cut, and was not told since that it may let go; or did not do that."""
        self._asked: dict[int, _Asked] = {}
        self._count = 0
        self.acts = Side(
            core,
            spec,
            changed=lambda: changed(self),
            heard=self._answered,
            began=lambda: lost(self),
            came=self._came,
        )
        self.looks = Side(
            core,
            spec,
            changed=lambda: changed(self),
            heard=self._remembered,
            began=lambda: changed(self),
            looks=True,
        )

    def begin(self) -> None:
        """Start both."""
        self.acts.begin()
        self.looks.begin()

    def know(self, row: Tracked) -> None:
        """Tell both of which cell its target is; one that is gone stays known till the next."""
        cell, body, known = row.cell, row.body, self.acts.cell
        said: dict[str, Any] | None = None
        if cell is not None:
            said = {"path": cell.path, "id": cell.cgroup_id, "own_net": cell.net is not None}
        elif body is not None:
            said = {"path": None, "id": body.cgroup_id, "own_net": False}
            if known is not None and known["id"] == body.cgroup_id:
                said = known
        self.acts.know(said)
        self.looks.know(said)

    def end(self) -> None:
        """Let both go."""
        for asked in self._asked.values():
            if asked.timer is not None:
                asked.timer.cancel()
        self._asked.clear()
        self.acts.end()
        self.looks.end()

    @property
    def standing(self) -> Standing:
        """How sure it is that it could act, and that anybody could see it."""
        state, why = self.acts.standing
        seeing, blind = self.looks.standing
        if state in {"ready", "degraded"} and seeing != "ready":
            return "degraded", f"{why}; but the look: {blind or _BLIND_SILENCE}"
        return state, why

    def void(self, why: str) -> None:
        """Something that it rests on has changed: unproven, until both have proven it anew."""
        self.acts.void(why)
        self.looks.void(why)

    # --- what it is told ------------------------------------------------------------

    def trip(self, level: Level, noted: Callable[[bool, str], None]) -> None:
        """Have it cut; `noted` hears once what it said. Never waits."""
        if any(asked.level is level for asked in self._asked.values()):
            return  # it is at it
        self._owes = True
        self.looks.say({"op": "latched", "value": True})
        self._ask({"op": "trip", "level": level.label}, _Asked(level, noted))

    def release(self) -> None:
        """Have it undo what may be undone, if it has cut; one that is lost is told later."""
        if self._owes:
            self.looks.say({"op": "latched", "value": False})
            self._remembered({"event": "remember"})
            self._ask({"op": "release"}, _Asked(None, lambda _done, _detail: None))

    def _ask(self, message: dict[str, Any], asked: _Asked) -> None:
        self._count += 1
        number = self._count
        if not self.acts.say({**message, "id": number}):
            asked.noted(False, "its process is not there; another one is started")
            return
        self._asked[number] = asked
        self._limit(number, self._deadline_s if self.acts.here else _COMING_S)

    def _remembered(self, message: dict[str, Any]) -> None:
        """Keep what its look must know, should another process look (and the next warden)."""
        memory = str(message.get("memory", ""))[:_MOST_MEMORY]
        if message.get("event") == "remember" and memory != self.looks.remembered:
            self.looks.remembered = memory
            self._kept()

    @property
    def _deadline_s(self) -> float:
        return self.spec.deadline_us / 1e6

    def _limit(self, number: int, seconds: float) -> None:
        asked = self._asked[number]
        if asked.timer is not None:
            asked.timer.cancel()
        asked.timer = self._core.loop.later(seconds, lambda: self._late(number))

    def _came(self) -> None:
        """It has come up: from now on it has as long as it may take."""
        for number in self._asked:
            self._limit(number, self._deadline_s)

    def _late(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            return
        asked.noted(False, f"no answer within {self._deadline_s:g} s: replaced")
        self._core.recording.note(
            "note", what="hand silent", target=self.spec.target, actuator=self.spec.name
        )
        self.acts.void("it did not answer a stop in time, and was replaced")

    def _answered(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        asked = self._asked.pop(number, None) if isinstance(number, int) else None
        if asked is None:
            return
        if asked.timer is not None:
            asked.timer.cancel()
        done, detail = message.get("done") is True, str(message.get("detail", ""))[:_LONGEST]
        happened = lines(message.get("happened"))
        if reissue := lines(message.get("reissue")):
            self.reissue = reissue
        if asked.level is not None:
            self.happened = happened
        elif done:
            self._owes = False
        sealed = {"detail": detail, "happened": list(happened) or None}
        self._core.recording.note(
            "note",
            {**sealed, "reissue": list(reissue) or None},
            what="acted" if asked.level is not None else "released",
            target=self.spec.target,
            layer=self.spec.layer,
            actuator=self.spec.name,
            done=done,
            level=None if asked.level is None else asked.level.label,
            took_us=took if isinstance(took := message.get("took_us"), int) else None,
        )
        asked.noted(done, detail)

    def replaced(self) -> None:
        """Its acting process is another one: what was asked of the one before has no answer."""
        lost, self._asked = self._asked, {}
        for asked in lost.values():
            if asked.timer is not None:
                asked.timer.cancel()
            asked.noted(False, "its process ended before it had answered")


def worst(standings: list[Standing]) -> Standing:
    """Give the least sure of several."""
    return max(standings, key=lambda one: _ORDER.index(one[0]))
