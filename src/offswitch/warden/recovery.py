"""What an earlier warden left: declarations, cells, words in the page. Found before anything else.

    declared.json   names, labels and plans, so that a stop by label covers after a reboot, too
    watched.json    what automatic rules are about, so that it is blind until watch reports
    cells.json      on tmpfs: every target's cell of this boot
    targets/        what was ever run here
    cgroup tree     cells that nobody remembers

Which way it fails: a cell without a name may be what any live stop is about, so while one is
live it is stopped; a word in the page that says more than the latch is an order that was
lost between its commands and its record, and is given anew; labels that cannot be read count
as covered by every live stop of a label, so that stop becomes one of everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.page import RUN, SLOTS
from offswitch.errors import Busy, Corrupt, OffswitchError, Usage
from offswitch.model.level import Level
from offswitch.model.named import Named
from offswitch.model.order import Stop
from offswitch.model.scope import EVERYTHING, Scope
from offswitch.model.state import Event, State, step
from offswitch.model.target import Target, check_label, check_name
from offswitch.warden.arming import arm
from offswitch.warden.cells import cell
from offswitch.warden.cells.adopted import find
from offswitch.warden.cells.remains import Remains
from offswitch.warden.core import Core
from offswitch.warden.kept import gates_before, page_before
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Recovery", "declared_command", "declared_target"]

_GARBLED = (OffswitchError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a record that is not of our making may raise, whatever it holds: it is passed over."""


def declared_target(item: Any) -> Target:  # noqa: ANN401
    """Check one declaration and give its target; raises `Usage` for one that is none."""
    if not isinstance(item, dict) or not isinstance(item.get("labels") or {}, dict):
        raise Usage("a declared target is an object, and its labels are one, too")
    name = check_name(str(item.get("name", "")))
    labels = item.get("labels") or {}
    pairs = dict(check_label(str(key), str(value)) for key, value in labels.items())
    return Target(name, pairs, str(item.get("kind") or "process")[:40])


def declared_command(item: dict[str, Any], uid: int) -> dict[str, Any] | None:
    """Give what `start` needs to bring a declared target up; None where no command is declared."""
    command, env = item.get("command"), item.get("env")
    if not isinstance(command, list) or not command:
        return None
    user = item.get("user")
    return {
        "argv": [str(part) for part in command],
        "cwd": str(item.get("cwd") or "/"),
        "env": {str(k): str(v) for k, v in env.items()} if isinstance(env, dict) else {},
        "user": None if user is None else str(user),
        "uid": uid,
        "raw": False,
    }


def _slot(value: object) -> int | None:
    """Give a slot of the page, or None: a word that is not there would be in a stop's way."""
    return value if isinstance(value, int) and 0 <= value < SLOTS else None


