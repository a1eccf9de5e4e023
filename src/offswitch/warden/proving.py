"""The proof of a stop: each press is followed until what it commanded was seen, or time is up.

The observer, which did none of it, says what it sees, layer by layer; what it has not seen
within two seconds is *not confirmed*: a lesser stop becomes a kill, and a person is paged
(VER-4). It is looked at again until it stands still.

    follow ─► a look for each target ─► `seen`, layer by layer ─► all seen, or time is up
           ─► receipts and states ─► answer ─► what is not confirmed: a kill, or another look

A look ends when its last layer was seen, or is lost with its cell or its observer; then it is
asked anew. What was seen counts for the turn in which it was commanded, and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from offswitch.model.level import Level
from offswitch.model.state import Event, State, step
from offswitch.warden import stop_entries
from offswitch.warden.chasing import destroy_what_is_left
from offswitch.warden.core import Core
from offswitch.warden.courses import Courses
from offswitch.warden.door.connection import Connection
from offswitch.warden.last_resort import powers_off
from offswitch.warden.plan import COOPERATIVE, GATEWAY, TOLD
from offswitch.warden.press import Press, own_press, result
from offswitch.warden.reach import called, facts, planned, reached, visible
from offswitch.warden.sharing import Sharing
from offswitch.warden.table import Tracked
from offswitch.warden.turns import Turns

__all__ = ["CONFIRM_S", "Proving"]

CONFIRM_S = 2.0
"""How long the observer may take before a stop is *not confirmed* (VER-4)."""
_OBSERVER_SLACK_S = 0.3
_LEAST_MS = 200
"""How long the observer has at least for what was commanded later than the rest."""
_LOOK_AGAIN_S = 1.0
_POLL_S, _LONGEST_POLL_S = 0.005, 0.5
_LONGEST_WAIT_NS = 5_000_000_000


class Further(Protocol):
    """What a stop that was not confirmed becomes (`stopping.Stopper`)."""

    def escalate(self, row: Tracked, why: str) -> None:
        """Make a kill of a lesser stop."""
        ...

    def hold(self, row: Tracked, level: Level, why: str) -> None:
        """Stop it further, by an order of the warden's own."""
        ...

    def enforce(self, row: Tracked, why: str) -> None:
        """Command again what is latched, and whatever of it was put off."""
        ...


