"""A stop, from the press to the proof.

At one instant, and nothing waiting for anything else: the page's words are set, so guards
and gateways refuse; then, target by target, the network is denied, the cell killed, its
sockets destroyed, its user swept (SR-8). Only then is the order written to the latch's
copy in memory, handed to the disk's thread, and told to the journal. The observer, which
did none of it, says what it sees, layer by layer; what it has not seen within two seconds
is *not confirmed*: a lesser stop becomes a kill, and a person is paged (VER-4). It is looked
at again until it stands still.

While a target is latched the observer goes on looking. Whatever moves is stopped again, and
nothing that was seen before it moved counts any more. A target without a cell is stopped the
same way: what may be left of its last one is tripped and looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from offswitch.actuators.contract import Actuator
from offswitch.clock import new_nonce
from offswitch.control.page import word_of_level
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.model.state import Event, State, step
from offswitch.warden.cells.cell import Cell, is_gone
from offswitch.warden.core import Core
from offswitch.warden.door.connection import Connection
from offswitch.warden.evidence_link import cut_first
from offswitch.warden.lasting import Lasting
from offswitch.warden.may_start import say
from offswitch.warden.merging import Merging
from offswitch.warden.plan import COOPERATIVE, GATEWAY, LOCAL, TOLD, layers_of, snapshot_of
from offswitch.warden.press import Press, Reply, result
from offswitch.warden.sharing import Sharing
from offswitch.warden.table import Tracked

__all__ = ["CONFIRM_S", "Stopper"]

CONFIRM_S = 2.0
"""How long the observer may take before a stop is *not confirmed* (VER-4)."""
_OBSERVER_SLACK_S = 0.3
_FIRST_CHASE_S = 0.01
"""When sockets are looked for again. Sooner it would only keep a processor from those that die."""
_LAST_CHASE_S = 1.0
_SOCKETS_NS = 20_000_000
"""How long a press may have taken until sockets wait for the chase: what lives comes first."""
_TELL_KEEPER_S = 0.005
"""The keeper sees by the page that a stop is being obeyed, so to wake it can wait."""
_IN_ONE_WORD = 256
_WARDEN = "warden"
_ALONE = "gateway:"
"""How the observer calls a target of which it sees gateways alone."""
_LOOK_AGAIN_S = 1.0
_POLL_S, _LONGEST_POLL_S = 0.005, 0.5
_LONGEST_WAIT_NS = 5_000_000_000
_TOLD_AGAIN_US = 1_000_000
_STILL_TOLD_AGAIN_US = 60_000_000


class Stopper:
    """Executes stops, follows them until they are proven, and keeps what is latched still."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self.merging = Merging(core, self.enforce)
        self._sharing = Sharing(core, self._answer)
        self._obeyed: list[str] = []
        """Nonces of presses that the keeper was not told of yet."""
        self._presses: dict[int, Press] = {}
        self._unanswered: list[Press] = []
        """Presses that somebody waits for."""
        self._look_id = 0
        self._lasting = Lasting(core.loop, self._outlived)
        self._told: dict[str, int] = {}
        """Target → when it was last written down that it moved."""
        self._turn = 0
        self._fresh: list[Tracked] = []
        """What the press that is being carried out commands anew: evidence is kept of it."""
        self._turns: dict[str, tuple[Level, int]] = {}
        """Target → the level last commanded, and its turn: a new one whenever that changes or
        something moves."""

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
        core = self._core
        press = Press(stops, reply, wait=wait)
        press.asker = asker
        if asker is not None:
            self._unanswered.append(press)
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
            self._follow(press)
        else:
            self._sharing.follow(press, owner)
        core.store.sync()
        self._record(press)
        self._keep_evidence(press)
        self.merging.look()
        if not self._obeyed:
            core.loop.later(_TELL_KEEPER_S, self._tell_keeper)
        self._obeyed += [stop.nonce for stop in stops]
        return press

    def _command_all(self, press: Press) -> None:
        """Set every word, then command target by target."""
        core = self._core
        press.rows = core.table.covered(stop.scope for stop in press.given)
        press.levels = {
            row.target.name: max(core.level(row) or press.level, press.level) for row in press.rows
        }
        press.prior = {row.target.name: row.state.value for row in press.rows}
        for row in press.rows:
            self.set_word(row, press.levels[row.target.name])
            press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        if core.gates is not None:
            core.gates.tell()
        for row in sorted(press.rows, key=lambda row: row.cell is None):  # what lives first
            self._command(press, row)

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

    def enforce(self, row: Tracked, why: str) -> None:
        """Command again what is latched for `row`, and write it down: it moved, or was found."""
        level = self._core.level(row)
        if level is None:
            return
        self._told[row.target.name] = self._core.clock.mono_us()
        self._new_turn(row, level)
        self._command_again(row, level)
        self._core.recording.note(
            "moved", {"what": why}, target=row.target.name, level=level.label, channel="warden"
        )

    def found_again(self, row: Tracked, why: str) -> None:
        """Something latched was made anew by others: command it again, told once a second."""
        level, told = self._core.level(row), self._told.get(row.target.name)
        if told is None or self._core.clock.mono_us() - told > _TOLD_AGAIN_US:
            self.enforce(row, why)
        elif level is not None:
            row.unseen()
            self._new_turn(row, level)
            self._command_again(row, level)

    def _command_again(self, row: Tracked, level: Level) -> None:
        press = self._press_of(row, level)
        self.set_word(row, level)
        press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        self._command(press, row)
        self._follow(press)

    def _trip_again(self, row: Tracked, level: Level) -> None:
        """Command once more what has not stood still yet; somebody is looking, or soon will."""
        press = self._press_of(row, level)
        press.commanded[row.target.name] = {}
        self._trip(press, row)
        self.look_again(row)

    def resume(self, row: Tracked) -> None:
        """Take up what is latched for a target that was found or declared.

        One without a cell is looked at anew; a drain of an earlier warden's ends in time, too.
        """
        level = self._core.level(row)
        if level is not None and row.cell is None:
            commanded, _turn = self._turns.get(row.target.name, (None, 0))
            if commanded is not level or not row.stands:
                self._command_again(row, level)
        elif level is Level.DRAIN:
            self._lasting.begin(row, level)

    def _press_of(self, row: Tracked, level: Level) -> Press:
        """Begin a press of the warden's own: of what is latched for one target already."""
        press = Press([live.stop for live in self._core.latch.covering(row.target)])
        press.rows = [row]
        press.levels = {row.target.name: level}
        return press

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

    def _available(self, row: Tracked) -> list[str]:
        absent = {name for name, (state, _detail) in row.readiness.items() if state == "absent"}
        if not row.served:
            absent.add(GATEWAY)  # a front of others is listed, and not waited for
        if row.cell is not None:
            return [name for name in row.readiness if name not in absent]
        left = row.remains.layers if row.remains is not None else []
        left = [*left, GATEWAY] if row.served else left
        return [name for name in left if name not in absent]

    def _layers(self, row: Tracked, level: Level) -> list[str]:
        return layers_of(level, row.declared, self._available(row))

    def _reach(self, row: Tracked, level: Level) -> list[str]:
        """Name the layers of the plan that can be commanded here, and looked at."""
        able = {layer for layer, _actuator in self._core.steps(level)}
        if row.served and level >= Level.FREEZE:
            able.add(GATEWAY)
        if row.cell is None:
            able.intersection_update(self._available(row))
        return [layer for layer in self._layers(row, level) if layer in able]

    def _command(self, press: Press, row: Tracked) -> None:
        """Give every command of the level to one target; what one raises delays no other."""
        name, level = row.target.name, press.levels[row.target.name]
        anew = self._turns.get(name, (None, 0))[0] is not level
        if anew:
            self._new_turn(row, level)
            self._fresh.append(row)
        press.turns[name] = self._turns[name][1]
        row.state = step(row.state, Event.STOP, level, alive=row.cell is not None or row.served)
        row.unseen()
        if row.served:
            self._command_gates(press, row, level)
        if anew and level >= Level.KILL and self._snapshot_first(press, row):
            pass
        elif level >= Level.FREEZE:
            self._trip(press, row)
        self._lasting.begin(row, level)

    def _command_gates(self, press: Press, row: Tracked, level: Level) -> None:
        """Their words are set, and they were told: what else it takes comes in a moment."""
        if self._core.gates is not None and GATEWAY in self._available(row):
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
        steps, reach = cut_first(core), self._reach(row, press.levels[row.target.name])
        self._trip(press, row, [step for step in steps if step[0] in reach])
        killed_ns = press.since_ns() + int(budget_s * 1e9)
        for layer in reach:  # what is only due with the kill is commanded with it
            press.commanded[row.target.name].setdefault(layer, killed_ns)
        core.loop.later(budget_s, partial(self._cut, row, row.cell))
        return True

    def _cut(self, row: Tracked, cell: Cell) -> None:
        level = self._core.level(row)
        if row.cell is cell and level is not None and level >= Level.KILL:
            self._trip(self._press_of(row, level), row)

    def _new_turn(self, row: Tracked, level: Level) -> None:
        """What was seen of a target up to now says nothing any more."""
        self._turn += 1
        self._turns[row.target.name] = (level, self._turn)

    def _trip(
        self, press: Press, row: Tracked, steps: list[tuple[str, Actuator]] | None = None
    ) -> None:
        body, level = row.body, press.levels[row.target.name]
        if body is None:
            return
        layers = self._reach(row, level)
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
            self._chase(row, _FIRST_CHASE_S)

    def _chase(self, row: Tracked, pause_s: float) -> None:
        """Destroy sockets again until none is left: some come late, in the kill itself (SR-8)."""

        def again() -> None:
            body = row.body
            if body is not None and self._core.sockets.left(body) is not False:
                self._chase(row, min(pause_s * 2, _LAST_CHASE_S))

        if pause_s < _LAST_CHASE_S:
            self._core.loop.later(pause_s, again)

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
        self._turns.pop(row.target.name, None)
        level = self._core.level(row)
        if level is not None:
            self._lasting.begin(row, level)

    def release(self, row: Tracked) -> None:
        """Let a frozen target go on: its network first, then its processes."""
        if row.cell is not None:
            self._core.network_release(row.cell)
            row.cell.thaw()

    # --- the proof ----------------------------------------------------------------

    def _destroy_what_is_left(self, press: Press) -> None:
        """Destroy the sockets of all targets whose cells are gone, in one go: they may be many."""
        left = [
            row.remains
            for row in press.rows
            if row.cell is None and row.remains is not None
            if press.levels[row.target.name] >= Level.KILL
            if "network" in press.commanded[row.target.name]
        ]
        if left:
            self._core.sockets.left(*left)

    def _follow(self, press: Press) -> None:
        """Ask the observer about every layer that was commanded."""
        self._destroy_what_is_left(press)
        for row in press.rows:
            press.turns.setdefault(row.target.name, self._turns.get(row.target.name, (0, 0))[1])
            told = {COOPERATIVE} if press.levels[row.target.name] >= Level.FREEZE else TOLD
            layers = set(press.commanded[row.target.name]) - told
            if layers:
                self._look(press, row, layers)
        if not press.looks:
            self._core.loop.later(0, lambda: self._finish(press))
            return
        wait = CONFIRM_S + _OBSERVER_SLACK_S
        press.timer = self._core.loop.later(wait, lambda: self._finish(press))

    def unwatch(self, row: Tracked) -> None:
        """Have the observer look at a target no longer."""
        name = row.body.name if row.body is not None else f"{_ALONE}{row.target.name}"
        if self._core.observer is not None and row.watched:
            self._core.observer.unwatch(name)
            row.watched = False

    def tell_more(self, row: Tracked) -> None:
        """More is known besides what was seen of a target's gateways: say it in the receipt."""
        gates, known = self._core.gates, row.receipts
        if gates is not None and any(each.layer == GATEWAY and each.confirmed for each in known):
            said = gates.told(row, "")
            row.receipts = [
                replace(each, detail=said) if each.layer == GATEWAY else each for each in known
            ]
            if gates.busy(row):
                self._core.recording.note(
                    "note",
                    what="page: not confirmed, a person must look",
                    target=row.target.name,
                    missing=[GATEWAY],
                )
                self.look_again(row)  # what was confirmed is not, until nothing works there

    def look_again(self, row: Tracked) -> None:
        """Have the observer look at a latched target anew, unless somebody is looking."""
        level = self._core.level(row)
        if level is None or level < Level.FREEZE or self.looking([row]):
            return
        press = self._press_of(row, level)
        press.again = True
        known = {receipt.layer: receipt.commanded_ns for receipt in row.receipts}
        press.commanded[row.target.name] = {
            layer: known.get(layer, 0) for layer in [COOPERATIVE, *self._reach(row, level)]
        }
        self._follow(press)

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
        return any(
            name in names for press in self._presses.values() for name, _ in press.looks.values()
        )

    def _look(self, press: Press, row: Tracked, layers: set[str]) -> None:
        observer, facts = self._core.observer, self._facts(row)
        if facts is None:
            return
        self._look_id += 1
        press.looks[self._look_id] = (row.target.name, layers)
        self._presses[self._look_id] = press
        if observer is not None:
            level = press.levels[row.target.name]
            deadline = max(0, int(CONFIRM_S * 1000) - press.since_ns() // 1_000_000)
            observer.look(self._look_id, facts, sorted(layers), level.label, deadline)

    def _facts(self, row: Tracked) -> dict[str, Any] | None:
        """Give what the observer needs to look at a target; None where there is nothing to see."""
        if not row.served or self._core.gates is None:
            return None if row.body is None else row.body.facts()
        alone = {"name": f"{_ALONE}{row.target.name}", "cgroup_id": None, "own_uid": False}
        facts = row.body.facts() if row.body is not None else alone
        return {**facts, GATEWAY: self._core.gates.facts(row)}

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
        row = self._core.table.get(name) if layer == GATEWAY else None
        if row is not None and self._core.gates is not None:
            press.beside[name] = self._core.gates.told(row, press.seen[name, layer][2])
            if self._core.gates.busy(row):
                press.seen[name, layer] = (False, at, press.seen[name, layer][2])
        open_layers.discard(layer)
        if not open_layers:
            del press.looks[look]
            del self._presses[look]
        if not press.looks:
            self._finish(press)

    def buried(self, row: Tracked) -> None:
        """A target's cell is gone: what was seen of it, or was to be, gives way to a new look."""
        lost = []
        for look, press in list(self._presses.items()):
            if press.looks[look][0] == row.target.name:
                del press.looks[look], self._presses[look]
                lost.append(press)
        level = self._core.level(row)
        if level is not None and level >= Level.FREEZE:
            self._new_turn(row, level)
            self._command_again(row, level)
        for press in lost:
            if not press.looks:
                self._core.loop.later(0, partial(self._finish, press))

    def moved(self, message: dict[str, Any]) -> None:
        """Something latched lives again: stop it again, a freeze as a kill (VER-3, ACT-1)."""
        cell, table = str(message["cell"]), self._core.table
        alone = cell.startswith(_ALONE)
        row = table.get(cell.removeprefix(_ALONE)) if alone else table.by_cell(cell)
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
            self._new_turn(row, level)
            self._command_again(row, level)
        else:
            self._trip_again(row, level)

    def observer_back(self) -> None:
        """Ask a new observer what the lost one has not answered, and have it watch."""
        lost = [(press, look) for look, press in self._presses.items()]
        for press, look in lost:
            name, layers = press.looks.pop(look)
            del self._presses[look]
            row = self._core.table.get(name)
            if row is not None:
                self._look(press, row, layers)
            if not press.looks:
                self._finish(press)
        for row in self._core.table:
            row.watched = False
            if row.body is not None or row.served:
                self.look_again(row)

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
        self._sharing.finished(press)
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
        current = self._turns.get(name, (level, press.turns[name]))
        if level is None or current != (press.levels[name], press.turns[name]):
            return True  # reset meanwhile, or what was seen is no longer what counts
        row.receipts = press.receipts(row, level, self._layers(row, level))
        counted = [receipt for receipt in row.receipts if receipt.counted]
        known = row.confirmed
        row.confirmed = bool(counted) and all(receipt.confirmed for receipt in counted)
        visible = self.visible(row)
        seen = [receipt.confirmed for receipt in counted if receipt.layer in visible]
        row.stands = bool(seen) and all(seen)
        prior = row.state
        if row.confirmed:
            row.state = step(prior, Event.STANDSTILL, level, alive=row.alive)
        facts = self._facts(row)
        if level >= Level.FREEZE and facts is not None and core.observer is not None:
            core.observer.watch(facts, level.label)
            row.watched = True
        if not press.again or (row.confirmed and not known):
            self._record_receipts(press, row, level, prior)
        return row.confirmed or level < Level.FREEZE

    def visible(self, row: Tracked) -> frozenset[str]:
        """Name the layers of which it can ever be seen whether they stand still."""
        gates = {GATEWAY}.intersection(self._available(row))
        if row.cell is None:
            return LOCAL | gates
        gone = {"process"} if is_gone(row.cell) else set()
        return LOCAL.intersection(self._available(row)) - gone | gates

    def _next(self, press: Press, row: Tracked) -> None:
        """Not confirmed in time: a kill where it was less, and a page to a person."""
        core = self._core
        level = core.level(row)
        if level is None:
            return
        if not press.again:
            missing = [receipt.layer for receipt in row.receipts if not receipt.confirmed]
            core.recording.note(
                "note",
                what="page: not confirmed, a person must look",
                target=row.target.name,
                level=level.label,
                missing=[layer for layer in missing if layer != COOPERATIVE],
            )
        if level < Level.KILL:
            self.escalate(row, f"{level.label} was not confirmed within {CONFIRM_S:g} s")
        elif row.body is not None or row.served:
            core.loop.later(_LOOK_AGAIN_S, lambda: self.look_again(row))

    # --- the hand-over to new code (SR-23) ----------------------------------------

    def commanded(self, row: Tracked, level: Level) -> bool:
        """Tell whether a target was commanded to that level, and has not changed since."""
        return self._turns.get(row.target.name, (None, 0))[0] is level

    def killed(self, row: Tracked) -> bool:
        """Tell whether the last command to a target was a kill, or more."""
        return (self._turns.get(row.target.name, (None, 0))[0] or 0) >= Level.KILL

    def passed(self) -> dict[str, Any]:
        """Give what is under way, and what no file knows of what is latched."""
        open_ = {id(each): each for each in [*self._presses.values(), *self._unanswered]}
        return {
            "turn": self._turn,
            "turns": {name: [int(level), turn] for name, (level, turn) in self._turns.items()},
            "limits": self._lasting.passed(),
            "presses": [each.passed(list(each.looks)) for each in open_.values() if not each.again],
        }

    def take_up(self, passed: dict[str, Any], askers: Mapping[int, Connection]) -> None:
        """Go on with what the code before had under way; rows and observer are there."""
        self._turn = passed["turn"]
        self._turns = {name: (Level(lv), turn) for name, (lv, turn) in passed["turns"].items()}
        for name, left in passed["limits"].items():
            row = self._core.table.get(name)
            if row is not None and (row.cell is not None or row.served):
                self._lasting.take_up(row, left)
        for one in passed["presses"]:
            self._take_up_press(one, askers)

    def _take_up_press(self, passed: dict[str, Any], askers: Mapping[int, Connection]) -> None:
        rows = [row for name in passed["rows"] if (row := self._core.table.get(name)) is not None]
        asker = askers.get(passed["asker"])
        press = Press.taken_up(passed, rows, asker)
        if asker is not None:
            self._unanswered.append(press)
        if press.done or (rows and not press.turns):  # proven, or it shares another one's proof
            self._core.loop.later(0, lambda: self._answer(press))
            return
        for row in rows:
            layers = {
                layer for name, some in passed["looks"] if name == row.target.name for layer in some
            }
            if layers:
                self._look(press, row, layers)
            if press.levels[row.target.name] >= Level.KILL and row.cell is not None:
                self._chase(row, _FIRST_CHASE_S)
        left = max(0.0, CONFIRM_S + _OBSERVER_SLACK_S - press.since_ns() / 1e9)
        press.timer = self._core.loop.later(left if press.looks else 0, lambda: self._finish(press))

    # --- what is written of it ----------------------------------------------------

    def _record(self, press: Press) -> None:
        core = self._core
        state = {row.target.name: row.state.value for row in press.rows}
        for given, stop in zip(press.given, press.stops, strict=True):
            said = {"by": given.by, "reason": given.reason}
            entry = {
                "order": "stop",
                "digest": stop.digest,
                "scope": given.scope.text,
                "level": given.level.label,
                "channel": given.channel,
                "given_us": given.time_us,
                "accepted_mono_us": press.accepted_ns // 1000,
                "prior": press.prior,
                "state": state,
            }
            if stop.nonce == given.nonce:
                core.recording.note("order", said, **entry)
            else:  # it joined a live one
                core.recording.often((stop.digest, given.by), "order", said, **entry)
        for row in press.rows:
            covering = next(stop for stop in press.stops if stop.scope.covers(row.target))
            row.order = covering.digest
            level = press.levels[row.target.name]
            if row.listener is not None and level >= Level.FREEZE:
                row.listener.stopped(row.order, level.label)

    def _record_receipts(self, press: Press, row: Tracked, level: Level, prior: State) -> None:
        live = [live.stop for live in self._core.latch.covering(row.target)]
        order = max(live, key=lambda stop: (stop.digest == row.order, stop.level))
        for receipt in row.receipts:
            self._core.recording.note(
                "receipt",
                {"by": order.by, "reason": order.reason, "detail": receipt.detail or None},
                target=row.target.name,
                order=order.digest,
                channel=order.channel,
                why=f"the stop of {order.scope.text}",
                level=level.label,
                layer=receipt.layer,
                accepted_mono_us=press.accepted_ns // 1000,
                commanded_ns=receipt.commanded_ns,
                effect_ns=receipt.effect_ns,
                confirmed=receipt.confirmed,
                prior=prior.value,
                state=row.state.value,
            )
