"""nftables: a second way to cut a target's network, for hosts that prefer it beside BPF.

The table is prepared when the hand is opened, with rules for the depth at which the target's cell
lies; a trip adds the cell's number to a set, by one message of some twenty microseconds. A kill
refuses (a TCP reset to both ends), a freeze only drops, so that what is frozen can go on. What was
queued goes out later if nothing destroys it: that is the sockets' actuator's part.

What it cannot see: sockets in a network that the cell has to itself (a container's), where packets
come by as forwarded ones, which bear no cgroup; and sockets that were made before their owner came
into the cell. BPF on the cgroup sees the first.

Nothing is believed that no canary has shown: each proof and each look cut a canary's cgroup at the
cell's own depth, see that a connection is refused, take it out, and see that one is made.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from typing import Literal

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.network.nftables.canary import DEEPEST, Canary, depth_of
from offswitch.actuators.hands.network.nftables.table import CUT, HELD, NAME, Table
from offswitch.config.section import ActuatorSection

__all__ = ["Nftables"]

_NET_ADMIN = 12
_CANARY_MS = 2000
"""A canary that nobody takes out again leaves by itself."""
_USUAL_DEPTH = 2
"""Of cells that we make: below the installation's folder."""
_FREEZE = "freeze"
_made = count()


class NftablesSettings(ActuatorSection):
    """It needs no keys of its own: the warden says which cell."""

    LAYER = "network"
    KEEPS = frozenset({_NET_ADMIN})
    LOOK_KEEPS = frozenset({_NET_ADMIN})

    kind: Literal["nftables"]


class Nftables(Hand):
    """Cuts a cell off by its cgroup."""

    Settings = NftablesSettings

    _table: Table | None = None
    _canary: Canary | None = None
    _levels: frozenset[int] = frozenset()
    """For which depths this instance has put rules in place."""
    _said = ""
    """What it had to put right since it was proven last."""

    def prepare(self) -> None:
        """Make a canary: only root may go into another cgroup."""
        try:
            self._canary = Canary(f"offswitch-canary-{os.getpid()}-{next(_made)}")
        except OSError as error:
            raise Trouble(f"no canary can be made: {error}", "it needs root and cgroups") from None
        with suppress(Trouble):  # it is opened again, and says so then
            self.open()

    def open(self) -> None:
        """Begin the conversation with the kernel, and put the table in its place."""
        if self._table is not None:
            return
        try:
            self._table = Table(self._levels)
            self._put_right(self._table, self._depth())
        except OSError as error:
            self.close()
            raise Trouble(f"nf_tables: {error}", "see: nft list ruleset") from None

    def close(self) -> None:
        """End the conversation; the table stays."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def leave(self) -> None:
        """Take the table away, unless something is cut or others use it."""
        if self._table is not None and self.context.role is Role.ACT:
            self._table.leave()
        if self._canary is not None:
            self._canary.close()
            self._canary = None

    def _depth(self) -> int:
        cell = self.cell
        return (cell is not None and cell.path is not None and depth_of(cell.path)) or _USUAL_DEPTH

    def _ours(self) -> Table:
        if self._table is None:
            raise Trouble("nf_tables: not open")
        return self._table

    def arm(self) -> Readiness:
        """Have a canary cut at the depth of the cell; say so where the table had to be put right.

        In the role *look*: what is cut is seen as cut, and what is not is not.
        """
        try:
            table, depth = self._ours(), self._depth()
            self._put_right(table, depth)
            wrong = self._elsewhere() or table.missing({depth}) or self._proof(table, depth)
        except OSError as error:
            raise Trouble(f"nf_tables: {error}") from None
        if wrong:
            return Readiness(Ready.UNPROVEN, wrong)
        said, self._said = self._said, ""
        if said:
            return Readiness(Ready.DEGRADED, f"somebody had changed it: {said}; it was put back")
        return Readiness(Ready.READY, f"a canary was cut at depth {depth}, and let go")

    def _put_right(self, table: Table, depth: int) -> None:
        """Whoever acts has the table as it should be, and says that it uses it."""
        if self.context.role is Role.ACT:
            said = table.prepare({depth})
            self._said = self._said or said
            self._levels |= {depth}
            table.join()

    def _elsewhere(self) -> str:
        if self.cell is None:
            return ""
        if self.cell.cgroup_id is None:
            return "it has no cgroup by which a rule could know it"
        return "it has a network to itself, where no rule of ours is" if self.cell.own_net else ""

    def _proof(self, table: Table, depth: int) -> str:
        """Cut a canary and let it go; say what did not happen, empty: all did."""
        canary = self._canary
        number = 0 if canary is None else canary.ids.get(depth, 0)
        if canary is None or not number:
            return f"no canary at depth {depth}; they go down to {DEEPEST}"
        if not canary.connects():
            return "a canary that nobody cut cannot connect on the loopback"
        try:
            table.put(HELD, number, _CANARY_MS)
            held = not canary.sends()
            table.take(number)
            table.put(CUT, number, _CANARY_MS)
            cut = not canary.connects() and not canary.sends()
        finally:
            table.take(number)
        if not (held and cut):
            return f"a canary at depth {depth} was cut, and goes on talking"
        return "" if canary.connects() else "a canary that was let go cannot connect"

    def trip(self, level: str) -> Acted:
        """Add the cell to the set; then see to it that the rules are there that heed it."""
        cell, table = self.cell, self._ours()
        if cell is None:
            return Acted("there is no cell, so nothing to cut off")
        if cell.cgroup_id is None:
            raise Trouble(self._elsewhere())
        into = HELD if level == _FREEZE else CUT
        try:
            table.put(into, cell.cgroup_id)
            self._put_right(table, self._depth())
        except OSError as error:
            raise Trouble(f"nf_tables: {error}") from None
        return Acted(f"cgroup {cell.cgroup_id} is {into}, {self._depth()} deep")

    def look(self) -> Sight:
        """See that the cell is in a set, the rules are whole, and a canary beside it is cut."""
        cell = self.cell
        if cell is None:
            return Sight(stands=True, detail="no cell has been here that could send anything")
        wrong = self._elsewhere()
        if wrong or cell.cgroup_id is None:
            return Sight(stands=None, detail=wrong)
        try:
            table, depth = self._ours(), self._depth()
            into = table.has(cell.cgroup_id)
            wrong = table.missing({depth})
            if not into or wrong:
                return Sight(stands=False, detail=wrong or "its cgroup is in no set")
            if cell.path is not None and _other(cell.path, cell.cgroup_id):
                return Sight(stands=False, detail=f"{cell.path} is another cgroup by now")
            wrong = self._proof(table, depth)
        except OSError as error:
            raise Trouble(f"nf_tables: {error}") from None
        if wrong:
            return Sight(stands=False, detail=wrong)
        return Sight(stands=True, detail=f"its cgroup is {into}; so was a canary, and fell silent")

    def release(self) -> Acted:
        """Take the cell out of the sets: it may go on where it lives."""
        cell = self.cell
        if cell is None or cell.cgroup_id is None:
            return Acted("nothing was cut off")
        try:
            self._ours().take(cell.cgroup_id)
        except OSError as error:
            raise Trouble(f"nf_tables: {error}") from None
        return Acted("its cgroup is let go")

    def route(self) -> Route:
        """It rests on this kernel alone."""
        return Route("netlink", "here", "CAP_NET_ADMIN", f"nf_tables, table inet {NAME}")


def _other(path: str, cgroup_id: int) -> bool:
    """Tell whether another cgroup bears the path; that none does is no harm."""
    try:
        return os.stat(path).st_ino != cgroup_id
    except OSError:
        return False
