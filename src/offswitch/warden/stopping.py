"""A stop, from the press to the proof.

At one instant, and nothing waiting for anything else: the page's words are set, so guards
and gateways refuse; then, target by target, the network is denied, the cell killed, its
sockets destroyed, its user swept (SR-8). Only then is the order written to the latch's
copy in memory, handed to the disk's thread, and told to the journal. The observer, which
did none of it, says what it sees, layer by layer; what it has not seen within two seconds
is *not confirmed*, the remaining layers follow, and a person is paged (VER-4).

While a target is latched the observer goes on looking. Whatever moves is stopped again.
"""

from __future__ import annotations

from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.page import word_of_level
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.model.state import Event, State, step
from offswitch.warden.core import Core
from offswitch.warden.loop import Timer
from offswitch.warden.plan import COOPERATIVE, layers_of, remaining
from offswitch.warden.press import Press, Reply, result
from offswitch.warden.table import Tracked

__all__ = ["Stopper"]

CONFIRM_S = 2.0
"""How long the observer may take before a stop is *not confirmed* (VER-4)."""
FREEZE_LIMIT_S = 10.0
"""How long a freeze lasts before it becomes a kill (ACT-1)."""
DRAIN_LIMIT_S = 30.0
"""How long work in flight may take to end by itself."""
_OBSERVER_SLACK_S = 0.3
_FIRST_CHASE_S = 0.001
_LAST_CHASE_S = 1.0


