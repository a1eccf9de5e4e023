"""The connections that a server of this machine has open, and their end by the kernel.

Some servers have no call that ends an answer; what they know is that whoever asked has gone. So
their callers go: SOCK_DESTROY (sock_diag(7)) ends a connection at once, on both sides where both
are here. It refuses nobody: whoever comes again is served again.
"""

from __future__ import annotations

import socket
import struct

from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.http import Line
from offswitch.actuators.sock_diag import Diag, Sock

__all__ = ["NET_ADMIN", "Callers"]

NET_ADMIN = 12
"""The capability that it takes to end connections of others, by its number."""
_LISTENS, _TIME_WAIT = 10, 6


class Callers:
    """Who is connected to one port of this machine."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._diag: Diag | None = None

    def prepare(self) -> None:
        """Open the conversation with the kernel."""
        if self._diag is None:
            try:
                self._diag = Diag()
            except OSError:
                return  # then nothing is here, as on a machine without it

    def here(self, line: Line) -> bool:
        """Whether the server at the other end of our connection is of this network namespace."""
        self.prepare()
        ends = line.ends()
        if self._diag is None or ends is None:
            return False
        ours, theirs = ends
        try:
            return self._diag.between(theirs, ours) is not None
        except OSError:
            return False

    def cut(self, line: Line) -> tuple[str, ...]:
        """End all of them but ours; name those that there were."""
        self.prepare()
        ends = line.ends()
        if self._diag is None or ends is None:
            raise Trouble("its connections cannot be ended from here")
        ours, theirs = ends
        try:
            found = [each for each in self._diag.tcp() if _served(each, theirs[1], ours[1])]
            taken = self._diag.destroy(found)
        except OSError as error:
            raise Trouble(f"its connections cannot be ended: {error.strerror}") from None
        if taken < len(found):
            raise Trouble(f"{len(found) - taken} of {len(found)} connections could not be ended")
        return tuple(each.where() for each in found)

    def close(self) -> None:
        """End the conversation."""
        if self._diag is not None:
            self._diag.close()
            self._diag = None


def _served(each: Sock, port: int, our_port: int) -> bool:
    """Whether it is the server's end of somebody else's connection."""
    if each.protocol != socket.IPPROTO_TCP or each.state in {_LISTENS, _TIME_WAIT}:
        return False
    here, there = struct.unpack_from("!HH", each.ident)
    return bool(here == port and there != our_port)
