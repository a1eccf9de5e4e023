"""A gate: one process of a gateway, attached to the warden.

    attach ─► slots, turn, the page ─► words, turn N ─► … ─► the warden has gone ─► begin ─► …

What the words say stands in the page, and is tested there for each chunk; this connection only
wakes a process in which nothing moves, so that silent streams end, too. A turn is a number that
grows whenever a word of the attachment's targets changes; a worker answers by its flow table
alone (`swept`). The socket does not block: `hear` takes in what is there, and may be called by
an event loop or after a poll. A lost warden is told by `Unreachable`; until `begin` has found the
next one the page's lease decides.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.control import frames
from offswitch.errors import OffswitchError, Timeout, Unreachable, from_kind

__all__ = ["Attachment", "Gate"]

_CHUNK = 65536
_FDS = 4


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a process says of itself."""

    gateway: str
    """The gateway's name; its processes bear the same."""
    targets: Sequence[str]
    """What its routes are about, in the configuration's order."""
    listen: Sequence[str] = ()
    """Where it may be reached, `host:port`; with `https://` before it where it speaks TLS."""
    upstreams: Sequence[str] = ()
    """`host:port` of the servers behind, for the proof that nobody goes round (SR-26)."""
    worker: int | None = None
    """The worker's number; None: the supervisor."""

    def message(self) -> dict[str, Any]:
        """Spell it for the control socket."""
        return {
            "op": "gate",
            "gateway": self.gateway,
            "part": "supervisor" if self.worker is None else "worker",
            "worker": self.worker,
            "targets": list(self.targets),
            "listen": list(self.listen),
            "upstreams": list(self.upstreams),
        }


class Gate:
    """One attachment, and what came of it."""

    def __init__(self, path: str, attachment: Attachment, table: int | None = None) -> None:
        """`path` is the warden's socket, `table` the descriptor of a worker's flow table."""
        self._path = path
        self._attachment = attachment
        self._table = table
        self._sock: socket.socket | None = None
        self._decoder = frames.Decoder(frames.MAX_ANSWER)
        self._fds: list[int] = []
        self.attached = False
        """Whether the warden has answered, and has not gone since."""
        self.slots: dict[str, int] = {}
        """Target → its word's number in the page."""
        self.turn = 0
        self.page = -1
        """The page, to be mapped read-only; another one than before after a `begin`."""
        self.answer: dict[str, Any] = {}
        """All that the warden answered."""

    # --- attaching ----------------------------------------------------------------

    def attach(self, timeout_s: float = 5.0) -> None:
        """Attach, and wait for the answer; raises what the warden says, or that none is there."""
        end = time.monotonic() + timeout_s
        self.begin()
        while not self.attached:
            left = end - time.monotonic()
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            if left <= 0 or not poll.poll(left * 1000):
                self.close()
                raise Timeout("the warden did not answer in time", "offswitch doctor")
            self.hear()

    def begin(self) -> None:
        """Ask to be attached, without waiting: `hear` takes in the answer.

        `Unreachable` where no warden listens, or one that hears nobody just now.
        """
        self.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        rights = array.array("i", [] if self._table is None else [self._table])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        try:
            sock.connect(self._path)
            data = frames.encode(self._attachment.message())
            if sock.sendmsg([data], ancillary) < len(data):
                raise BlockingIOError(None, "it takes in nothing")
        except OSError as error:
            sock.close()
            hint = "start one: offswitch up"
            text = f"no warden answers at {self._path}: {error.strerror}"
            raise Unreachable(text, hint) from None
        self._sock = sock
        self._decoder = frames.Decoder(frames.MAX_ANSWER)

    def fileno(self) -> int:
        """Give the socket to wait for; -1 while there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    # --- hearing ------------------------------------------------------------------

    def hear(self) -> int | None:
        """Take in what has come; give the newest turn if there is one.

        Raises `Unreachable` when the warden has gone, and whatever it says of an attachment that
        it refuses; then nothing is attached, and `begin` may be tried.
        """
        before = self.turn
        try:
            while self._sock is not None:
                flags = socket.MSG_CMSG_CLOEXEC
                data, fds, _flags, _address = socket.recv_fds(self._sock, _CHUNK, _FDS, flags)
                self._fds += fds
                if not data:
                    raise ConnectionResetError(None, "it has ended")
                for message in self._decoder.feed(data):
                    self._take(message)
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            text = f"the warden is gone: {error.strerror}"
            raise Unreachable(text, "offswitch status") from None
        except OffswitchError:
            self.close()
            raise
        return self.turn if self.turn != before else None

    def _take(self, message: dict[str, Any]) -> None:
        error = message.get("error")
        if isinstance(error, dict):
            raise from_kind(*(str(error.get(each, "")) for each in ("kind", "message", "hint")))
        if isinstance(message.get("slots"), dict):
            self.slots = {str(name): int(slot) for name, slot in message["slots"].items()}
            self.answer = message
            if self._fds:
                self._let_go()
                self.page = self._fds.pop(0)
            self.attached = True
        if isinstance(message.get("turn"), int):
            self.turn = message["turn"]

    # --- saying -------------------------------------------------------------------

    def note(self, what: str, **more: Any) -> bool:  # noqa: ANN401 - what a note is about
        """Have something written down; false where it could not be said at once."""
        if self._sock is None or not self.attached:
            return False
        data = frames.encode({"op": "gate-note", "what": what, **more})
        try:
            sent = self._sock.send(data, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        if sent < len(data):
            self.close()  # half a message would spoil what follows: attach anew
        return sent == len(data)

    # --- the end ------------------------------------------------------------------

    def _let_go(self) -> None:
        if self.page >= 0:
            os.close(self.page)
            self.page = -1

    def close(self) -> None:
        """Hang up; slots and page stay as they were, and the page's lease decides."""
        self.attached = False
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def end(self) -> None:
        """Hang up, and let go of the page."""
        self.close()
        self._let_go()
