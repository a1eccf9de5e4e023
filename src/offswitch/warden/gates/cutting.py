"""What a gateway has not cut in time is cut for it: its sockets are destroyed, one by one (ACT-4).

    the words, the turn ─► 20 ms ─► which flows of a latched target are still in a table?
        ─► SOCK_DESTROY of their sockets, the upstream's and the client's ─► again, until none

A worker that is ending them, as its table shows from look to look, is let finish, so that its
clients are told; but not for longer than 100 ms.

Only sockets that a table names, by their cookies, and only those that the kernel says are the
gateway's user's, or nobody's any more (its worker is dead, and the kernel goes on sending what it
had queued). A table that lies can so end the gateway's own connections, and no others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.errors import OffswitchError
from offswitch.warden.gates.attached import Attached

__all__ = ["CHECK_S", "FIRST_S", "LONGEST_S", "NEXT_S", "Cutting"]

CHECK_S = 0.02
"""How long a worker has to sweep."""
FIRST_S = 0.005
"""When it is looked at for the first time, to see what comes of it."""
NEXT_S = 0.02
LONGEST_S = 0.1
"""How long one may go on that is seen to sweep."""
_A_PASS_S = 0.005


class Cutting:
    """Destroys sockets, through a conversation with the kernel that is open already."""

    __slots__ = ("_diag",)

    def __init__(self) -> None:
        """Open it; without one nothing is destroyed, and the observer sees that."""
        try:
            self._diag: Diag | None = Diag()
        except OSError:
            self._diag = None

    @staticmethod
    def progress(gates: Iterable[Attached], slots: set[int]) -> list[tuple[int, int]]:
        """Say what is left for each gate to do; empty: nothing is, and all have swept."""
        found = []
        for each in gates:
            if each.table is None or each.serves_none_of(slots):
                continue
            try:
                found.append(each.table.progress(slots))
            except (OSError, ValueError):
                found.append((-1, -1))
        return found

    def destroy(self, gates: Iterable[Attached], slots: set[int]) -> tuple[bool, int]:
        """Destroy what is in flight for `slots`; tell whether any may be left, and count them."""
        left, gone, end = False, 0, time.monotonic() + _A_PASS_S
        for each in gates:
            if each.serves_none_of(slots):
                continue
            found = self._sockets(each, slots)
            left = left or not each.dead or bool(found)
            if self._diag is not None and found:
                try:
                    gone += self._diag.destroy(found, end)
                except OSError:
                    continue  # the observer sees what is left, and the next pass comes
        return left, gone

    def lives(self, each: Attached) -> bool:
        """Tell whether anything in flight of a gate may be left at all."""
        return bool(self._sockets(each, None))

    def _sockets(self, each: Attached, slots: set[int] | None) -> list[Sock]:
        if each.table is None or self._diag is None:
            return []
        try:
            named = [
                Sock.named(ends.family, ends.ident)
                for flow in each.table.flows(slots)
                for ends in flow.ends
            ]
            found = self._diag.present(named)
        except (OSError, OffswitchError, ValueError):
            return []
        return [sock for sock in found if sock.uid == each.uid or not sock.inode]

    def close(self) -> None:
        """End the conversation."""
        if self._diag is not None:
            self._diag.close()
