"""What a gateway has not cut in time is cut for it: its sockets are destroyed, one by one (ACT-4).

    the words, the turn ─► 20 ms ─► which flows of a latched target are still in a table?
        ─► SOCK_DESTROY of their sockets, the upstream's and the client's ─► again, until none

To name a socket to the kernel takes some ten microseconds, and there may be thousands: each pass
takes some milliseconds and goes on where the one before stopped, so that no other stop waits.

A worker that is ending them, as its table shows from look to look, is let finish, so that its
clients are told; but not for longer than 100 ms.

Only sockets that a table names, by their cookies, and only those that the kernel says are the
gateway's user's, or nobody's any more (its worker is dead, and the kernel goes on sending what it
had queued). A table that lies can so end the gateway's own connections, and no others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.control.flows import Flow
from offswitch.warden.gates.attached import Attached

__all__ = ["CHECK_S", "FIRST_S", "GO_ON_S", "LONGEST_S", "NEXT_S", "Cutting"]

CHECK_S = 0.02
"""How long a worker has to sweep."""
FIRST_S = 0.005
"""When it is looked at for the first time, to see what comes of it."""
NEXT_S = 0.02
LONGEST_S = 0.1
"""How long one may go on that is seen to sweep."""
GO_ON_S = 0.002
"""When a pass goes on that did not come to the end."""
_A_PASS_S = 0.005


class Cutting:
    """Destroys sockets, through a conversation with the kernel that is open already."""

    __slots__ = ("_diag", "_rounds", "refused")

    def __init__(self) -> None:
        """Open it; without one nothing is destroyed, and the observer sees that."""
        try:
            self._diag: Diag | None = Diag()
        except OSError:
            self._diag = None
        self.refused = False
        """Whether the kernel destroyed none of what the last call found (no root, another kernel):
        then what is queued in those sockets is delivered, nobody knows how much."""
        self._rounds: dict[tuple[int, frozenset[int] | None], tuple[Iterator[Flow], bool]] = {}
        """Gate and slots → what is still to be looked at, and whether any lived up to there."""

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

    def destroy(self, gates: Iterable[Attached], slots: set[int]) -> tuple[bool, bool, int]:
        """Destroy what is in flight for `slots`, for some milliseconds.

        Tells whether any may be left, whether that is since time was up, and how many are gone.
        """
        self.refused = False
        left, more, gone, end = False, False, 0, time.monotonic() + _A_PASS_S
        wanted = frozenset(slots)
        for each in gates:
            if each.serves_none_of(slots):
                self._rounds.pop((each.number, wanted), None)
                continue
            lives, taken = self._pass(each, wanted, end, destroy=True)
            left = left or not each.dead or lives
            more = more or (each.number, wanted) in self._rounds
            gone += taken
        self.refused = self.refused and not gone
        return left, more, gone

    def lives(self, each: Attached) -> bool:
        """Tell whether anything in flight of a gate may be left at all; what is unknown may be."""
        return self._pass(each, None, time.monotonic() + _A_PASS_S, destroy=False)[0]

    def _pass(
        self, each: Attached, slots: frozenset[int] | None, end: float, *, destroy: bool
    ) -> tuple[bool, int]:
        """Go on with a round through a gate's flows; tell whether any may live, and count."""
        if each.table is None:
            return False, 0
        if self._diag is None:
            self.refused = True
            return True, 0
        key, gone = (each.number, slots), 0
        flows, found = self._rounds.pop(key, (each.table.walk(slots), False))
        try:
            for flow in flows:
                alive = self._alive(self._diag, each, flow)
                if alive is None or alive:
                    found = True
                    if not destroy:
                        self._rounds[key] = chain([flow], flows), False
                        break
                    taken = self._diag.destroy(alive or [])
                    self.refused = self.refused or (bool(alive) and not taken)
                    gone += taken
                if time.monotonic() > end:
                    self._rounds[key] = flows, found
                    return True, gone
        except (OSError, ValueError):
            return True, gone  # the table cannot be read just now: the next pass tries again
        return found, gone

    @staticmethod
    def _alive(diag: Diag, each: Attached, flow: Flow) -> list[Sock] | None:
        """List a flow's sockets that are the gateway's, or nobody's; None: it is unknown."""
        try:
            found = diag.present(Sock.named(ends.family, ends.ident) for ends in flow.ends)
        except OSError:
            return None
        return [sock for sock in found if sock.uid == each.uid or not sock.inode]

    def forget(self, number: int) -> None:
        """Its table is let go of."""
        for key in [key for key in self._rounds if key[0] == number]:
            del self._rounds[key]

    def close(self) -> None:
        """End the conversation."""
        if self._diag is not None:
            self._diag.close()
