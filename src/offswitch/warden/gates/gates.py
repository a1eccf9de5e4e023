"""Gateways, held by the warden: their words in the page, their turns, and what they have in flight.

    attach ─► a slot a target, for the whole boot ─► words
    stop   ─► words ─► `words, turn N` to every gate that serves one of them ─► all else
           ─► 20 ms ─► what is still in flight is cut (`cutting`), again until none
    lost   ─► its table stays, and what it had in flight is looked for all the same

The words are what stops: a gateway tests them for each request and each chunk, and counts a page
that nobody renews as a kill. What it says of itself confirms nothing: the observer looks at the
sockets, at the tables, and at what the listener answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.control.flows import FlowReader
from offswitch.control.page import RUN, word_of_level
from offswitch.errors import OffswitchError, Usage
from offswitch.model.level import Level
from offswitch.model.state import State
from offswitch.model.target import Target
from offswitch.warden.core import Core
from offswitch.warden.door.connection import Connection
from offswitch.warden.gates.attached import Attached, Said
from offswitch.warden.gates.bypass import Bypass
from offswitch.warden.gates.cutting import CHECK_S, FIRST_S, GO_ON_S, LONGEST_S, NEXT_S, Cutting
from offswitch.warden.gates.flowing import in_flight
from offswitch.warden.gates.notes import Notes
from offswitch.warden.gates.probing import Probing
from offswitch.warden.gates.steps import STEPS, whole_of
from offswitch.warden.plan import GATEWAY
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Gates"]

_LONGEST_PAUSE_S = 1.0
_PRUNE_S = 1.0
_EXPECTED_S = 5.0
"""How long a warden that was started again waits for the gates of the one before."""
_DRAIN_POLL_S = 0.1
_SHOWN = 32
_BEHIND = "the server behind may work on"
_LOST = "its gateway does not hear the warden: its words go stale, and what it has is cut"
_EXPECTED = "its gateway has not come back yet since the warden was started again"
_ABSENT = "no gateway serves it now"
_FRONT = "it flows through a front of others, which is told, and into which nobody here can see"


class Gates:
    """All gates of one warden."""

    def __init__(self, core: Core, stopper: Stopper, changed: Callable[[], None]) -> None:
        """Work on the parts of this warden; `changed` hears of another gate, or one less."""
        self._core = core
        core.gates = self
        self._stopper = stopper
        self._on_change = changed
        self._gates: list[Attached] = []
        self._by_target: dict[str, list[Attached]] = {}
        self._cutting = Cutting()
        self._probing = Probing(core)
        self.notes = Notes(core)
        self._numbers = 0
        self._turn = 0
        self._changed: set[str] = set()
        """Targets whose words have changed since the last turn."""
        self._checking: set[str] = set()
        self._expected_until = 0.0
        """Until when gates of the warden before are waited for (CLOCK_MONOTONIC)."""
        self.bypass = Bypass(core)
        core.loop.every(_PRUNE_S, self._prune)

    # --- who attaches -------------------------------------------------------------

    def attach(self, connection: Connection, message: dict[str, Any]) -> None:
        """Take a gate in; raises what it is to be told."""
        fds = connection.take_fds()
        try:
            said = Said.read(message)
            if connection.context is not None:
                raise Usage("this connection has another use already")
            if len(fds) != (said.worker is not None):
                raise Usage("a worker hands in its flow table, and nobody else anything")
            table = FlowReader(fds.pop()) if fds else None
        finally:
            connection.drop_fds(fds)
        slots = {name: self._slot(name) for name in said.targets}
        self._take(connection, said, table)
        self._core.table.keep()
        fd = self._page()
        try:
            connection.reply(
                {"ok": True, "slots": slots, "turn": self._turn, "page": self._core.page.path}, fd
            )
        finally:
            if fd is not None:
                os.close(fd)
        what = {"gateway": said.gateway, "worker": said.worker, "targets": list(said.targets)[:50]}
        by = f"uid:{connection.peer.uid} pid:{connection.peer.pid}"
        self._core.recording.note("note", {"by": by}, **{"what": "gate attached", **what})

    def _take(self, connection: Connection, said: Said, table: FlowReader | None) -> Attached:
        for each in [one for one in self._gates if one.name == (said.gateway, said.worker)]:
            if each.pid == connection.peer.pid or (each.dead and not self._cutting.lives(each)):
                self._replace(each)
        self._numbers += 1
        gate = Attached(connection, said, table, self._numbers)
        gate.turn = self._turn = max(self._turn + 1, time.monotonic_ns())
        connection.context = gate
        self._gates.append(gate)
        self._index()
        self._show(gate)
        if gate.table is not None:
            self._probing.begin()
            with suppress(OSError, ValueError):
                self._begin_anew(gate.table.cuts())
        for name in said.targets:
            row = self._core.table.get(name)
            if row is not None:
                row.fronted = row.fronted or (said.worker is None and not said.listen)
            self._served(name)
            if row is not None and gate.works:
                self.born(row)
        self._on_change()
        return gate

    def _replace(self, gate: Attached) -> None:
        """The same process attaches anew, or another in the place of one that is dead.

        What that had in flight is still looked for.
        """
        before, gate.connection = gate.connection, None
        if before is not None:
            before.context = None
            before.finish()
        self._forget(gate)

    def left(self, connection: Connection) -> None:
        """A gate has hung up: what it had in flight is still to be found by its table."""
        gate = connection.context
        if not isinstance(gate, Attached) or gate.connection is not connection:
            return
        gate.connection = None
        # Whoever finds it gone may be a press that tells it: what that means is seen after it.
        self._core.loop.later(0, lambda: self._lost(gate))

    def _lost(self, gate: Attached) -> None:
        if gate not in self._gates:
            return  # it has attached anew meanwhile
        if not gate.works or (gate.dead and not self._cutting.lives(gate)):
            self._forget(gate)
        for name in gate.said.targets:
            self._served(name)
        self._core.recording.note(
            "note", what="gate lost", gateway=gate.said.gateway, worker=gate.said.worker
        )
        self._on_change()

    def _forget(self, gate: Attached) -> None:
        self._gates = [each for each in self._gates if each is not gate]
        self._index()
        observer = self._core.observer
        if gate.shown and observer is not None:
            observer.hide_table(gate.number)
        self._cutting.forget(gate.number)
        gate.close()

    def _prune(self) -> None:
        """Forget gates that are gone with all that they had, and see whose cell has gone.

        What the observer could not be given, since it was busy, it is given now.
        """
        self._probing.show()
        for gate in self._gates:
            self._show(gate)
        for name in list(self._by_target):
            row = self._core.table.get(name)
            if row is not None and row.readiness.get(GATEWAY) != self.ready(row):
                self._served(name)
        for gate in [each for each in self._gates if each.connection is None]:
            if gate.dead and not self._cutting.lives(gate):
                self._forget(gate)
                for name in gate.said.targets:
                    self._served(name)
                self._on_change()
        if self._expected_until and time.monotonic() > self._expected_until:
            self._expected_until = 0.0
            for row in self._core.table:
                if row.served:
                    self._served(row.target.name)

    def _index(self) -> None:
        found: dict[str, list[Attached]] = {}
        for gate in self._gates:
            for name in gate.said.targets:
                found.setdefault(name, []).append(gate)
        self._by_target = found

    def _page(self) -> int | None:
        page = self._core.page
        if page.sealed_fd >= 0:
            return os.dup(page.sealed_fd)
        with suppress(OSError):
            return os.open(page.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return None

    # --- targets ------------------------------------------------------------------

    def _slot(self, name: str) -> int:
        """Give a target its word; the same one for the whole boot."""
        core = self._core
        row = core.table.get(name)
        if row is None:
            row = core.table.put(Tracked(Target(name, {}, "gateway"), State.IDLE))
        if row.gate_slot is None:
            row.gate_slot = core.page.allot()
            core.page.set(row.gate_slot, word_of_level(row.shown(core.level(row))))
        return row.gate_slot

    def _served(self, name: str) -> None:
        """Say of a target whether a gateway serves it, and how sure the layer is."""
        row = self._core.table.get(name)
        if row is None:
            return
        before = row.served
        row.served = any(each.works for each in self._by_target.get(name, ()))
        row.served = row.served or (before and bool(self._expected_until))
        self._judge(row)
        for step in (self._core.table.get(f"{name}/{each}") for each in STEPS):
            if step is not None and step.served:
                self._judge(step)
        level, alone = self._core.level(row), row.cell is None and row.remains is None
        if alone and level is None and before != row.served:
            row.state = State.RUNNING if row.served else State.IDLE
        if row.served and level is not None and level >= Level.FREEZE:
            self._later(row, CHECK_S)
            self._core.loop.later(CHECK_S, lambda: self._stopper.proving.look_anew(row))

    def _judge(self, row: Tracked) -> None:
        ready = self.ready(row)
        if row.readiness.get(GATEWAY) != ready:
            row.readiness = {**row.readiness, GATEWAY: ready}

    def ready(self, row: Tracked) -> tuple[str, str]:
        """Say whether the layer would work for a target."""
        gates = self._working(row)
        if not gates:
            if row.served and self._expected_until:
                return "degraded", _EXPECTED
            return ("degraded", _FRONT) if row.fronted else ("absent", _ABSENT)
        if all(each.connection is None for each in gates):
            return "degraded", _LOST
        whole = self._core.table.get(whole_of(row, self._by_target)) or row
        return self.bypass.ready(whole, self._upstreams(whole))

    def born(self, row: Tracked) -> None:
        """A target has a new cell: deny it what lies behind its gateways, and have that tried."""
        if row.gate_slot is None or row.cell is None or not row.served:
            return
        upstreams = self._upstreams(row)
        self.bypass.confine(row, upstreams)
        self._try(row, upstreams)

    def _try(self, row: Tracked, upstreams: tuple[str, ...]) -> None:
        listen = tuple(place for each in self._working(row) for place in each.said.listen)
        self.bypass.prove(row, upstreams, listen, lambda: self._served(row.target.name))

    def _upstreams(self, row: Tracked) -> tuple[str, ...]:
        """Name the servers behind all gateways of a target."""
        found = (place for each in self._working(row) for place in each.said.upstreams)
        return tuple(sorted(set(found)))

    def health(self) -> list[dict[str, Any]]:
        """Say which gateways serve, for `doctor`."""
        found: dict[str, dict[str, Any]] = {}
        for each in self._gates:
            if each.works and each.connection is not None:
                said = each.said
                one = found.setdefault(
                    said.gateway,
                    {"gateway": said.gateway, "workers": 0, "listen": [], "targets": []},
                )
                one["workers"] += 1
                for key, values in (("listen", said.listen), ("targets", said.targets)):
                    one[key] = list(dict.fromkeys([*one[key], *values]))[:_SHOWN]
        return list(found.values())

    def in_flight(self, row: Tracked) -> int | None:
        """Count what is served of a target just now; None: of a gate it cannot be told."""
        return in_flight(self._working(row), row)

    # --- words --------------------------------------------------------------------

    def show(self, row: Tracked, word: int) -> None:
        """Set a target's word; whoever serves it is told soon, or by `tell`."""
        core, slot = self._core, row.gate_slot
        if slot is None or core.page.word(slot) == word:
            return
        core.page.set(slot, word)
        if word == RUN:
            self.notes.begin(row.target.name)
            self._rebase(row)
        if not self._changed:
            core.loop.later(0, self.tell)
        self._changed.add(row.target.name)

    def tell(self) -> None:
        """Wake whoever serves a target whose word has changed; nothing here waits."""
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        self._turn = max(self._turn + 1, time.monotonic_ns())
        frame = frames.encode({"event": "words", "turn": self._turn})
        told: set[int] = set()
        for name in changed:
            for each in self._by_target.get(name, ()):
                if each.number not in told:
                    told.add(each.number)
                    each.turn = self._turn
                    if each.connection is not None:
                        each.connection.push(frame)

    # --- a stop -------------------------------------------------------------------

    def command(self, row: Tracked, level: Level) -> None:
        """The words are set and told: see to it that what they forbid ends."""
        if level >= Level.KILL:
            self._sweeping(row)
        elif level is Level.DRAIN and row.cell is None and not whole_of(row, self._by_target):
            self._core.loop.later(_DRAIN_POLL_S, lambda: self._ebb(row))

    def _sweeping(self, row: Tracked) -> None:
        """See whether each worker ends what it has; cut it where one does not."""
        if row.target.name in self._checking:
            return
        self._checking.add(row.target.name)
        began = time.monotonic()

        def look(before: list[tuple[int, int]], *, first: bool) -> None:
            left = Cutting.progress(self._working(row), {row.gate_slot or 0})
            late = time.monotonic() - began > LONGEST_S
            if left and not late and (first or left != before):
                pause_s = CHECK_S - FIRST_S if first else NEXT_S
                self._core.loop.later(pause_s, lambda: look(left, first=False))
            else:
                self._check(row, CHECK_S / 2)

        self._core.loop.later(FIRST_S, lambda: look([], first=True))

    def _working(self, row: Tracked) -> list[Attached]:
        return [each for each in self._by_target.get(row.target.name, ()) if each.works]

    def _later(self, row: Tracked, pause_s: float) -> None:
        if row.target.name not in self._checking:
            self._checking.add(row.target.name)
            self._core.loop.later(pause_s, lambda: self._check(row, pause_s))

    def _check(self, row: Tracked, pause_s: float) -> None:
        """Cut what is in flight for a target all the same, and look again until nothing is."""
        self._checking.discard(row.target.name)
        level = self._core.level(row)
        if row.gate_slot is None or level is None or level < Level.KILL:
            return
        left, more, gone = self._cutting.destroy(self._working(row), {row.gate_slot})
        self.notes.destroyed(row.target.name, gone, refused=self._cutting.refused)
        if more or gone:
            self._later(row, GO_ON_S)
        elif left:
            self._later(row, min(pause_s * 2, _LONGEST_PAUSE_S))

    def _ebb(self, row: Tracked) -> None:
        """A drain without a cell is over when nothing is in flight any more."""
        if self._core.level(row) is not Level.DRAIN or row.gate_slot is None or row.cell:
            return
        gates = self._by_target.get(row.target.name, ())
        if all(each.serves_none_of({row.gate_slot}) for each in gates):
            self._stopper.drained(row)
        else:
            self._core.loop.later(_DRAIN_POLL_S, lambda: self._ebb(row))

    # --- the proof ----------------------------------------------------------------

    def facts(self, row: Tracked) -> dict[str, Any]:
        """Give what the observer needs to look at a target's gateways."""
        gates = self._working(row)
        for each in gates:
            self._show(each)
        listen = dict.fromkeys(place for each in gates for place in each.said.listen)
        return {
            "target": row.target.name,
            "slot": row.gate_slot,
            "tables": [[each.number, each.turn, each.pid] for each in gates],
            "listen": list(listen)[:8],
            "expected": bool(self._expected_until) and not gates,
        }

    def _show(self, gate: Attached) -> None:
        observer = self._core.observer
        if observer is not None and gate.table is not None and not gate.shown:
            gate.shown = observer.show_table(gate.number, gate.table.fileno())

    def prober_stuck(self, number: int) -> None:
        """Whom the observer has ask listeners answers nothing: have another one ask."""
        self._probing.stuck(number)

    def observer_back(self) -> None:
        """Show a new observer what the lost one was shown."""
        self._probing.show()
        for each in self._gates:
            each.shown = False
            self._show(each)

    def told(self, row: Tracked, detail: str) -> str:
        """Say beside what the observer saw how many flows were cut, and of the servers behind."""
        name = row.target.name
        if whole_of(row, self._by_target):
            return self.notes.beside(name, "", detail, "")
        if self._core.level(row) is Level.FREEZE:
            return self.notes.beside(name, _counted(self._paused(row), "paused"), detail, _BEHIND)
        return self.notes.beside(name, _counted(self._cut(row), "cut"), detail)

    def busy(self, row: Tracked) -> bool:
        """Tell whether a server behind says that it works on."""
        return self.notes.busy(row.target.name)

    def _paused(self, row: Tracked) -> int:
        looks = Cutting.progress(self._working(row), {row.gate_slot or 0})
        return sum(max(flows, 0) for flows, _left in looks)

    def _cut(self, row: Tracked) -> int:
        cut = 0
        for each in self._by_target.get(row.target.name, ()):
            with suppress(OSError, OffswitchError, ValueError):
                if each.table is not None and row.gate_slot is not None:
                    cut += each.table.cut(row.gate_slot)
        return max(0, cut - self.notes.base(row.target.name))

    def _begin_anew(self, cuts: dict[int, int]) -> None:
        """What a worker has cut before it attached was for earlier stops."""
        for row in self._core.table if any(cuts.values()) else ():
            if row.gate_slot in cuts and self._core.level(row) is None:
                self._rebase(row)

    def _rebase(self, row: Tracked) -> None:
        self.notes.rebase(row.target.name, self._cut(row) + self.notes.base(row.target.name))

    # --- from one warden to the next ----------------------------------------------

    def expect(self, row: Tracked, *, served: bool) -> None:
        """A warden before us knew gates of this target: they come back within moments."""
        if not served:
            self._judge(row)
            return
        self._expected_until = time.monotonic() + _EXPECTED_S
        row.served = True
        row.readiness = {**row.readiness, GATEWAY: ("degraded", _EXPECTED)}
        alone = row.cell is None and row.remains is None
        if alone and self._core.level(row) is None:
            row.state = State.RUNNING

    @staticmethod
    def passed(connection: Connection) -> dict[str, Any] | None:
        """Give what the next code needs to go on with a gate (SR-23)."""
        gate = connection.context
        if not isinstance(gate, Attached):
            return None
        fd = None if gate.table is None else gate.table.fileno()
        return {"said": gate.said.wire(), "table": fd, "turn": gate.turn}

    def again(self, connection: Connection, passed: dict[str, Any]) -> None:
        """Go on with a gate that was handed over; without root the page is another: attach anew."""
        said, fd = Said.read(passed["said"]), passed["table"]
        if self._core.page.sealed_fd >= 0:
            if fd is not None:
                os.close(fd)
            connection.finish()
            return
        gate = self._take(connection, said, None if fd is None else FlowReader(fd))
        gate.turn = passed["turn"]

    def end(self) -> None:
        """Let go of everything; the words stay, and the lease runs out."""
        for gate in list(self._gates):
            gate.close()
        self._cutting.close()
        self._probing.end()


def _counted(streams: int, done: str) -> str:
    return f"{streams} stream{'' if streams == 1 else 's'} {done}" if streams else ""
