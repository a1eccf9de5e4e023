"""Stop plans under way: what of a stop is put off, and what comes when (ACT-1, SR-10, VER-4).

    a first press of somebody's ─► what its plan puts off is *held*, all else is commanded at once
        ─► a hand answers, the observer sees, time passes ─► what is due now is commanded, too
        ─► all was seen, and nothing more is due: what is still held was not needed
        ─► a deadline of a layer's own is missed ─► it is told, and a lesser stop becomes a kill

What is held is not part of the plan as long as it is: nobody looks for it, and it is listed as not
counted. Whatever is not a first press holds nothing: the next press, something that moves, an
escalation, a warden that was started again. So does a plan that cannot be understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from offswitch.actuators.compose import Heard, Plan, composed, due, names
from offswitch.model.level import Level
from offswitch.warden.core import Core
from offswitch.warden.loop import Timer
from offswitch.warden.plan import COOPERATIVE, TOLD, shape_of
from offswitch.warden.press import Press
from offswitch.warden.reach import reached
from offswitch.warden.table import Tracked

__all__ = ["Courses", "Steps"]

_EVER_S = 1e9


class Steps(Protocol):
    """What a plan has done when it is time (`stopping.Stopper`)."""

    def go_on(self, press: Press, row: Tracked, layers: frozenset[str]) -> None:
        """Command these layers of a target, which are due now."""
        ...

    def missed(self, press: Press, row: Tracked, layers: list[str]) -> None:
        """These were not seen by a deadline of their own."""
        ...

    def over(self, press: Press) -> None:
        """A press may wait for nothing more."""
        ...


class _Course:
    """The plan of one target, as far as it has come."""

    __slots__ = ("answers", "began_ns", "heard", "late", "pending", "plan", "presses", "timer")

    def __init__(self, press: Press, plan: Plan) -> None:
        self.presses = [press]
        """By which it was commanded; the last one goes on with it."""
        self.plan = plan
        self.began_ns = press.accepted_ns
        self.heard: dict[str, Heard] = {}
        self.answers: Counter[str] = Counter()
        self.late: frozenset[str] = frozenset()
        self.pending = False
        """Whether something that is held comes by itself."""
        self.timer: Timer | None = None

    @property
    def press(self) -> Press:
        return self.presses[-1]

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Courses:
    """The plans of all targets that are under way."""

    def __init__(self, core: Core, steps: Steps) -> None:
        """Nothing is under way yet."""
        self._core = core
        self._steps = steps
        self._known: dict[str, _Course] = {}

    # --- begin and end --------------------------------------------------------------

    def begin(self, press: Press, row: Tracked, level: Level, *, first: bool) -> None:
        """A press commands a target: hold what its plan puts off, if it is a `first` one."""
        known = self._known.get(row.target.name)
        if known is not None and known.press is press:
            return
        self.end(row)
        shape = shape_of(row.declared) if first else None
        if shape is None or shape.plain:
            return
        unseen = {COOPERATIVE} if level >= Level.FREEZE else TOLD
        layers = [one for one in reached(self._core, row, level) if one not in unseen]
        course = _Course(press, composed(layers, shape))
        self._known[row.target.name] = course
        row.held = frozenset(names(course.plan)) - due(course.plan, 0.0).layers
        self._look(row, course)

    def carry(self, row: Tracked, press: Press) -> None:
        """Go on with what is under way by another press: only where its cell has gone meanwhile."""
        known = self._known.get(row.target.name)
        if known is not None:
            known.presses.append(press)

    def end(self, row: Tracked) -> None:
        """Nothing of it is held any more."""
        known = self._known.pop(row.target.name, None)
        if known is not None:
            known.cancel()
        if row.held:
            row.held = frozenset()

    # --- what is waited for -----------------------------------------------------------

    def pending(self, press: Press) -> bool:
        """Tell whether something that the press holds comes by itself."""
        return any(one.pending for one in self._of(press))

    def waits(self, row: Tracked) -> bool:
        """Likewise of one target."""
        known = self._known.get(row.target.name)
        return known is not None and known.pending

    def _of(self, press: Press) -> Iterator[_Course]:
        return (one for one in self._known.values() if one.press is press)

    # --- what is heard ------------------------------------------------------------------

    def answered(self, press: Press, row: Tracked, layer: str, *, done: bool) -> None:
        """A hand says that it has acted, or could not; of several the last one counts."""
        course = self._known.get(row.target.name)
        if course is None or press not in course.presses:
            return
        course.answers[layer] += 1
        now = self._elapsed_s(course)
        before = course.heard.get(layer, Heard())
        hands = self._core.hands.facts(row).get(layer, ()) if self._core.hands is not None else ()
        if not done and before.failed_s is None:
            course.heard[layer] = replace(before, failed_s=now)
        elif done and before.answered_s is None and course.answers[layer] >= len(hands):
            course.heard[layer] = replace(before, answered_s=now)
        self._look(row, course)

    def seen(self, press: Press, row: Tracked, layer: str) -> None:
        """The observer has seen that layer."""
        course = self._known.get(row.target.name)
        if course is not None and press in course.presses:
            before = course.heard.get(layer, Heard())
            course.heard[layer] = replace(before, seen_s=self._elapsed_s(course))
            self._look(row, course)

    def _elapsed_s(self, course: _Course) -> float:
        return max(0.0, self._core.clock.mono_us() / 1e6 - course.began_ns / 1e9)

    def _look(self, row: Tracked, course: _Course) -> None:
        """Command what is due, tell what is late, and come again when it is time."""
        course.cancel()
        now = self._elapsed_s(course)
        found = due(course.plan, now, course.heard)
        fresh = row.held & found.layers
        late, course.late = sorted(found.late - course.late), course.late | found.late
        if fresh:
            row.held -= fresh
        at_last = due(course.plan, _EVER_S, course.heard).layers
        course.pending = bool(row.held & at_last)
        if found.again_s is not None:
            wait_s = max(0.0, found.again_s - now)
            course.timer = self._core.loop.later(wait_s, lambda: self._come_again(row, course))
        if fresh:
            self._steps.go_on(course.press, row, fresh)
        if late:
            self._steps.missed(course.press, row, late)

    def _come_again(self, row: Tracked, course: _Course) -> None:
        course.timer = None
        if self._known.get(row.target.name) is course:
            self._look(row, course)
            self._steps.over(course.press)
