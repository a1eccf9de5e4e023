"""The keeper's own socket: it takes stops, and nothing else (SR-11, SR-22).

Who may knock: root, the owner, the group. What runs in a cell is refused. Frames are those
of the control socket; what is garbled ends its connection. A user may hold so many
connections and no more, and nothing here ever waits. A new keeper binds beside the old
one's name and renames over it, so that there is a listener at every instant.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control import frames
from offswitch.control.peer import Peer, peer_of
from offswitch.errors import OffswitchError, Unsupported, Usage
from offswitch.model.level import Level, parse_level
from offswitch.model.order import Stop, set_digest
from offswitch.model.scope import parse_scope
from offswitch.warden.rights import Rights

__all__ = ["Door", "Press", "read_stops"]

_PER_USER = 32
_BACKLOG = 512
_MAX_SCOPES = 256
_REASON = 2000
_CHANNELS = frozenset({"cli", "board", "rule", "console", "demo"})


def read_stops(message: dict[str, Any], installation: str, by: str) -> list[Stop]:
    """Make of a message the same stops that the warden makes of it; raises what is wrong."""
    if message.get("op") != "stop":
        raise Unsupported("the keeper only stops", "ask the warden")
    level = parse_level(str(message.get("level", "kill")))
    if level < Level.FREEZE:
        raise Unsupported(f"the keeper cannot {level.label}", "ask the warden, or use: kill")
    texts = message.get("scopes")
    if not isinstance(texts, list) or not 0 < len(texts) <= _MAX_SCOPES:
        raise Usage("a stop names between 1 and 256 scopes", "offswitch stop SCOPE")
    given = message.get("time_us")
    channel = str(message.get("channel", "cli"))
    reason = str(message.get("reason") or "")[:_REASON]
    return [
        Stop(
            installation,
            parse_scope(str(text)),
            level,
            by,
            channel if channel in _CHANNELS else "cli",
            str(message.get("nonce") or new_nonce())[:64],
            given if isinstance(given, int) and 0 < given < 1 << 53 else 0,
            reason.encode("utf-8", "replace").decode(),
        )
        for text in dict.fromkeys(texts)
    ]


class Press:
    """One stop from one peer, until it is answered."""

    __slots__ = ("_reply", "due", "level", "nonce", "stops")

    def __init__(self, reply: Callable[[dict[str, Any]], None]) -> None:
        """`reply` sends the answer."""
        self._reply = reply
        self.due = 0
        """When the keeper does it itself, on CLOCK_MONOTONIC in nanoseconds."""
        self.stops: list[Stop] = []
        self.level = Level.KILL
        self.nonce = ""

    def read(self, message: dict[str, Any], installation: str, by: str) -> None:
        """Take in the message; raises what the peer is to be told."""
        self.stops = read_stops(message, installation, by)
        self.level = self.stops[0].level
        self.nonce = self.stops[0].nonce

    def answer(self, acted: list[str], *, warden: bool) -> None:
        """Say that the stop is obeyed: by the warden, or by the keeper, on these targets."""
        digest = set_digest([stop.digest for stop in self.stops])
        done = {"by": "warden" if warden else "keeper", "acted": acted}
        self._reply({"accepted": True, "order": digest, **done})


class Door:
    """Listens, reads, answers. `pressed(press, message, by)` is called for each message."""

    def __init__(
        self,
        path: str,
        gid: int,
        rights: Rights,
        pressed: Callable[[Press, dict[str, Any], str], None],
        watch: Callable[[int, Callable[[], None]], None],
        forget: Callable[[int], None],
    ) -> None:
        """Listen at `path`, where members of the group `gid` may knock."""
        self._path = path
        self._rights = rights
        self._pressed = pressed
        self._watch = watch
        self._forget = forget
        self._held: Counter[int] = Counter()
        temporary = f"{path}.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.bind(temporary)
        os.chown(temporary, -1, gid)
        os.chmod(temporary, 0o660)
        self._sock.listen(_BACKLOG)
        self._inode = os.stat(temporary).st_ino
        os.rename(temporary, path)
        watch(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _address = self._sock.accept()
        except OSError:  # none left, or no descriptor: the next pass tries again
            return
        peer = peer_of(sock)
        sock.setblocking(False)
        if self._held[peer.uid] >= _PER_USER and not self._rights.owner(peer):
            sock.close()
            return
        self._held[peer.uid] += 1
        decoder = frames.Decoder()

        def read() -> None:
            self._read(sock, peer, decoder)

        self._watch(sock.fileno(), read)
        read()

    def _read(self, sock: socket.socket, peer: Peer, decoder: frames.Decoder) -> None:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            messages = decoder.feed(data)
        except OffswitchError as error:
            _send(sock, {"error": error.as_dict(), "exit": error.exit_code})
            data = b""
            messages = []
        if not data:
            self._hang_up(sock, peer)
            return
        for message in messages:
            self._serve(sock, peer, message)

    def _serve(self, sock: socket.socket, peer: Peer, message: dict[str, Any]) -> None:
        try:
            inside = self._rights.in_cell(peer, set())
            self._rights.check(peer, "stop", in_cell=inside)
            press = Press(lambda answer: _send(sock, answer))
            self._pressed(press, message, f"uid:{peer.uid}")
        except OffswitchError as error:
            _send(sock, {"error": error.as_dict(), "exit": error.exit_code})

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


def _send(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send an answer to whoever still listens; it fits into the socket or is lost."""
    with suppress(OSError):
        sock.send(frames.encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
