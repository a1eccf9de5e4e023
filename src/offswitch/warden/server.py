"""The control socket: connections, their frames, their descriptors.

Whoever connects is who the kernel says. A frame that is garbled, too long or cut off ends
its connection and nothing of it is obeyed. One user may hold so many connections and no
more, so that nobody can use up the warden's descriptors; an answer that nobody reads is
dropped with its connection. Nothing here ever waits.
"""

from __future__ import annotations

import array
import os
import select
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from offswitch.control import frames
from offswitch.control.peer import Peer, peer_of
from offswitch.errors import Internal, OffswitchError
from offswitch.warden.loop import Loop

__all__ = ["Connection", "Server", "listen"]

_PER_USER = 256
_PER_OWNER = 4096
_OUT_LIMIT = 8 << 20
_CHUNK = 65536
_MAX_HELD_FDS = 8


def listen(path: str, mode: int, gid: int) -> socket.socket:
    """Listen at `path`, replacing what a dead warden left there (the caller holds the lock)."""
    temporary = f"{path}.new"
    for stale in (temporary,):
        try:
            os.unlink(stale)
        except FileNotFoundError:
            pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.bind(temporary)
    os.chown(temporary, -1, gid)
    os.chmod(temporary, mode)
    sock.listen(512)
    os.rename(temporary, path)
    return sock


class Connection:
    """One peer. `context` belongs to whoever serves it (a run's session)."""

    __slots__ = (
        "_decoder",
        "_out",
        "_server",
        "closed",
        "closing",
        "context",
        "fds",
        "peer",
        "sock",
    )

    def __init__(self, server: Server, sock: socket.socket, peer: Peer) -> None:
        """Hold an accepted socket."""
        self._server = server
        self._decoder = frames.Decoder()
        self._out = bytearray()
        self.sock = sock
        self.peer = peer
        self.fds: list[int] = []
        self.context: Any = None
        self.closed = False
        self.closing = False

    def reply(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Send a message, with a descriptor if one is given; never waits."""
        if self.closed:
            return
        data = frames.encode(message)
        if fd is not None and not self._out:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            try:
                sent = self.sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
            except OSError:
                self.close()
                return
            data = data[sent:]
        self._out += data
        self._flush()

    def error(self, error: OffswitchError, code: int | None = None) -> None:
        """Send an error with its exit code."""
        exit_code = error.exit_code if code is None else code
        self.reply({"error": error.as_dict(), "exit": exit_code})

    def finish(self) -> None:
        """Close as soon as everything was sent."""
        self.closing = True
        self._flush()

    def _flush(self) -> None:
        while self._out:
            try:
                sent = self.sock.send(self._out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            del self._out[:sent]
        if len(self._out) > _OUT_LIMIT or (self.closing and not self._out):
            self.close()
            return
        self._server.interest(self, writing=bool(self._out))

    def ready(self, events: int) -> None:
        """Read what came, write what waits."""
        if events & select.EPOLLOUT:
            self._flush()
        if not self.closed and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.read()

    def read(self) -> None:
        """Take in what is there and serve the frames that are complete."""
        try:
            space = socket.CMSG_SPACE(frames.MAX_FDS * 4)
            flags = socket.MSG_CMSG_CLOEXEC
            data, ancillary, _flags, _address = self.sock.recvmsg(_CHUNK, space, flags)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.fds.extend(array.array("i", payload[: len(payload) // 4 * 4]))
        if not data or len(self.fds) > _MAX_HELD_FDS:
            if self._decoder.broken:
                self._server.broken(self, "a message that breaks off")
            self.close()
            return
        try:
            messages = self._decoder.feed(data)
        except OffswitchError as error:
            self._server.broken(self, error.message)
            self.error(error)
            self.close()
            return
        for message in messages:
            self._server.serve(self, message)
            if self.closed:
                return

    def take_fds(self) -> list[int]:
        """Give the descriptors that came so far; they are the caller's from now on."""
        taken, self.fds = self.fds, []
        return taken

    def close(self) -> None:
        """Hang up, once."""
        if self.closed:
            return
        self.closed = True
        for fd in self.take_fds():
            os.close(fd)
        self._server.gone(self)
        self.sock.close()


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
    ) -> None:
        """`handle` serves a message, `hung_up` hears of an end, `broken` of garbage."""
        self._loop = loop
        self._sock = sock
        self._handle = handle
        self._hung_up = hung_up
        self._broken = broken
        self._held: Counter[int] = Counter()
        self._connections: set[Connection] = set()
        loop.watch(sock.fileno(), self._accept)

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._connections)

    def _accept(self, _events: int) -> None:
        for _ in range(64):
            try:
                sock, _address = self._sock.accept()
            except OSError:  # BlockingIOError: none left; EMFILE: the next pass tries again
                return
            sock.setblocking(False)
            peer = peer_of(sock)
            limit = _PER_OWNER if peer.uid in {0, os.geteuid()} else _PER_USER
            if self._held[peer.uid] >= limit:
                sock.close()
                continue
            connection = Connection(self, sock, peer)
            self._held[peer.uid] += 1
            self._connections.add(connection)
            self._loop.watch(sock.fileno(), connection.ready)
            connection.read()  # a request usually came with the connection: do not wait a pass

    def serve(self, connection: Connection, message: dict[str, Any]) -> None:
        """Have one message handled; what it raises becomes its answer."""
        try:
            self._handle(connection, message)
        except OffswitchError as error:
            connection.error(error)
        except Exception as error:
            connection.error(Internal(f"the warden met a defect: {type(error).__name__}: {error}"))
            raise

    def broken(self, connection: Connection, what: str) -> None:
        """Note a peer that sent garbage."""
        self._broken(connection.peer, what)

    def interest(self, connection: Connection, *, writing: bool) -> None:
        """Ask the loop for what this connection waits for."""
        if not connection.closed:
            events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
            self._loop.watch(connection.sock.fileno(), connection.ready, events)

    def gone(self, connection: Connection) -> None:
        """Forget a connection that closes."""
        self._loop.forget(connection.sock.fileno())
        self._connections.discard(connection)
        self._held[connection.peer.uid] -= 1
        if not self._held[connection.peer.uid]:
            del self._held[connection.peer.uid]
        self._hung_up(connection)

    def close(self) -> None:
        """Accept nobody any more, and hang up on all."""
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        for connection in list(self._connections):
            connection.close()