class Proving:
    """Follows the presses of one warden until they are proven, or are not; and answers them."""

    def __init__(
        self,
        core: Core,
        turns: Turns,
        courses: Courses,
        further: Further,
    ) -> None:
        """`further` is asked where a stop was not confirmed."""
        self._core = core
        self._turns = turns
        self._courses = courses
        self._further = further
        self.sharing = Sharing(core, self._answer)
        self._presses: dict[int, Press] = {}
        """Number of a look → the press that asked for it."""
        self._unanswered: list[Press] = []
        """Presses that somebody waits for."""
        self._look_id = 0

    def owe(self, press: Press) -> None:
        """Remember that somebody waits for the answer to `press`."""
        self._unanswered.append(press)

    # --- looks --------------------------------------------------------------------

    def follow(self, press: Press) -> None:
        """Ask the observer about every layer that was commanded."""
        destroy_what_is_left(self._core, press)
        for row in press.rows:
            press.turns.setdefault(row.target.name, self._turns.now(row))
            told = {COOPERATIVE} if press.levels[row.target.name] >= Level.FREEZE else TOLD
            layers = set(press.commanded[row.target.name]) - told
            if layers:
                self._look(press, row, layers)
        if not press.looks and not self._courses.pending(press):
            self._core.loop.later(0, lambda: self._finish(press))
            return
        wait = CONFIRM_S + _OBSERVER_SLACK_S
        press.timer = self._core.loop.later(wait, lambda: self._finish(press))

    def look_again(self, row: Tracked) -> None:
        """Have the observer look at a latched target anew, unless somebody is looking."""
        level = self._core.level(row)
        if level is None or level < Level.FREEZE or self.looking([row]):
            return
        press = own_press(self._core, row, level)
        press.again = True
        known = {receipt.layer: receipt.commanded_ns for receipt in row.receipts}
        press.commanded[row.target.name] = {
            layer: known.get(layer, 0) for layer in [COOPERATIVE, *reached(self._core, row, level)]
        }
        self.follow(press)

    def look_more(self, press: Press, row: Tracked, layers: set[str]) -> None:
        """Have the observer look at what a press has commanded besides, later than the rest."""
        if press.done:
            self.look_again(row)
        elif layers:
            self._look(press, row, layers, _LEAST_MS)

    def look_anew(self, row: Tracked) -> None:
        """Another gate serves it: whoever looks at its gateways looks at that one as well."""
        for look, press in list(self._presses.items()):
            name, layers = press.looks[look]
            if name == row.target.name and GATEWAY in layers:
                layers.discard(GATEWAY)
                if not layers:
                    del press.looks[look], self._presses[look]
                self._look(press, row, {GATEWAY})
        self.look_again(row)

    def looking(self, rows: list[Tracked]) -> bool:
        """Tell whether the observer is still looking at one of `rows`."""
        names = {row.target.name for row in rows}
        return any(self._courses.waits(row) for row in rows) or any(
            name in names for press in self._presses.values() for name, _ in press.looks.values()
        )

    def _look(self, press: Press, row: Tracked, layers: set[str], least_ms: int = 0) -> None:
        observer, known = self._core.observer, facts(self._core, row)
        if known is None:
            return
        self._look_id += 1
        press.looks[self._look_id] = (row.target.name, layers)
        self._presses[self._look_id] = press
        if observer is not None:
            level = press.levels[row.target.name]
            deadline = max(least_ms, int(CONFIRM_S * 1000) - press.since_ns() // 1_000_000)
            observer.look(self._look_id, known, sorted(layers), level.label, deadline)

    def unwatch(self, row: Tracked) -> None:
        """Have the observer look at a target no longer."""
        if self._core.observer is not None and row.watched:
            self._core.observer.unwatch(called(row))
            row.watched = False

    # --- what is seen, and what is lost -------------------------------------------

    def seen(self, message: dict[str, Any]) -> None:
        """Take in what the observer says about one layer."""
        look = int(message["id"])
        press = self._presses.get(look)
        if press is None:
            return
        name, open_layers = press.looks[look]
        layer = str(message["layer"])
        if layer not in open_layers:
            return  # it was asked anew
        at = int(message["at_ns"]) - press.accepted_ns
        press.seen[name, layer] = (bool(message["seen"]), at, str(message.get("detail", "")))
        row = self._core.table.get(name)
        if layer == GATEWAY and row is not None and self._core.gates is not None:
            press.beside[name] = self._core.gates.told(row, press.seen[name, layer][2])
            if self._core.gates.busy(row):
                press.seen[name, layer] = (False, at, press.seen[name, layer][2])
        open_layers.discard(layer)
        if not open_layers:
            del press.looks[look]
            del self._presses[look]
        if row is not None and press.seen[name, layer][0]:
            self._courses.seen(press, row, layer)
        self.over(press)

    def over(self, press: Press) -> None:
        """Finish a press that waits for no look, and for nothing that its plan puts off."""
        if not press.looks and not self._courses.pending(press):
            self._finish(press)

    def tell_more(self, row: Tracked) -> None:
        """More is known besides what was seen of a target's gateways: say it in the receipt."""
        gates, known = self._core.gates, row.receipts
        if gates is not None and any(each.layer == GATEWAY and each.confirmed for each in known):
            said = gates.told(row, "")
            row.receipts = [
                replace(each, detail=said) if each.layer == GATEWAY else each for each in known
            ]
            if gates.busy(row):
                stop_entries.unconfirmed(self._core, row, [GATEWAY])
                self.look_again(row)  # what was confirmed is not, until nothing works there

    def lose(self, row: Tracked) -> list[Press]:
        """Drop every look at a target whose cell is gone; give the presses that asked for one."""
        lost = []
        for look, press in list(self._presses.items()):
            if press.looks[look][0] == row.target.name:
                del press.looks[look], self._presses[look]
                lost.append(press)
        return lost

    def end_soon(self, lost: list[Press]) -> None:
        """Finish those presses of `lost` that wait for no other look."""
        for press in lost:
            if not press.looks:
                self._core.loop.later(0, partial(self._finish, press))

    def observer_back(self) -> None:
        """Ask a new observer what the lost one has not answered, and have it watch."""
        lost = [(press, look) for look, press in self._presses.items()]
        for press, look in lost:
            name, layers = press.looks.pop(look)
            del self._presses[look]
            row = self._core.table.get(name)
            if row is not None:
                self._look(press, row, layers)
            self.over(press)
        for row in self._core.table:
            row.watched = False
            if row.seen_somewhere:
                self.look_again(row)

    # --- proven, or not -----------------------------------------------------------

    def _finish(self, press: Press) -> None:
        """All seen, or time is up: receipts, states, answer; then what is left to do."""
        if press.done:
            return
        press.done = True
        if press.timer is not None:
            press.timer.cancel()
        for look in press.looks:
            self._presses.pop(look, None)
        unproven = [row for row in press.rows if not self._settle(press, row)]
        self._answer(press)
        self.sharing.finished(press)
        for row in unproven:
            self._next(press, row)

    def _answer(self, press: Press, pause_s: float = _POLL_S) -> None:
        """Answer, unless another press is still being proven, or a drain is waited for."""
        if press.reply is None:
            return
        waited = press.rows if press.wait and press.level is Level.DRAIN else []
        if any(row.state is State.DRAINING or self.looking([row]) for row in waited):
            self._core.loop.later(_POLL_S * 10, lambda: self._answer(press))
        elif self.looking(press.rows) and press.since_ns() < _LONGEST_WAIT_NS:
            longer_s = min(pause_s * 2, _LONGEST_POLL_S)  # there may be many that wait
            self._core.loop.later(pause_s, lambda: self._answer(press, longer_s))
        else:
            if press in self._unanswered:
                self._unanswered.remove(press)
            press.reply(result(self._core, press))

    def _settle(self, press: Press, row: Tracked) -> bool:
        """Write down what was seen of one target; return whether all that counts was."""
        core, name = self._core, row.target.name
        level = core.level(row)
        if level is None or not self._turns.counts(
            row, press.levels[name], press.turns[name], latched=level
        ):
            return True  # reset meanwhile, or what was seen is no longer what counts
        row.receipts = press.receipts(row, level, planned(row, level))
        counted = [receipt for receipt in row.receipts if receipt.counted]
        known = row.confirmed
        row.confirmed = bool(counted) and all(receipt.confirmed for receipt in counted)
        can_be_seen = visible(row)
        seen = [receipt.confirmed for receipt in counted if receipt.layer in can_be_seen]
        row.stands = bool(seen) and all(seen)
        prior = row.state
        if row.confirmed:
            row.state = step(prior, Event.STANDSTILL, level, alive=row.alive)
        shown = facts(core, row)
        if level >= Level.FREEZE and shown is not None and core.observer is not None:
            core.observer.watch(shown, level.label)
            row.watched = True
        if not press.again or (row.confirmed and not known):
            stop_entries.receipts(core, press, row, level, prior)
        return row.confirmed or level < Level.FREEZE

    def _next(self, press: Press, row: Tracked) -> None:
        """Not confirmed in time: a kill where it was less, and a page to a person."""
        core = self._core
        level = core.level(row)
        if level is None:
            return
        missing = [receipt.layer for receipt in row.receipts if not receipt.confirmed]
        missing = [layer for layer in missing if layer != COOPERATIVE]
        if not press.again:
            stop_entries.unconfirmed(core, row, missing, level)
        if row.fronted and missing == [GATEWAY] and row.body is None and not row.served:
            return  # a kill would reach no further: all there is of it is a front of others
        if level is Level.KILL and not press.again and powers_off(core, row):
            why = f"kill was not confirmed within {CONFIRM_S:g} s, its plan names the power"
            self._further.hold(row, Level.POWEROFF, f"{why}, and nothing else runs here")
        elif level < Level.KILL:
            self._further.escalate(row, f"{level.label} was not confirmed within {CONFIRM_S:g} s")
        elif row.held:
            self._further.enforce(row, "not confirmed, so nothing of its plan is put off any more")
        elif row.seen_somewhere:
            core.loop.later(_LOOK_AGAIN_S, lambda: self.look_again(row))

    # --- the hand-over to new code (SR-23) ----------------------------------------

    def passed(self) -> list[dict[str, Any]]:
        """Give the presses that are not proven yet, or not answered."""
        open_ = {id(each): each for each in [*self._presses.values(), *self._unanswered]}
        return [each.passed(list(each.looks)) for each in open_.values() if not each.again]

    def take_up(self, passed: dict[str, Any], askers: Mapping[int, Connection]) -> Press | None:
        """Go on with one of them; give it where its proof is still open."""
        rows = [row for name in passed["rows"] if (row := self._core.table.get(name)) is not None]
        asker = askers.get(passed["asker"])
        press = Press.taken_up(passed, rows, asker)
        if asker is not None:
            self.owe(press)
        if press.done or (rows and not press.turns):  # proven, or it shares another one's proof
            self._core.loop.later(0, lambda: self._answer(press))
            return None
        for row in rows:
            layers = {
                layer for name, some in passed["looks"] if name == row.target.name for layer in some
            }
            if layers:
                self._look(press, row, layers)
        left = max(0.0, CONFIRM_S + _OBSERVER_SLACK_S - press.since_ns() / 1e9)
        press.timer = self._core.loop.later(left if press.looks else 0, lambda: self._finish(press))
        return press
