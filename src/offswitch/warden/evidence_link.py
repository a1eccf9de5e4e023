"""The warden's side of the gatherer: it tells, it hears, and it never waits (ACT-11).

What cannot be sent because the gatherer is stuck or gone is dropped: then a stop has no
evidence beside what the ledger holds anyway, and the ledger says so. One that owes an answer
for too long is ended, and another one started.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from offswitch.actuators.contract import Actuator
from offswitch.model.level import Level
from offswitch.warden.children import launch
from offswitch.warden.core import Core
from offswitch.warden.helper_link import HelperLink
from offswitch.warden.plan import snapshot_of
from offswitch.warden.respawn import Respawn
from offswitch.warden.table import Tracked

__all__ = ["Evidence", "cut_first"]

_OWES_S = 10.0


class Evidence:
    """Has evidence kept of what is stopped, in one warden."""

    def __init__(self, core: Core) -> None:
        """Start nothing yet."""
        self._core = core
        self._again = Respawn(core.loop, self._start)
        self._link: HelperLink | None = None
        self._owed: dict[tuple[str, str], tuple[str, Level]] = {}
        """Order and cell → target and level, until the gatherer has answered."""
        self._ending = False

    def begin(self) -> None:
        """Start the gatherer; when it ends it is started again."""
        self._again.begin()

    @property
    def pid(self) -> int | None:
        """The gatherer's, where there is one."""
        return self._link.pid if self._link is not None else None

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            fd = theirs.fileno()
            args = ["--link", str(fd), "--folder", self._core.place.evidence]
            try:
                pid = launch("offswitch.warden.evidence", args, [fd], self._core.children.log)
            except BaseException:
                ours.close()
                raise
        self._link = link = HelperLink(ours, pid, self._core.loop.later)
        self._core.children.expect(pid, lambda status: self._ended(link, status))
        self._core.loop.watch(link.fileno(), self._heard)
        for row in self._core.table:
            self.know(row)

    def _ended(self, link: HelperLink, status: int) -> None:
        if self._ending or link is not self._link:
            return
        self._core.loop.forget(link.fileno())
        link.close()
        self._link = None
        for key in list(self._owed):
            self._failed(key, "whoever gathers it has ended")
        self._core.recording.lost("evidence", status)
        self._again.lost()

    def end(self) -> None:
        """Let it go."""
        self._ending = True
        if self._link is not None:
            self._link.close()

    # --- what it is told ------------------------------------------------------------

    def know(self, row: Tracked, log: int = -1) -> None:
        """Have a target looked at now and then; `log`: its output, to read, if it can be sent."""
        if row.cell is None or self._link is None:
            return
        message = {"op": "know", "cell": row.cell.facts(), "target": row.target.name}
        if log < 0 or not self._link.say({**message, "log": True}, log):
            self._link.say({**message, "log": False})

    def forget(self, name: str) -> None:
        """Have a cell looked at no more."""
        if self._link is not None:
            self._link.say({"op": "forget", "name": name})

    def gather(self, row: Tracked, level: Level, order: str) -> None:
        """Have evidence kept of a target that is being stopped."""
        if row.cell is None:
            return
        budget_s, memory = snapshot_of(row.declared)
        key = (order, row.cell.name)
        if key in self._owed:
            return
        request = {
            "op": "gather",
            "cell": row.cell.facts(),
            "target": row.target.name,
            "order": order,
            "frozen": level is Level.FREEZE or budget_s > 0,
            "budget_ms": int(budget_s * 1000),
            "memory": memory if budget_s else 0,
        }
        if self._link is None or not self._link.say(request):
            self._note(row.target.name, level, order, {"problem": "nobody gathers it"})
            return
        self._owed[key] = (row.target.name, level)
        self._core.loop.later(_OWES_S + budget_s, lambda: self._late(key))

    def _late(self, key: tuple[str, str]) -> None:
        if key in self._owed and not self._ending:
            self._failed(key, "it was not there in time")
            if self._link is not None:
                os.kill(self._link.pid, signal.SIGKILL)

    def _failed(self, key: tuple[str, str], why: str) -> None:
        target, level = self._owed.pop(key)
        self._note(target, level, key[0], {"problem": why})

    # --- what it says ---------------------------------------------------------------

    def _heard(self, _events: int) -> None:
        if self._link is None:
            return
        for message in self._link.heard(self._core.loop):
            key = (str(message.get("gathered")), str(message.get("cell")))
            known = self._owed.pop(key, None)
            if known is not None:
                self._note(*known, key[0], message)

    def _note(self, target: str, level: Level, order: str, told: dict[str, Any]) -> None:
        """Enter what was kept, and its digests; what the target wrote is sealed."""
        sealed = {key: told.get(key) or None for key in ("processes", "files", "sockets", "tail")}
        self._core.recording.note(
            "evidence",
            sealed,
            target=target,
            order=order,
            level=level.label,
            folder=told.get("folder"),
            kept=told.get("kept"),
            count=told.get("count"),
            seen=told.get("seen"),
            age_ms=told.get("age_ms"),
            copied=told.get("copied") or None,
            problem=told.get("problem") or None,
        )


def cut_first(core: Core) -> list[tuple[str, Actuator]]:
    """Give what a kill trips at once where a snapshot comes before it: the cut, and no kill."""
    return [*core.freeze_steps, ("network", core.sockets)]
