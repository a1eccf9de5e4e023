"""Watch's desk: where people ask it something and tell it something (`control/watch`).

Frames as on every control socket. The socket is made as root, before rights are given away; who
is at the other end the kernel says. The loop serves it when orders have left, and nothing here
waits: a caller that does not read, does not write or says half a message is hung up on. How many
there may be, and how much each may say, is bounded, so that nobody keeps another from answering.
An answer that somebody else has first to give (the warden, of a proof) comes `Later`.

Which way it fails: without a desk nothing is answered, and silence stops what it should (DEC-3).
"""

from __future__ import annotations

import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.control.peer import Peer, peer_of
from offswitch.errors import Internal, OffswitchError, Unreachable

__all__ = ["PATH", "Desk", "Later", "Serve", "listen"]

PATH = "watch"
"""The socket's name in the folder of the sockets."""
_MOST = 64
_PER_USER = 8
_PATIENCE_US = 10_000_000
_LONGEST = 1 << 16
_LONGEST_OF_OWNER = 16 << 20
"""A whole configuration, and texts of secrets."""
_CHUNK = 1 << 16
_A_TURN = 16

Message = dict[str, Any]


class Later:
    """An answer that is not there yet."""

    __slots__ = ("_work", "due_us")

    def __init__(self, due_us: int) -> None:
        """Wait for it until `due_us`, monotonic microseconds."""
        self.due_us = due_us
        self._work: Callable[[], Message] | None = None

    def settle(self, work: Callable[[], Message]) -> None:
        """Have the answer be what `work` gives, or raises; the first time counts."""
        self._work = self._work or work

    def given(self, now_us: int) -> Callable[[], Message] | None:
        """Give what makes the answer; None: wait."""
        if self._work is None and now_us >= self.due_us:
            self._work = _nobody
        return self._work


def _nobody() -> Message:
    raise Unreachable("the warden has not answered in time", "try again; see: offswitch doctor")


Serve = Callable[[Peer, Message], Message | Later]


def listen(control: str) -> tuple[socket.socket, int]:
    """Listen in the folder `control`, in the place of whoever did before; OSError if not.

    Gives the socket, and the group that may speak to it: the one that may stop.
    """
    path = f"{control}/{PATH}"
    gid = os.stat(control).st_gid
    with suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(f"{path}.new")
        os.chown(f"{path}.new", -1, gid)
        os.chmod(f"{path}.new", 0o660)
        sock.listen(64)
        os.rename(f"{path}.new", path)
    except OSError:
        sock.close()
        raise
    return sock, gid


class _Caller:
    """One connection."""

    __slots__ = ("asked", "decoder", "due_us", "later", "out", "peer", "sock")

    def __init__(self, sock: socket.socket, peer: Peer, longest: int, due_us: int) -> None:
        self.sock = sock
        self.peer = peer
        self.decoder = frames.Decoder(longest)
        self.out = bytearray()
        self.asked: deque[Message] = deque()
        self.later: Later | None = None
        self.due_us = due_us


class Desk:
    """Takes callers in, hears them, answers."""

    def __init__(
        self,
        sock: socket.socket | None,
        clock: Clock,
        owner: int = 0,
        gid: int = 0,
        station: int | None = None,
    ) -> None:
        """Serve at `sock` (None: nobody) the `owner`, the group `gid` and the `station`'s user."""
        self._sock = sock
        self.clock = clock
        self.owner = owner
        self.gid = gid
        self.station = station
        self._callers: list[_Caller] = []

    def waits(self) -> Iterator[tuple[int, bool]]:
        """Give the descriptors to wait for, and whether also to write."""
        if self._sock is not None and len(self._callers) < _MOST:
            yield self._sock.fileno(), False
        for caller in self._callers:
            if caller.later is None:
                yield caller.sock.fileno(), bool(caller.out)

    def turn(self, serve: Serve) -> None:
        """Take in who comes, and answer by `serve` what has been asked."""
        now_us = self.clock.mono_us()
        self._accept(now_us)
        for caller in list(self._callers):
            try:
                alive = self._hear(caller, serve, now_us) and now_us < caller.due_us
            except (OSError, OffswitchError):
                alive = False
            if not alive:
                self._callers.remove(caller)
                caller.sock.close()

    def _accept(self, now_us: int) -> None:
        held = Counter(caller.peer.uid for caller in self._callers)
        for _ in range(_A_TURN):
            if self._sock is None or len(self._callers) >= _MOST:
                return
            try:
                sock, _address = self._sock.accept()
            except OSError:
                return
            sock.setblocking(False)
            try:
                peer = peer_of(sock)
            except OSError:
                sock.close()
                continue
            ours = peer.uid in {0, self.owner}
            many = ours or peer.uid == self.station
            if held[peer.uid] >= (_MOST // 2 if many else _PER_USER):
                sock.close()
                continue
            held[peer.uid] += 1
            longest = _LONGEST_OF_OWNER if ours else _LONGEST
            self._callers.append(_Caller(sock, peer, longest, now_us + _PATIENCE_US))

    def _hear(self, caller: _Caller, serve: Serve, now_us: int) -> bool:
        """Write what waits, and serve one message; false: hang up."""
        if caller.out:
            try:
                del caller.out[: caller.sock.send(caller.out, socket.MSG_NOSIGNAL)]
            except BlockingIOError:
                return True
            return True  # one thing after the other: the next question when this is answered
        if caller.later is not None or caller.asked:
            _serve(caller, serve, now_us)
            return True
        try:
            data = caller.sock.recv(_CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        caller.asked.extend(caller.decoder.feed(data)[:_A_TURN])
        _serve(caller, serve, now_us)
        return True

    def close(self) -> None:
        """Hang up on everybody; the name stays, since the next watch may have taken it."""
        for caller in self._callers:
            caller.sock.close()
        self._callers.clear()
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _serve(caller: _Caller, serve: Serve, now_us: int) -> None:
    """Answer what was asked, in its order, as far as the answers are there."""
    while caller.later is not None or caller.asked:
        if caller.later is None:
            message = caller.asked.popleft()
            said = _said(partial(serve, caller.peer, message))
            if isinstance(said, Later):
                caller.later = said
                caller.due_us = said.due_us + _PATIENCE_US
        if caller.later is not None:
            work = caller.later.given(now_us)
            if work is None:
                return
            caller.later = None
            said = _said(work)
        caller.due_us = now_us + _PATIENCE_US
        caller.out += _encoded(said)
    with suppress(BlockingIOError):
        del caller.out[: caller.sock.send(caller.out, socket.MSG_NOSIGNAL)]


def _said(work: Callable[[], Message | Later]) -> Message | Later:
    try:
        return work()
    except OffswitchError as error:
        return {"error": error.as_dict()}
    except Exception as error:  # noqa: BLE001 - a request: whoever asks anything breaks nothing
        defect = Internal(f"a defect of ours: {type(error).__name__}: {error}"[:500])
        return {"error": defect.as_dict()}


def _encoded(said: Message | Later) -> bytes:
    try:
        assert isinstance(said, dict)  # noqa: S101 - what comes later has come
        return frames.encode(said, frames.MAX_ANSWER)
    except OffswitchError as error:
        return frames.encode({"error": error.as_dict()})
    except Exception as error:  # noqa: BLE001 - an answer that cannot be written breaks nothing
        defect = Internal(f"a defect of ours: {type(error).__name__}: {error}"[:500])
        return frames.encode({"error": defect.as_dict()})
