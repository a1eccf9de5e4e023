"""The recorder's socket: where watch and station hand in their entries.

One request is `{"op": "record", "entries": [{"public": {...}, "sealed": {...}}, …]}`; the
answer, `{"ok": true, "indexes": [n, …]}`, comes after the commit that made them durable,
however long the disk takes. A peer that does not wait for it is soon not read any more, so
what is pending is bounded by the number of peers. Who the peer is the kernel says: root, the
owner, watch's user, and never a process that lives in a cell. What is garbled, or too long, is
answered with an error, and the connection is closed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from offswitch.control import frames
from offswitch.control.peer import peer_of
from offswitch.errors import OffswitchError, Refused, Storage, Usage
from offswitch.ledger.poll import Poll
from offswitch.ledger.seal import SealedEntry, seal

__all__ = ["Intake", "Pending", "admit_outside_cells", "listen"]

_PEERS = 256
_STRANGERS = 16
_OUTSTANDING = 8
_MOST = 1000
_CHUNK = 1 << 16

Admit = Callable[[int, int, int], bool]
"""May this peer (pid, uid, gid) hand in entries? Asked once a connection; False: refused."""


def admit_outside_cells(owners: Collection[int], cells: str) -> Admit:
    """Admit `owners`, unless the peer lives below the cgroup folder named `cells`."""

    def admit(pid: int, uid: int, _gid: int) -> bool:
        if uid not in owners:
            return False
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
                return not any(f"/{cells}/" in line.rstrip("\n") + "/" for line in file)
        except OSError:
            return False  # it has gone, so nobody can tell

    return admit


def listen(path: str, owner: int | None = None) -> socket.socket:
    """Listen at `path` for root and `owner` (None: us); whatever lay there is replaced.

    The folder's group may knock, since the station is in it; who is taken in `admit` says.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        sock.bind(path)
        group = os.stat(os.path.dirname(path)).st_gid
        os.chown(path, -1 if owner is None else owner, group)
        os.chmod(path, 0o660 if owner is not None else 0o600)
        sock.listen(_PEERS)
    except OSError as error:
        sock.close()
        raise Storage(f"{path}: {error.strerror}", "see that OFFSWITCH_RUN is writable") from None
    sock.setblocking(False)
    return sock


@dataclass(slots=True)
class _Connection:
    """One peer."""

    sock: socket.socket
    unwelcome: bool
    """It is told so when it asks; hung up on at once, it would never read why."""
    decoder: frames.Decoder = field(default_factory=frames.Decoder)
    waiting: int = 0
    """How many of its requests are pending."""
    paused: bool = False
    """Whether it is not read any more until they are answered."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for its commit."""

    connection: _Connection
    entries: tuple[SealedEntry, ...]


class Intake:
    """All peers of the recorder, in the recorder's own loop."""

    def __init__(self, poll: Poll, sock: socket.socket, admit: Admit) -> None:
        """Serve the listening `sock` through `poll`."""
        self._poll = poll
        self._listener = sock
        self._admit = admit
        self._peers: dict[int, _Connection] = {}
        self.pending: list[Pending] = []
        """Requests that wait, in the order in which they came."""
        poll.add(sock.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening; peers that wait for nothing see the end of the stream."""
        self._poll.drop(self._listener.fileno())
        self._listener.close()

    def acknowledge(self, pending: Pending, first: int) -> None:
        """Tell a peer that its entries are durable, the first of them at index `first`.

        A peer that does not read its answers is dropped.
        """
        connection = pending.connection
        connection.waiting -= 1
        numbers = ",".join(map(str, range(first, first + len(pending.entries))))
        # Spelt by hand: with 64 who wait it is a tenth of what the recorder does.
        body = b'{"ok":true,"indexes":[%b]}' % numbers.encode()
        try:
            connection.sock.send(len(body).to_bytes(4, "big") + body)
        except OSError:
            self._drop(connection)
            return
        if connection.paused and not connection.waiting:
            connection.paused = False
            self._listen_to(connection)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        peer = peer_of(sock)
        connection = _Connection(sock, not self._admit(peer.pid, peer.uid, peer.gid))
        strangers = sum(1 for each in self._peers.values() if each.unwelcome)
        if len(self._peers) - strangers >= _PEERS or strangers >= _STRANGERS:
            sock.close()
            return
        self._peers[sock.fileno()] = connection
        self._listen_to(connection)

    def _listen_to(self, connection: _Connection) -> None:
        self._poll.add(connection.sock.fileno(), partial(self._readable, connection))

    def _readable(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        if connection.unwelcome:
            hint = "only the owner's own processes may, outside of every cell"
            self._refuse(connection, Refused("this peer may hand in no entries", hint))
            return
        try:
            for message in connection.decoder.feed(data):
                self.pending.append(Pending(connection, _entries(message)))
                connection.waiting += 1
            if connection.decoder.garbled:
                connection.decoder.feed(b"")  # what was whole stands; then it says what is wrong
        except OffswitchError as error:
            self._refuse(connection, error)
            return
        if connection.waiting > _OUTSTANDING:
            connection.paused = True
            self._poll.drop(connection.sock.fileno())

    def _refuse(self, connection: _Connection, error: OffswitchError) -> None:
        answer = {"error": error.as_dict(), "exit": error.exit_code}
        with suppress(OSError):
            connection.sock.send(frames.encode(answer))
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        known = self._peers.pop(connection.sock.fileno(), None)
        if known is not None and not connection.paused:
            self._poll.drop(connection.sock.fileno())
        connection.sock.close()


def _entries(message: dict[str, Any]) -> tuple[SealedEntry, ...]:
    """Read a request; `Usage` names what is wrong and where."""
    given = message.get("entries")
    if message.get("op") != "record" or not isinstance(given, list):
        hint = '{"op": "record", "entries": [{"public": {…}, "sealed": {…}}]}'
        raise Usage("the recorder takes entries and nothing else", hint)
    if not 0 < len(given) <= _MOST:
        raise Usage(f"{len(given)} entries in one request", f"send 1 to {_MOST}")
    made = []
    for number, item in enumerate(given):
        public = item.get("public") if isinstance(item, dict) else None
        sealed = item.get("sealed", {}) if isinstance(item, dict) else None
        if not isinstance(public, dict) or not isinstance(sealed, dict):
            raise Usage(f"entries[{number}]: public and sealed must be objects")
        made.append(seal(public, sealed, "socket"))
    return tuple(made)