class Stopper:
    """Executes stops, follows them until they are proven, and keeps what is latched still."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._presses: dict[int, Press] = {}
        self._look_id = 0
        self._limits: dict[str, Timer] = {}

    # --- the press ----------------------------------------------------------------

    def press(self, stops: list[Stop], reply: Reply | None = None, *, wait: bool = False) -> Press:
        """Carry out `stops` at once. `reply` gets the final object when it is proven, or is not."""
        core = self._core
        press = Press(stops, reply, wait=wait)
        admitted = [self._admit(stop) for stop in stops]
        press.stops = admitted
        press.rows = core.table.covered(stop.scope for stop in admitted)
        levels = {row.target.name: core.level(row) or press.level for row in press.rows}
        press.prior = {row.target.name: row.state.value for row in press.rows}
        for row in press.rows:
            self.set_word(row, levels[row.target.name])
            press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        for row in press.rows:
            self._command(press, row, levels[row.target.name])
        self._follow(press, levels)
        for stop in admitted:
            core.store.note(stop)
        core.store.sync()
        self._record(press, levels)
        if core.keeper is not None:
            core.keeper.obeyed([stop.nonce for stop in stops])
        return press

    def enforce(self, row: Tracked, why: str) -> None:
        """Command again what is latched for `row`: after a restart, or when it moved."""
        level = self._core.level(row)
        if level is None:
            return
        stops = [live.stop for live in self._core.latch.covering(row.target)]
        press = Press(stops, None, wait=False)
        press.rows = [row]
        self.set_word(row, level)
        press.commanded[row.target.name] = {COOPERATIVE: press.since_ns()}
        self._command(press, row, level)
        self._follow(press, {row.target.name: level})
        self._core.recording.note(
            "moved", {"what": why}, target=row.target.name, level=level.label, channel="warden"
        )

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
        if row.slot is not None:
            self._core.page.set(row.slot, word_of_level(level))

    def _available(self, row: Tracked) -> list[str]:
        return [name for name, (state, _detail) in row.readiness.items() if state != "absent"]

    def _layers(self, row: Tracked, level: Level) -> list[str]:
        return layers_of(level, row.declared, self._available(row))

    def _command(self, press: Press, row: Tracked, level: Level) -> None:
        """Give every command of the level to one target; what one raises delays no other."""
        self._set_state(row, level)
        if row.cell is None or level < Level.FREEZE:
            self._limit(row, level)
            return
        self._trip(press, row, level, self._layers(row, level))
        self._limit(row, level)

    def _trip(self, press: Press, row: Tracked, level: Level, layers: list[str]) -> None:
        cell = row.cell
        if cell is None:
            return
        commanded = press.commanded[row.target.name]
        for layer, actuator in self._core.steps(level):
            if layer not in layers:
                continue
            try:
                actuator.trip(cell)
            except Exception as error:  # noqa: BLE001 - a layer that fails must not hold up the next
                press.troubles[row.target.name, layer] = f"{type(error).__name__}: {error}"
            commanded.setdefault(layer, press.since_ns())
        if level >= Level.KILL and "network" in layers:
            self._chase(row, _FIRST_CHASE_S)

    def _chase(self, row: Tracked, pause_s: float) -> None:
        """Destroy sockets again until none is left: some come late, in the kill itself (SR-8)."""

        def again() -> None:
            cell = row.cell
            if cell is not None and self._core.sockets_left(cell) is not False:
                self._chase(row, min(pause_s * 2, _LAST_CHASE_S))

        if pause_s < _LAST_CHASE_S:
            self._core.loop.later(pause_s, again)

    def release(self, row: Tracked) -> None:
        """Let a frozen target go on: its network first, then its processes."""
        if row.cell is not None:
            self._core.network_release(row.cell)
            row.cell.thaw()

    def _set_state(self, row: Tracked, level: Level) -> None:
        prior = row.state
        alive = row.alive
        row.state = step(prior, Event.STOP, level, alive=alive)
        if alive:
            row.confirmed = False

    def _limit(self, row: Tracked, level: Level) -> None:
        """A drain and a freeze end in a kill, unless they are reset before (ACT-1)."""
        name = row.target.name
        old = self._limits.pop(name, None) if level >= Level.KILL else self._limits.get(name)
        if level >= Level.KILL:
            if old is not None:
                old.cancel()
            return
        if level is Level.RESTRICT or old is not None or row.cell is None:
            return
        seconds = DRAIN_LIMIT_S if level is Level.DRAIN else FREEZE_LIMIT_S
        plan = (row.declared or {}).get("limits_s") or {}
        seconds = float(plan.get(level.label, seconds))
        self._limits[name] = self._core.loop.later(seconds, lambda: self._outlived(row, level))

    def _outlived(self, row: Tracked, level: Level) -> None:
        self._limits.pop(row.target.name, None)
        now = self._core.level(row)
        if now is level and row.alive:
            self.escalate(row, f"{level.label} outlived its limit")

    def escalate(self, row: Tracked, why: str) -> None:
        """Turn a lesser stop of one target into a kill, by an order of the warden's own."""
        core = self._core
        scope = Scope(row.target.name)
        now = core.clock.wall_us()
        by = "warden"
        stop = Stop(core.installation, scope, Level.KILL, by, by, new_nonce(), now, why)
        self.press([stop])

    # --- the proof ----------------------------------------------------------------

    def _follow(self, press: Press, levels: dict[str, Level]) -> None:
        """Ask the observer about every layer that was commanded."""
        observer = self._core.observer
        for row in press.rows:
            level = levels[row.target.name]
            layers = set(press.commanded[row.target.name]) - {COOPERATIVE}
            if row.cell is None or not layers:
                continue
            if observer is None:
                continue
            self._look(press, row, layers, level)
        if not press.looks:
            self._core.loop.later(0, lambda: self._finish(press))
            return
        wait = CONFIRM_S + _OBSERVER_SLACK_S
        press.timer = self._core.loop.later(wait, lambda: self._finish(press))

    def look_again(self, row: Tracked) -> None:
        """Have the observer look at a latched target anew (after the observer was lost)."""
        level = self._core.level(row)
        if level is None or row.cell is None:
            return
        press = Press(
            [live.stop for live in self._core.latch.covering(row.target)], None, wait=False
        )
        press.rows = [row]
        press.commanded[row.target.name] = {
            receipt.layer: receipt.commanded_ns for receipt in row.receipts
        } or dict.fromkeys(self._layers(row, level), 0)
        press.commanded[row.target.name].setdefault(COOPERATIVE, 0)
        self._follow(press, {row.target.name: level})

    def _look(self, press: Press, row: Tracked, layers: set[str], level: Level) -> None:
        observer, cell = self._core.observer, row.cell
        if observer is None or cell is None:
            return
        self._look_id += 1
        press.looks[self._look_id] = (row.target.name, set(layers))
        self._presses[self._look_id] = press
        deadline = int(CONFIRM_S * 1000)
        observer.look(self._look_id, cell.facts(), sorted(layers), level.label, deadline)

    def seen(self, message: dict[str, Any]) -> None:
        """Take in what the observer says about one layer."""
        look = int(message["id"])
        press = self._presses.get(look)
        if press is None:
            return
        name, open_layers = press.looks[look]
        layer = str(message["layer"])
        at = int(message["at_ns"]) - press.accepted_ns
        press.seen[name, layer] = (bool(message["seen"]), at, str(message.get("detail", "")))
        open_layers.discard(layer)
        if not open_layers:
            del press.looks[look]
            del self._presses[look]
        if not press.looks:
            self._finish(press)

    def moved(self, message: dict[str, Any]) -> None:
        """Something latched lives again: stop it again, a freeze as a kill (VER-3, ACT-1)."""
        row = self._core.table.by_cell(str(message["cell"]))
        if row is None:
            return
        level = self._core.level(row)
        if level is None or level < Level.FREEZE:
            return
        row.state = step(row.state, Event.MOVED, level, alive=True)
        row.confirmed = False
        detail = str(message.get("detail", ""))
        if level is Level.FREEZE:
            self.escalate(row, f"moved while frozen: {detail}")
        else:
            self.enforce(row, detail)

    def observer_lost(self) -> None:
        """The observer is gone: nothing that it was asked will be answered."""
        for press in set(self._presses.values()):
            self._finish(press)
        for row in self._core.table:
            row.watched = False

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
        if press.reply is not None and not self._waits(press):
            press.reply(result(self._core, press))
        for row in unproven:
            self._next_layers(press, row)

    def _waits(self, press: Press) -> bool:
        """With `--wait` a drain answers when its kill is proven; here it is put off until then."""
        if not press.wait or press.level is not Level.DRAIN:
            return False
        if not any(row.alive for row in press.rows):
            return False
        self._core.loop.later(0.05, lambda: self._waited(press))
        return True

    def _waited(self, press: Press) -> None:
        pending = any(row.alive or row.state is State.STOPPING for row in press.rows)
        latched = any(self._core.level(row) for row in press.rows)
        if pending and latched:
            self._core.loop.later(0.05, lambda: self._waited(press))
        elif press.reply is not None:
            press.reply(result(self._core, press))

    def _settle(self, press: Press, row: Tracked) -> bool:
        """Write down what was seen of one target; return whether all that counts was."""
        core = self._core
        level = core.level(row)
        if level is None:
            return True
        receipts = press.receipts(row, level, self._layers(row, level))
        counted = [receipt for receipt in receipts if receipt.counted]
        row.receipts = receipts
        row.confirmed = bool(counted) and all(receipt.confirmed for receipt in counted)
        prior = row.state
        if row.confirmed:
            row.state = step(prior, Event.STANDSTILL, level, alive=row.alive)
        if level >= Level.FREEZE and row.cell is not None and core.observer is not None:
            core.observer.watch(row.cell.facts(), level.label)
            row.watched = True
        for receipt in receipts:
            core.recording.note(
                "receipt",
                {"detail": receipt.detail or None},
                target=row.target.name,
                order=row.order,
                level=level.label,
                layer=receipt.layer,
                commanded_ns=receipt.commanded_ns,
                effect_ns=receipt.effect_ns,
                confirmed=receipt.confirmed,
                prior=prior.value,
                state=row.state.value,
            )
        return row.confirmed or level < Level.FREEZE

    def _next_layers(self, press: Press, row: Tracked) -> None:
        """Not confirmed in time: the remaining layers up to `kill`, and a page to a person."""
        core = self._core
        level = core.level(row)
        if level is None or row.cell is None:
            return
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
            return
        more = remaining(press.commanded[row.target.name], self._available(row))
        if more:
            again = Press(press.stops, None, wait=False)
            again.rows = [row]
            again.commanded[row.target.name] = dict(press.commanded[row.target.name])
            self._trip(again, row, level, more)
            self._follow(again, {row.target.name: level})

    # --- what is said of it -------------------------------------------------------

    def _record(self, press: Press, levels: dict[str, Level]) -> None:
        core = self._core
        for stop in press.stops:
            core.recording.note(
                "order",
                {"by": stop.by, "reason": stop.reason or None},
                order="stop",
                digest=stop.digest,
                scope=stop.scope.text,
                level=stop.level.label,
                channel=stop.channel,
                given_us=stop.time_us,
                accepted_mono_us=press.accepted_ns // 1000,
                prior=press.prior,
                state={row.target.name: row.state.value for row in press.rows},
            )
        for row in press.rows:
            row.order = press.stops[0].digest
            if row.listener is not None and levels[row.target.name] >= Level.FREEZE:
                row.listener.stopped(row.order, levels[row.target.name].label)
