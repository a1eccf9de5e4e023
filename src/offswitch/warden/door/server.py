"""The control socket: who may hold how many connections, and who hears of what.

One user may hold so many connections and no more, so that nobody can use up the warden's
descriptors; strangers get fewer than the owner. Should there be none left all the same, a
spare one is given up for an instant to take a caller in and hang up on it: a caller that
cannot be taken in would wake the loop for ever.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from offswitch.control.peer import Peer, peer_of
from offswitch.errors import Internal, OffswitchError
from offswitch.warden.door.closer import Closer
from offswitch.warden.door.connection import Connection
from offswitch.warden.loop import Loop

__all__ = ["Connection", "Server", "listen"]

_PER_USER = 256
_PER_OWNER = 4096
_DRIP_S = 10.0
"""How long a message may take to come in."""
_URGENT = frozenset(
    {
        "alarms",
        "cells",
        "drill",
        "handover",
        "health",
        "ping",
        "signal",
        "status",
        "stop",
        "target",
        "targets",
    }
)
"""What is served up to the last moment before a hand-over: nothing of it takes a while."""
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def listen(path: str, mode: int, gid: int) -> socket.socket:
    """Listen at `path`, replacing what a dead warden left there (the caller holds the lock)."""
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(temporary)
    except OSError:
        if not os.path.lexists(path):
            raise
        os.rename(path, temporary)  # not even room for a name: take the dead warden's
        os.unlink(temporary)
        sock.bind(temporary)
    os.chown(temporary, -1, gid)
    os.chmod(temporary, mode)
    sock.listen(512)
    os.rename(temporary, path)
    return sock


def _shares() -> tuple[int, int]:
    """Give how many connections the owner and any other user may hold: shares of what there is."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(_PER_OWNER, most // 4), min(_PER_USER, max(8, most // 64))


class Server:
    """Accepts peers on one listening socket and hands their messages on."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        handle: Callable[[Connection, dict[str, Any]], None],
        hung_up: Callable[[Connection], None],
        broken: Callable[[Peer, str], None],
        closer: Closer | None = None,
    ) -> None:
        """`handle` serves a message, `hung_up` hears of an end, `broken` of garbage."""
        self.loop = loop
        self.closer = closer or Closer()
        self._sock = sock
        self._handle = handle
        self._hung_up = hung_up
        self._broken = broken
        self._held: Counter[int] = Counter()
        self._per_owner, self._per_user = _shares()
        self._connections: set[Connection] = set()
        self._holding = False
        """Whether what is not urgent waits for the warden's next code."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        loop.watch(sock.fileno(), self._accept)
        loop.every(_DRIP_S / 2, self._end_drips)

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._connections)

    def _accept(self, _events: int) -> None:
        for _ in range(64):
            try:
                sock, _address = self._sock.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._turn_away()
                return
            sock.setblocking(False)
            peer = peer_of(sock)
            owner = peer.uid in {0, os.geteuid()}
            limit = self._per_owner if owner else self._per_user
            if self._held[peer.uid] + self.closer.left(peer.uid) >= limit:
                self.closer.close([sock.detach()], peer.uid)
                continue
            connection = Connection(self, sock, peer)
            self._held[peer.uid] += 1
            self._connections.add(connection)
            connection.read()  # a request usually came with the connection: do not wait a pass

    # --- the hand-over to new code (SR-23) ----------------------------------------

    def fileno(self) -> int:
        """Give the listening socket."""
        return self._sock.fileno()

    def holds(self, message: dict[str, Any]) -> bool:
        """Tell whether a message waits for the next code: all but stops and looks do."""
        return self._holding and message.get("op") not in _URGENT

    def hold(self, *, on: bool) -> None:
        """Hold back what is not urgent, or serve it after all."""
        self._holding = on
        for connection in [] if on else list(self._connections):
            connection.serve_on()

    def connections(self) -> list[Connection]:
        """List those that are open."""
        return list(self._connections)

    def adopt(self, fd: int) -> Connection:
        """Take over a connection that the code before had accepted."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        connection = Connection(self, sock, peer_of(sock))
        self._held[connection.peer.uid] += 1
        self._connections.add(connection)
        return connection

    # --- callers ------------------------------------------------------------------

    def _turn_away(self) -> None:
        """Hang up on a caller for whom there is no descriptor."""
        os.close(self._spare)
        try:
            sock, _address = self._sock.accept()
            sock.close()
        except OSError:
            pass  # the caller has given up, or there is no memory: the next pass tries again
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _end_drips(self) -> None:
        before = time.monotonic() - _DRIP_S
        for connection in [each for each in self._connections if each.dripping(before)]:
            connection.drop()

    def serve(self, connection: Connection, message: dict[str, Any]) -> None:
        """Have one message handled; what it raises becomes its answer."""
        try:
            self._handle(connection, message)
        except OffswitchError as error:
            connection.error(error)
        except Exception as error:  # noqa: BLE001 - the supervised edge: told to both sides
            connection.error(Internal(f"the warden met a defect: {type(error).__name__}: {error}"))
            self.loop.defect(error)

    def broken(self, connection: Connection, what: str) -> None:
        """Note a peer that sent garbage."""
        self._broken(connection.peer, what)

    def gone(self, connection: Connection) -> None:
        """Forget a connection that closes."""
        self.loop.forget(connection.sock.fileno())
        self._connections.discard(connection)
        self._held[connection.peer.uid] -= 1
        if not self._held[connection.peer.uid]:
            del self._held[connection.peer.uid]
        self._hung_up(connection)

    def close(self) -> None:
        """Accept nobody any more, and hang up on all: it is we who go, so nobody hung up on us.

        A target that somebody relays is not hung up for it: the keeper has it now.
        """
        self._hung_up = lambda _connection: None
        self.loop.forget(self._sock.fileno())
        self._sock.close()
        for connection in list(self._connections):
            connection.close()
        os.close(self._spare)
