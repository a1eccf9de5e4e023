"""The local layers prove themselves anew, as long as they are not needed (DRL-4, SR-21).

    every 2 s   in a thread: a canary beside the cells is really denied the network and let go, its
                connection really destroyed; our programs still deny the warm cgroup
                sweeper, observer and keeper are asked whether they turn; who is silent three
                times is replaced, but for the keeper, which holds everything
    all the     some targets: the kernel is asked by the very descriptor of the kill whether it
    time        would take one, with a word that it knows and refuses; what is frozen is still
                denied the network, and what has a gateway the ways round it

Whatever fails makes its layer *degraded* or *unproven*, with the reason, for all targets or for the
one that it concerns; and what holds again raises it again, to what was found when the cell was
made and no further. Noticed within ten seconds; less than a millisecond of the loop's time a second
for a thousand targets.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from offswitch.actuators.canary import Canary
from offswitch.actuators.network import Network
from offswitch.model.level import Level
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.rung import Rung
from offswitch.warden.core import Core
from offswitch.warden.hands.one import worst
from offswitch.warden.plan import GATEWAY, LOCAL
from offswitch.warden.reach import reached
from offswitch.warden.table import Tracked

__all__ = ["Reproof", "would_kill"]

_ROUND_S = 2.0
_PASS_S = 0.25
_ALL_S = 4.5
"""Within which every target is looked at."""
_AT_ONCE = 50
_GO_ON_S = 0.005
_SILENCES = 3
_UNTRIED = "a canary has not been cut for some seconds: whether a cell would be is not known"
_ASK, _REFUSED = b"0", errno.ERANGE
"""`cgroup.kill` takes 1, and says of any other number that it is out of range."""

Standing = tuple[str, str]
Found = Mapping[str, Standing]
"""Layer → what was found against it."""


def would_kill(cell: Cell) -> str:
    """Ask the kernel, by the descriptor of the kill, whether it would take one; empty: it would."""
    fd = cell.fds().get("kill", -1) if cell.path is not None else -1
    if fd < 0:
        return ""  # none of its kind has one
    try:
        os.pwrite(fd, _ASK, 0)
    except OSError as error:
        if error.errno == _REFUSED:
            return ""
        return f"the kernel takes no kill for {cell.path}: {error.strerror}"
    return f"{cell.path} is not what it was: it takes any word for a kill"


class Reproof:
    """Of one warden, in its loop; the canary has a thread now and then."""

    def __init__(self, core: Core) -> None:
        """Prove nothing yet; a canary is made where cells are cgroups, and root makes them."""
        self._core = core
        core.reproof = self
        self._network = next(
            (each for _layer, each in core.kill_steps if isinstance(each, Network)), None
        )
        self._canary: Canary | None = None
        self._why_none = ""
        if core.standing.rung is Rung.ROOT and core.standing.ground is not None:
            try:
                self._canary = Canary(core.standing.ground)
            except OSError as error:
                self._why_none = f"no canary can be made: {error.strerror or error}"
        self._proving = False
        self._untried = 0
        """Rounds since the canary was last cut, or could not be."""
        self._said: dict[str, Found] = {}
        """Who proves → what was found against layers of all targets."""
        self._all: dict[str, Standing] = {}
        """The same, the worst of each layer."""
        self._of: dict[str, Found] = {}
        """Target → what was found against its own."""
        self._base: dict[str, dict[str, Standing]] = {}
        """Target → what its local layers said when its cell was made."""
        self._asked: dict[str, int] = {}
        """Process → how often it has not answered."""
        self._untaken: set[str] = set()
        """Targets whose cells the keeper had not taken at the last look."""
        self._left: list[str] = []
        self._due: list[str] = []

    def begin(self) -> None:
        """Prove from now on."""
        if self._why_none:
            self._found("canary", {"network": ("degraded", self._why_none)})
        self._core.loop.every(_ROUND_S, self._round)
        self._core.loop.every(_PASS_S, self._pass)

    # --- what a target's layers are ---------------------------------------------------

    def over(self, row: Tracked, ready: dict[str, Standing]) -> dict[str, Standing]:
        """Give the readiness of a cell that was just made, or found, and remember what it was."""
        name = row.target.name
        self._of.pop(name, None)
        if row.cell is None:
            self._base.pop(name, None)
            return ready
        self._base[name] = {layer: ready[layer] for layer in LOCAL if layer in ready}
        return ready | self._now(name)

    def _now(self, name: str) -> dict[str, Standing]:
        of, found = self._of.get(name, {}), {}
        for layer, base in self._base.get(name, {}).items():
            against = [one[layer] for one in (of, self._all) if layer in one]
            found[layer] = base if base[0] == "absent" else worst([*against, base])
        return found

    def _tell(self, row: Tracked) -> None:
        """Let a row have it, if it is another one."""
        if row.cell is None:
            return
        now = row.readiness | self._now(row.target.name)
        if row.handed and self._core.hands is not None:
            now = self._core.hands.over(row, now)
        if now != row.readiness:
            row.readiness = now

    # --- what concerns all of them ------------------------------------------------------

    def _found(self, who: str, against: Found) -> None:
        """Take in what one of the proofs came to; nothing against any layer: it held."""
        self._said[who] = against
        found: dict[str, list[Standing]] = {}
        for said in self._said.values():
            for layer, standing in said.items():
                found.setdefault(layer, []).append(standing)
        now = {layer: worst(standings) for layer, standings in found.items()}
        if now != self._all:
            self._all = now
            idle = not self._due
            self._due = self._core.table.names()
            if idle:
                self._tell_some()

    def _tell_some(self) -> None:
        """Some rows now, the others in a moment: a stop comes in between."""
        some, self._due = self._due[:_AT_ONCE], self._due[_AT_ONCE:]
        for name in some:
            row = self._core.table.get(name)
            if row is not None:
                self._tell(row)
        if self._due:
            self._core.loop.later(_GO_ON_S, self._tell_some)

    def _round(self) -> None:
        self._judge("sweeper", ["sweep"], "what left a cell may live on")
        self._judge("observer", sorted(LOCAL), "nobody could see what a stop did")
        self._judge("keeper", ["process"], "nobody holds it should the warden be lost")
        for who, process in self._crew().items():
            if process is not None or who in self._asked:  # one that is gone does not answer
                self._asked[who] = self._asked.get(who, 0) + 1
            if process is not None:
                process.ping()
        canary, network = self._canary, self._network
        if canary is None or network is None:
            return
        self._untried += 1
        if self._untried > _SILENCES:
            self._found("canary", {"network": ("degraded", _UNTRIED)})
        if self._proving:
            return
        self._proving = True
        try:
            self._core.loop.in_thread(lambda: _prove(canary, network), self._proven)
        except (OSError, RuntimeError):  # no pipe or thread is to be had just now
            self._proving = False

    def _crew(self) -> dict[str, Any]:
        core = self._core
        return {"sweeper": core.sweeper, "observer": core.observer, "keeper": core.keeper}

    def heard(self, who: str) -> None:
        """One has said that it turns."""
        self._asked[who] = 0

    def _judge(self, who: str, layers: list[str], harm: str) -> None:
        """Say who has been silent, and have it replaced."""
        silent, process = self._asked.get(who, 0), self._crew()[who]
        if silent < _SILENCES:
            self._found(who, {})
            return
        why = f"the {who} does not answer: {harm}"
        self._found(who, dict.fromkeys(layers, ("degraded", why)))
        if who == "keeper" or process is None:
            return
        self._core.recording.note("note", what="silent", process=who)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        self._asked[who] = 0  # of the next one nothing is known yet, but that it was started

    def _proven(self, against: Found) -> None:
        self._proving, self._untried = False, 0
        self._found("canary", against)

    # --- what concerns one ----------------------------------------------------------------

    def _pass(self) -> None:
        """Look at some of the targets; at all of them within some seconds."""
        if not self._left:
            self._left = self._core.table.names()
        count = int(len(self._core.table) * _PASS_S / _ALL_S) + 1
        some, self._left = self._left[:count], self._left[count:]
        for name in some:
            row = self._core.table.get(name)
            if row is not None and row.cell is not None:
                self._look(row, row.cell)
            else:
                self._base.pop(name, None)
                self._of.pop(name, None)
                self._untaken.discard(name)

    def _look(self, row: Tracked, cell: Cell) -> None:
        name = row.target.name
        if name not in self._base:
            self._base[name] = {k: v for k, v in row.readiness.items() if k in LOCAL}
        against: dict[str, Standing] = {}
        if why := would_kill(cell):
            against["process"] = ("unproven", why)
        elif not row.keeper_has_it and self._core.keeper is not None:
            if name in self._untaken:  # at one look it may just be about to
                against["process"] = ("degraded", "the keeper has not taken it")
            self._untaken.add(name)
        else:
            self._untaken.discard(name)
        gates = self._core.gates
        if row.served and gates is not None and gates.bypass.lost(row):
            gates.born(row)  # denied again, and tried once more
            row.readiness = row.readiness | {GATEWAY: gates.ready(row)}
        level = self._core.level(row)
        if level is not None and level >= Level.FREEZE and self._network is not None:
            self._still_denied(row, cell, level, self._network)
        if against != self._of.get(name, {}):
            self._of[name] = against
            self._tell(row)

    def _still_denied(self, row: Tracked, cell: Cell, level: Level, network: Network) -> None:
        """What is stopped and lives is denied the network, whoever has taken that off it."""
        if (
            cell.path is None
            or network.denied(cell)
            or "network" not in reached(self._core, row, level)
        ):
            return
        network.trip(cell)
        if network.denied(cell):
            self._core.recording.note(
                "note", what="denied again", target=row.target.name, layer="network"
            )


def _prove(canary: Canary, network: Network) -> Found:
    """Cut the canary, in a thread; say what was found against the network layer."""
    try:
        if why := canary.denied(network):
            return {"network": ("unproven", why)}
        if why := canary.destroyed():
            return {"network": ("degraded", why)}
        if network.warm() is False:
            why = "somebody took our programs off the cgroup that they deny; they are put back"
            return {"network": ("degraded", why)}
    except Exception as error:  # noqa: BLE001 - whatever kept it from being cut, nothing is proven
        return {"network": ("degraded", f"a canary cannot be cut: {error}")}
    return {}
