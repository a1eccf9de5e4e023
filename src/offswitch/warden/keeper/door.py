"""The keeper's own socket: it takes a stop, and nothing else (SR-11, SR-22).

Who may knock: root, the owner, the group; what runs in a cell is refused. A connection is
one frame of control/frames.py and one answer, so it can neither queue up work nor stay; a
user may hold so many of them and no more. Nothing here ever waits. A new keeper binds
beside the old one's name and renames over it: there is a listener at every instant.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.control.peer import Peer, peer_of
from offswitch.errors import OffswitchError, Unsupported
from offswitch.model.level import Level
from offswitch.model.order import Stop, set_digest
from offswitch.warden.door.pressed import stops_of
from offswitch.warden.door.rights import Rights

__all__ = ["Door", "Press"]

_PER_USER = 32
_PER_OWNER = 256
_BACKLOG = 512
_SO_PASSRIGHTS = 83


class Press:
    """One stop from one peer, until it is answered."""

    __slots__ = ("_answer", "due", "stops")

    def __init__(self, stops: list[Stop], answer: Callable[[dict[str, Any]], None]) -> None:
        """Hold the stops of one call, alike but for their scopes; `answer` ends the call."""
        self.stops = stops
        self.due = 0
        """When the keeper does it itself, on CLOCK_MONOTONIC in nanoseconds."""
        self._answer = answer

    def answer(self, acted: list[str], *, warden: bool, unkept: str = "") -> None:
        """Say that the stop is obeyed: by the warden, or by the keeper, on these targets.

        `unkept` says what was done, but could not be written down for the next warden.
        """
        order = set_digest([stop.digest for stop in self.stops])
        by = "warden" if warden else "keeper"
        self._answer({"accepted": True, "order": order, "by": by, "acted": acted, "unkept": unkept})


class Door:
    """Listens, reads, answers; each lawful stop is given to `pressed`."""

    def __init__(
        self,
        path: str,
        rights: Rights,
        installation: str,
        pressed: Callable[[Press], None],
        watch: Callable[[int, Callable[[], None]], None],
        forget: Callable[[int], None],
    ) -> None:
        """Listen at `path`; `watch` and `forget` are the keeper's loop."""
        self._path = path
        self._rights = rights
        self._installation = installation
        self._pressed = pressed
        self._watch = watch
        self._forget = forget
        self._held: Counter[int] = Counter()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        temporary = f"{path}.{os.getpid()}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(OSError):  # Linux 6.16: closing a stranger's descriptor may take for ever
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        self._sock.bind(temporary)
        os.chown(temporary, -1, rights.gid)
        os.chmod(temporary, 0o660)
        self._sock.listen(_BACKLOG)
        self._inode = os.stat(temporary).st_ino
        os.rename(temporary, path)
        watch(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _address = self._sock.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor left: this one is turned away, or it would wake us for ever
            os.close(self._spare)
            with suppress(OSError):
                self._sock.accept()[0].close()
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            return
        sock.setblocking(False)
        peer = peer_of(sock)
        most = _PER_OWNER if self._rights.owner(peer) else _PER_USER
        if self._held[peer.uid] >= most:
            sock.close()
            return
        self._held[peer.uid] += 1
        decoder = frames.Decoder()
        self._watch(sock.fileno(), lambda: self._read(sock, peer, decoder))
        self._read(sock, peer, decoder)

    def _read(self, sock: socket.socket, peer: Peer, decoder: frames.Decoder) -> None:
        """Take in the one frame; from then on only the answer is due."""
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(sock, peer)
            return
        try:
            messages = decoder.feed(data)
            if messages:
                self._forget(sock.fileno())
                self._serve(sock, peer, messages[0])
        except OffswitchError as error:
            self._answer(sock, peer, {"error": error.as_dict(), "exit": error.exit_code})

    def _serve(self, sock: socket.socket, peer: Peer, message: dict[str, Any]) -> None:
        self._rights.check(peer, "stop", in_cell=self._rights.in_cell(peer, set()))
        if message.get("op") != "stop":
            raise Unsupported("the keeper only stops", "ask the warden")
        stops = stops_of(message, self._installation, self._rights.named(peer, message), 0)
        if stops[0].level < Level.FREEZE:
            raise Unsupported("the keeper freezes and kills, no less", "ask the warden")
        self._pressed(Press(stops, lambda answer: self._answer(sock, peer, answer)))

    def _answer(self, sock: socket.socket, peer: Peer, message: dict[str, Any]) -> None:
        """Send the one answer to whoever still listens, and hang up."""
        with suppress(OSError):
            sock.send(frames.encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        self._hang_up(sock, peer)

    def _hang_up(self, sock: socket.socket, peer: Peer) -> None:
        self._held[peer.uid] -= 1
        self._forget(sock.fileno())
        sock.close()

    def close(self) -> None:
        """Listen no longer; the name goes only if no newer keeper has taken it."""
        self._sock.close()
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
