"""A stop: the press, and what it commands.

At one instant, and nothing waiting for anything else: the page's words are set, so guards
and gateways refuse; then, target by target, the network is denied, the cell killed, its
sockets destroyed, its user swept (SR-8). Only then is the order written to the latch's
copy in memory, handed to the disk's thread, and told to the journal. From there on it is
followed until it is proven (`proving`).

While a target is latched the observer goes on looking. Whatever moves is stopped again, and
nothing that was seen before it moved counts any more (`turns`). A target without a cell is
stopped the same way: what may be left of its last one is tripped and looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from offswitch.actuators.contract import Actuator
from offswitch.clock import new_nonce
from offswitch.control.page import word_of_level
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.model.state import Event, State, step
from offswitch.warden import stop_entries
from offswitch.warden.cells.cell import Cell
from offswitch.warden.chasing import chase
from offswitch.warden.core import Core
from offswitch.warden.courses import Courses
from offswitch.warden.door.connection import Connection
from offswitch.warden.evidence_link import cut_first
from offswitch.warden.lasting import Lasting
from offswitch.warden.may_start import say
from offswitch.warden.merging import Merging
from offswitch.warden.plan import COOPERATIVE, GATEWAY, snapshot_of
from offswitch.warden.press import Press, Reply, own_press
from offswitch.warden.proving import Proving
from offswitch.warden.reach import available, meant, reached
from offswitch.warden.table import Tracked
from offswitch.warden.taken_along import take_along
from offswitch.warden.turns import Turns

__all__ = ["Stopper"]

_SOCKETS_NS = 20_000_000
"""How long a press may have taken until sockets wait for the chase: what lives comes first."""
_TELL_KEEPER_S = 0.005
"""The keeper sees by the page that a stop is being obeyed, so to wake it can wait."""
_IN_ONE_WORD = 256
_WARDEN = "warden"
_TOLD_AGAIN_US = 1_000_000
_STILL_TOLD_AGAIN_US = 60_000_000


class Stopper:
    """Executes stops, has them proven, and keeps what is latched still."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self.turns = Turns()
        self._courses = Courses(core, self)
        self.proving = Proving(core, self.turns, self._courses, self)
        self.merging = Merging(core, self.enforce)
        self._sharing = self.proving.sharing
        self._lasting = Lasting(core.loop, self._outlived)
        self._obeyed: list[str] = []
        """Nonces of presses that the keeper was not told of yet."""
        self._under_way: list[Stop] = []
        """What is being carried out just now: whom that takes along is in it, too."""
        self._told: dict[str, int] = {}
        """Target → when it was last written down that it moved."""
        self._fresh: list[Tracked] = []
        """What the press that is being carried out commands anew: evidence is kept of it."""

    # --- the press ----------------------------------------------------------------

    def press(
        self,
        stops: list[Stop],
        reply: Reply | None = None,
        *,
        wait: bool = False,
        asker: Connection | None = None,
    ) -> Press:
        """Carry out `stops` at once. `reply` gets the final object when it is proven, or is not.

        `asker` is whom `reply` answers, should another code answer in our place.
        """
        self._under_way += stops
        try:
            return self._carry_out(stops, reply, asker, wait=wait)
        finally:
            del self._under_way[-len(stops) :]

    def _carry_out(
        self, stops: list[Stop], reply: Reply | None, asker: Connection | None, *, wait: bool
    ) -> Press:
        core = self._core
        press = Press(stops, reply, wait=wait)
        press.asker = asker
        if asker is not None:
            self.proving.owe(press)
        owner = None if wait else self._sharing.owner(stops)
        try:
            if owner is None:
                self._command_all(press)
        finally:
            # To name an order takes longer than to give it; whatever was commanded is latched.
            press.stops = [self._admit(stop) for stop in stops]
            for stop in press.stops:
                core.store.note(stop)
        if owner is None:
            self._sharing.commanded(press)
            self.proving.follow(press)
        else:
            self._sharing.follow(press, owner)
        core.store.sync()
        stop_entries.ordered(core, press)
        self._tell_relays(press)
        self._keep_evidence(press)
        self.merging.look()
        if not self._obeyed:
            core.loop.later(_TELL_KEEPER_S, self._tell_keeper)
        self._obeyed += [stop.nonce for stop in stops]
        if owner is None:
            take_along(core, press, self._under_way, self.press, first=False)
        return press

    def _command_all(self, press: Press) -> None:
        """Set every word, then command target by target."""
        core = self._core
        press.rows = core.table.covered(stop.scope for stop in press.given)
        press.levels = {
            row.target.name: max(core.level(row) or press.level, press.level) for row in press.rows
        }
        press.prior = {row.target.name: row.state.value for row in press.rows}
        take_along(core, press, self._under_way, self.press, first=True)
        for row in press.rows:
            self.set_word(row, press.levels[row.target.name])
            press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        if core.gates is not None:
            core.gates.tell()
        for row in press.rows:
            self._command_hands(press, row, press.levels[row.target.name])
        for row in sorted(press.rows, key=lambda row: row.cell is None):  # what lives first
            self._command(press, row)

    def _admit(self, stop: Stop) -> Stop:
        """Latch `stop`; a press whose digest was cleared earlier becomes a new one (SR-19)."""
        core = self._core
        if not core.latch.fresh(stop):
            stop = Stop(
                stop.installation,
                stop.scope,
                stop.level,
                stop.by,
                stop.channel,
                new_nonce(),
                core.clock.wall_us(),
                stop.reason,
            )
        digest = core.latch.admit(stop, core.barred)
        live = core.latch.get(digest)
        return live.stop if live is not None else stop

    def _tell_relays(self, press: Press) -> None:
        """Note which order holds a target, and tell whoever relays it."""
        for row in press.rows:
            covering = next(stop for stop in press.stops if stop.scope.covers(row.target))
            row.order = covering.digest
            level = press.levels[row.target.name]
            if row.listener is not None and level >= Level.FREEZE:
                row.listener.stopped(row.order, level.label)

    def _keep_evidence(self, press: Press) -> None:
        """Have evidence kept of what was commanded anew; every command was given before."""
        fresh, self._fresh = self._fresh, []
        for row in fresh:
            level = press.levels.get(row.target.name)
            if level is not None and level >= Level.FREEZE and self._core.evidence is not None:
                self._core.evidence.gather(row, level, row.order or press.stops[0].digest)

    def _tell_keeper(self) -> None:
        nonces, self._obeyed = self._obeyed, []
        if self._core.keeper is not None:
            for first in range(0, len(nonces), _IN_ONE_WORD):
                self._core.keeper.obeyed(nonces[first : first + _IN_ONE_WORD])

    # --- what is commanded to one target ------------------------------------------

    def set_word(self, row: Tracked, level: Level | None) -> None:
        """Show a target's level to its guards."""
        word = word_of_level(row.shown(level))
        if row.slot is not None:
            self._core.page.set(row.slot, word)
        if row.gate_slot is not None:
            self.set_gate_word(row, level)
        if row.adopted is not None:
            given_up = row.target.name in self._core.written_off
            say(self._core.place, row.target.name, allowed=level is None and not given_up)

    def set_gate_word(self, row: Tracked, level: Level | None) -> None:
        """Show a target's level to its gateways, which pass requests even where nothing runs."""
        if row.gate_slot is not None and self._core.gates is not None:
            self._core.gates.show(row, word_of_level(row.shown(level)))

    def _command(self, press: Press, row: Tracked) -> None:
        """Give every command of the level to one target; what one raises delays no other."""
        level = press.levels[row.target.name]
        turn = self.turns.commanded(row, level)
        anew = not turn
        if anew:
            turn = self.turns.begin(row, level)
            self._fresh.append(row)
        press.turns[row.target.name] = turn
        there = row.cell is not None or row.served or bool(row.handed)
        row.state = step(row.state, Event.STOP, level, alive=there)
        row.unseen()
        self._command_hands(press, row, level)
        if row.served:
            self._command_gates(press, row, level)
        if anew and level >= Level.KILL and self._snapshot_first(press, row):
            pass
        elif level >= Level.FREEZE:
            self._trip(press, row)
        self._lasting.begin(row, level)

    def _command_hands(self, press: Press, row: Tracked, level: Level) -> None:
        """Tell them, which takes microseconds; what they do takes them milliseconds."""
        if row.declared is not None or row.handed:
            ours = press.own or any(stop.by == _WARDEN for stop in press.given)
            first = not ours and not self.turns.commanded(row, level)
            self._courses.begin(press, row, level, first=first)
            self._tell_hands(press, row, level)

    def _tell_hands(
        self, press: Press, row: Tracked, level: Level, only: frozenset[str] | None = None
    ) -> list[str]:
        """Tell those of the layers that are due, or `only` some of them; give their layers."""
        if self._core.hands is None:
            return []
        commanded = press.commanded.setdefault(row.target.name, {})
        told = self._core.hands.command(row, level, partial(self._noted, press, row), only)
        for layer in told:
            commanded.setdefault(layer, press.since_ns())
        return told

    def _noted(
        self,
        press: Press,
        row: Tracked,
        layer: str,
        done: bool,  # noqa: FBT001 - an answer
        detail: str,
    ) -> None:
        """Hear what a hand says of a command: a failure is told beside what was seen."""
        if not done:
            press.failed(row.target.name, layer, detail)
        self._courses.answered(press, row, layer, done=done)

    # --- what a plan puts off (`courses.Steps`) -----------------------------------

    def go_on(self, press: Press, row: Tracked, layers: frozenset[str]) -> None:
        """Command what is due now, and have it looked at."""
        level = press.levels.get(row.target.name)
        if level is not None and self._core.level(row) is level:
            told = self._tell_hands(press, row, level, layers)
            self.proving.look_more(press, row, set(told))

    def missed(self, press: Press, row: Tracked, layers: list[str]) -> None:
        """Not seen by a deadline of its own: a person is told, and a lesser stop becomes a kill."""
        level = press.levels.get(row.target.name)
        if level is None or self._core.level(row) is not level:
            return
        stop_entries.unconfirmed(self._core, row, layers, level)
        if level < Level.KILL:
            self.escalate(row, f"{', '.join(layers)} was not seen by its deadline")

    def over(self, press: Press) -> None:
        """A press may wait for nothing more."""
        self.proving.over(press)

    # --- what is commanded to one target ------------------------------------------

    def _command_gates(self, press: Press, row: Tracked, level: Level) -> None:
        """Their words are set, and they were told: what else it takes comes in a moment."""
        if self._core.gates is not None and GATEWAY in available(row):
            press.commanded[row.target.name].setdefault(GATEWAY, press.since_ns())
            self._core.gates.command(row, level)

    def _snapshot_first(self, press: Press, row: Tracked) -> bool:
        """Cut and freeze now, and kill by a timer of our own, where the plan wants a snapshot.

        Only a first press of somebody's is put off so: the next one kills at once, and so does
        whatever we order ourselves. Whoever takes the snapshot is not waited for (ACT-11).
        """
        core, (budget_s, _memory) = self._core, snapshot_of(row.declared)
        if not budget_s or row.cell is None or any(stop.by == _WARDEN for stop in press.given):
            return False
        steps, reach = cut_first(core), reached(core, row, press.levels[row.target.name])
        self._trip(press, row, [step for step in steps if step[0] in reach])
        killed_ns = press.since_ns() + int(budget_s * 1e9)
        for layer in reach:  # what is only due with the kill is commanded with it
            press.commanded[row.target.name].setdefault(layer, killed_ns)
        core.loop.later(budget_s, partial(self._cut, row, row.cell))
        return True

    def _cut(self, row: Tracked, cell: Cell) -> None:
        level = self._core.level(row)
        if row.cell is cell and level is not None and level >= Level.KILL:
            self._trip(own_press(self._core, row, level), row)

    def _trip(
        self, press: Press, row: Tracked, steps: list[tuple[str, Actuator]] | None = None
    ) -> None:
        body, level = row.body, press.levels[row.target.name]
        if body is None:
            return
        layers = reached(self._core, row, level)
        commanded = press.commanded.setdefault(row.target.name, {})
        for layer, actuator in self._core.steps(level) if steps is None else steps:
            if layer not in layers:
                continue
            if actuator is self._core.sockets and press.since_ns() > _SOCKETS_NS:
                continue  # many targets, or one with very many: the chase destroys them
            try:
                if row.cell is not None or layer != "network":
                    actuator.trip(body)
            except Exception as error:  # noqa: BLE001 - a layer that fails must not hold up the next
                press.troubles[row.target.name, layer] = f"{type(error).__name__}: {error}"
            commanded.setdefault(layer, press.since_ns())
        if level >= Level.KILL and "network" in layers and row.cell is not None:
            chase(self._core, row)

    # --- what is latched stays still ----------------------------------------------

    def enforce(self, row: Tracked, why: str) -> None:
        """Command again what is latched for `row`, and write it down: it moved, or was found."""
        level = self._core.level(row)
        if level is None:
            return
        self._told[row.target.name] = self._core.clock.mono_us()
        self.turns.begin(row, level)
        self._command_again(row, level)
        stop_entries.moved(self._core, row, level, why)

    def found_again(self, row: Tracked, why: str) -> None:
        """Something latched was made anew by others: command it again, told once a second."""
        level, told = self._core.level(row), self._told.get(row.target.name)
        if told is None or self._core.clock.mono_us() - told > _TOLD_AGAIN_US:
            self.enforce(row, why)
        elif level is not None:
            row.unseen()
            self.turns.begin(row, level)
            self._command_again(row, level)

    def moved(self, message: dict[str, Any]) -> None:
        """Something latched lives again: stop it again, a freeze as a kill (VER-3, ACT-1)."""
        row = meant(self._core.table, str(message["cell"]))
        if row is None:
            return
        level = self._core.level(row)
        if level is None or level < Level.FREEZE:
            return
        stood = row.stands
        row.unseen()
        row.state = step(row.state, Event.MOVED, level, alive=True)
        detail = str(message.get("detail", ""))
        # What was never seen to stand still did not begin to move: it is told now and then.
        silence = _TOLD_AGAIN_US if stood else _STILL_TOLD_AGAIN_US
        told = self._told.get(row.target.name)
        if level is Level.FREEZE:
            self.escalate(row, f"moved while frozen: {detail}")
        elif told is None or self._core.clock.mono_us() - told > silence:
            self.enforce(row, detail)
        elif stood:
            self.turns.begin(row, level)
            self._command_again(row, level)
        else:
            self._trip_again(row, level)

    def buried(self, row: Tracked) -> None:
        """A target's cell is gone: what was seen of it, or was to be, gives way to a new look."""
        lost = self.proving.lose(row)
        level = self._core.level(row)
        if level is not None and level >= Level.FREEZE:
            self.turns.begin(row, level)
            self._command_again(row, level, go_on=True)
        self.proving.end_soon(lost)

    def resume(self, row: Tracked) -> None:
        """Take up what is latched for a target that was found or declared.

        One without a cell is looked at anew; a drain of an earlier warden's ends in time, too.
        """
        level = self._core.level(row)
        if level is not None and row.cell is None:
            if not self.turns.commanded(row, level) or not row.stands:
                self._command_again(row, level)
        elif level is Level.DRAIN:
            self._lasting.begin(row, level)

    def _command_again(self, row: Tracked, level: Level, *, go_on: bool = False) -> None:
        """Command what is latched; to `go_on` is to hold further what its plan puts off."""
        press = own_press(self._core, row, level)
        if go_on:
            self._courses.carry(row, press)
        self.set_word(row, level)
        press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        self._command(press, row)
        self.proving.follow(press)

    def _trip_again(self, row: Tracked, level: Level) -> None:
        """Command once more what has not stood still yet; somebody is looking, or soon will."""
        press = own_press(self._core, row, level)
        press.commanded[row.target.name] = {}
        self._command_hands(press, row, level)
        self._trip(press, row)
        self.proving.look_again(row)

    # --- what a stop grows into ---------------------------------------------------

    def _outlived(self, row: Tracked, level: Level) -> None:
        if self._core.level(row) is level and row.state is not State.STOPPED:
            self.escalate(row, f"{level.label} outlived its limit")

    def drained(self, row: Tracked) -> None:
        """The work in flight of a draining target has ended: the drain ends as drains do."""
        if self._core.level(row) is Level.DRAIN:
            self.escalate(row, "its work in flight has ended")

    def escalate(self, row: Tracked, why: str) -> None:
        """Turn a lesser stop of one target into a kill, by an order of the warden's own."""
        self.hold(row, Level.KILL, why)

    def hold(self, row: Tracked, level: Level, why: str) -> None:
        """Stop one target by an order of the warden's own."""
        core = self._core
        scope = Scope(row.target.name)
        now = core.clock.wall_us()
        by = _WARDEN
        self.press([Stop(core.installation, scope, level, by, by, new_nonce(), now, why)])

    def reappeared(self, row: Tracked, *, alive: bool = True) -> None:
        """Something lives, or is about to: stop it if it was written off (SR-18)."""
        given_up = row.target.name in self._core.written_off
        if alive and given_up and (self._core.level(row) or 0) < Level.KILL:
            self.hold(row, Level.KILL, "it was written off, and is there again")

    def let_go(self, row: Tracked) -> None:
        """Forget what a target was held for; it was reset, or is held by less from now on."""
        self._lasting.forget(row)
        self._courses.end(row)
        self.turns.forget(row)
        level = self._core.level(row)
        if level is not None:
            self._lasting.begin(row, level)

    def release(self, row: Tracked) -> None:
        """Let a frozen target go on: its network first, then its processes."""
        if row.cell is not None:
            self._core.network_release(row.cell)
            row.cell.thaw()

    # --- the hand-over to new code (SR-23) ----------------------------------------

    def passed(self) -> dict[str, Any]:
        """Give what is under way, and what no file knows of what is latched."""
        return {
            **self.turns.passed(),
            "limits": self._lasting.passed(),
            "presses": self.proving.passed(),
        }

    def take_up(self, passed: dict[str, Any], askers: Mapping[int, Connection]) -> None:
        """Go on with what the code before had under way; rows and observer are there."""
        self.turns.take_up(passed)
        for name, left in passed["limits"].items():
            row = self._core.table.get(name)
            if row is not None and (row.cell is not None or row.served):
                self._lasting.take_up(row, left)
        for one in passed["presses"]:
            press = self.proving.take_up(one, askers)
            if press is None:
                continue
            for row in press.rows:
                if press.levels[row.target.name] >= Level.KILL and row.cell is not None:
                    chase(self._core, row)