class Recovery:
    """Finds again what runs, and says what must be stopped anew."""

    def __init__(self, core: Core, stopper: Stopper, starter: Starter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._orders: list[Stop] = []
        self._buried: set[str] = set()

    def find(self, buried: Iterable[Mapping[str, Any]] = ()) -> None:
        """Fill the table; nothing is commanded yet.

        `buried` are cells that are being removed: nobody's any more, and no strays.
        """
        self._buried = {str(facts["name"]) for facts in buried}
        self._find_declared()
        self._find_adopted()
        self._find_watched()
        self._find_cells()
        self._find_known()
        self._find_strays()
        cells = [row.cell for row in self._core.table if row.cell is not None]
        self._starter.reports.keep([each.name for each in cells])
        self._core.table.keep()

    def enforce(self) -> None:
        """Give the orders that were lost anew, and command whatever is latched (RST-1)."""
        for stop in self._orders:
            self._stopper.press([stop])
        self._orders = []
        for row in self._core.table:
            level = self._core.level(row)
            if level is not None and row.cell is not None and level >= Level.FREEZE:
                if self._stopper.turns.commanded(row, level):
                    self._stopper.proving.look_again(row)  # handed over as it was
                else:
                    self._stopper.enforce(row, "the warden was started again")
            self._stopper.resume(row)

    def thaw(self) -> None:
        """Let go of what a keeper froze that was lost as well: nobody else is left to thaw it.

        The lease is fresh by now, so a keeper that still lives does the same by itself.
        """
        for row in self._core.table:
            if row.cell is not None and self._core.level(row) is None and row.cell.frozen():
                self._stopper.release(row)
                self._core.recording.note("note", what="thawed", target=row.target.name)

    def _order(self, scope: Scope, level: Level, why: str) -> None:
        now = self._core.clock.wall_us()
        by = "warden"
        stop = Stop(self._core.installation, scope, level, by, by, new_nonce(), now, why)
        self._orders.append(stop)
        self._core.recording.note("gap", what="order", why=why, scope=scope.text)

    def _note(self, key: str, error: OffswitchError) -> None:
        self._core.notes[key] = error.message
        self._core.recording.note("gap", what=key, why=error.message)

    # --- one source after the other -----------------------------------------------

    def _find_declared(self) -> None:
        core = self._core
        try:
            pairs = [(declared_target(item), item) for item in core.table.load_declared()]
        except OffswitchError as error:
            self._note("declared", error)
            for level in {live.stop.level for live in core.latch if live.stop.scope.is_label}:
                self._order(EVERYTHING, level, "whom a stop by label covers is unknown")
            return
        for target, item in pairs:
            row = Tracked(target, State.IDLE)
            row.declared = item
            core.table.put(row)

    def _find_adopted(self) -> None:
        """Know what is adopted; where it runs is for the finder to say, and unknown until then."""
        try:
            for item in self._core.table.load_adopted():
                row = self._row(check_name(str(item["target"])))
                row.adopted = Named.of({str(item["kind"]): item["value"]})
                row.sought, row.sharing = False, True
        except _GARBLED as error:
            why = "what is adopted cannot be read, so none of it is found: adopt it again"
            self._note("adopted", Corrupt(f"{why} ({error})"))

    def _find_watched(self) -> None:
        try:
            self._core.watch.meant(self._core.table.load_watched())
        except OffswitchError as error:
            self._note("watched", error)
            self._core.watch.meant([EVERYTHING.text])

    def _find_cells(self) -> None:
        core = self._core
        core.page.go_on(*page_before(core.place))
        try:
            kept, remains, slots = core.table.kept()
        except Corrupt as error:
            self._note("cells", error)
            return
        for facts in kept:
            try:
                self._find_cell(facts)
            except _GARBLED as error:
                self._note("cells", Corrupt(f"a cell's record is garbled: {error}"))
        for name, left in remains.items():
            try:
                row = self._row(check_name(name))
                row.remains = Remains.again(left) if row.body is None else row.remains
            except _GARBLED as error:
                self._note("cells", Corrupt(f"what is left of a cell is garbled: {error}"))
        self._find_gates()
        for name, slot in slots.items():
            known = core.table.get(name)
            if known is not None and known.adopted is not None:
                known.slot = _slot(slot)

    def _find_gates(self) -> None:
        """Know the words that gateways heed, and by whom: they attach anew within moments."""
        core = self._core
        for name, kept in gates_before(core.place).items():
            try:
                slot, served = _slot(kept[0]), kept[1] is True
                fronted = kept[2:] == [True]
                row = core.table.get(check_name(name))
            except _GARBLED as error:
                self._note("cells", Corrupt(f"what is kept of a gateway is garbled: {error}"))
                continue
            if row is None:
                row = core.table.put(Tracked(Target(name, {}, "gateway"), State.IDLE))
            row.gate_slot = slot
            self._heed_word(row, core.level(row), slot)
            row.fronted = fronted
            if slot is not None and core.gates is not None:
                core.gates.expect(row, served=served)

    def _row(self, name: str) -> Tracked:
        """Give the row of a target, and one that ended if it was not known."""
        row = self._core.table.get(name)
        if row is None:
            row = Tracked(Target(name))
            self._core.table.put(row)
        return row

    def _find_cell(self, facts: dict[str, Any]) -> None:
        core = self._core
        target = declared_target({**facts, "name": facts["target"]})
        found = find(core.place, facts["facts"])
        known = core.table.get(target.name)
        row = known if known is not None else Tracked(target)
        row.target, row.cell = target, found
        slot, leader, uid, since = (facts.get(k) for k in ("slot", "leader", "uid", "since_us"))
        row.slot = _slot(slot)
        row.leader = leader if isinstance(leader, int) and 0 < leader < 1 << 31 else None
        row.uid = uid if isinstance(uid, int) else None
        asked_by = facts.get("asked_by")
        row.asked_by = asked_by if isinstance(asked_by, int) else None
        row.since_us = since if isinstance(since, int) else 0
        row.user, row.sharing = str(facts.get("user") or ""), bool(facts.get("sharing"))
        row.log = str(facts["log"]) if facts.get("log") else None
        core.table.put(row)
        level = core.level(row)
        alive = row.alive if level is None else row.cell is not None
        row.state = step(State.UNKNOWN, Event.FOUND, level, alive=alive)
        if row.cell is None:
            row.remains = Remains.again(facts["facts"])
            return
        row.adopted = row.adopted or Named.of(facts["facts"].get("adopted") or {})
        row.readiness = arm(core, row)
        until_us = facts.get("probation_us")
        row.probation_us = until_us if isinstance(until_us, int) else None
        self._starter.probation.take_up(row)
        self._heed_word(row, level, row.slot)
        self._starter.follow(row)

    def _heed_word(self, row: Tracked, level: Level | None, slot: int | None) -> None:
        """Set a found target's word, unless it says more than the latch: then stop it anew."""
        core = self._core
        word = core.page.word(slot) if slot is not None else RUN
        shown = min(word - RUN, Level.POWEROFF)
        if shown > (row.shown(level) or 0):
            why = f"the page says {Level(shown).label}: the order was lost with the warden before"
            self._order(Scope(row.target.name), Level(shown), why)
        else:
            self._stopper.set_word(row, level)

    def _find_known(self) -> None:
        for name in self._core.table.known():
            self._row(name)

    def _find_strays(self) -> None:
        core = self._core
        known = {row.cell.name for row in core.table if row.cell is not None} | self._buried
        for stray in cell.strays(core.place, known, core.standing):
            row = Tracked(Target(f"lost/{stray.name}"), State.RUNNING)
            row.cell, row.sharing = stray, True
            row.readiness = {"process": ("ready", "found again without its name")}
            row.slot = self._a_slot()
            core.table.put(row)
            name = row.target.name
            core.recording.note("gap", what="cell", why="found without a record", target=name)
            if len(core.latch):
                level = max(live.stop.level for live in core.latch)
                why = "a cell without a name, while something is latched"
                self._order(Scope(name), level, why)
            else:
                self._stopper.set_word(row, None)
            self._starter.follow(row)

    def _a_slot(self) -> int | None:
        try:
            return self._core.page.allot()
        except Busy:
            return None
