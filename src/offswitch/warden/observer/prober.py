"""The observer's voice: asks a gateway's own listener whether it would still serve a target.

    observer ─ {"id", "at", "target"} ─► prober ─ GET /.offswitch/probe ─► the listener, as a client
             ◄─ {"id", "status", "why"} ─┘          x-offswitch-target: NAME

The observer itself can make no socket to anybody; this child of it, forked before it gave its
rights away, can, and does nothing else. Whatever comes back is cut down to one number. 503 is
what a latched target's probe is answered; a listener at which nobody is there any more refuses as
well. Each question ends in half a second; what is behind a certificate is asked without looking
at that: it is our own listener, by address.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import complain, shed
from offswitch.errors import OffswitchError

__all__ = ["LATCHED", "NOBODY", "Answer", "Prober", "probe_at"]

LATCHED = 503
NOBODY = 1
"""Instead of a status: nobody listens there."""
_TIMEOUT_S = 0.5
_AT_ONCE = 64
_HEAD = 64
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to: whom it means


class Answer:
    """What became of one question; filled in when it is known."""

    __slots__ = ("status", "why")

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.status: int | None = None
        """Of HTTP; `NOBODY`; 0: no answer; None: it is under way."""
        self.why = ""


class Prober:
    """The observer's end. Never waits."""

    def __init__(self, link: socket.socket, pid: int = 0) -> None:
        """Ask over `link`."""
        link.setblocking(False)
        self._link = link
        self._decoder = frames.Decoder()
        self._open: dict[int, Answer] = {}
        self._count = 0
        self.pid = pid

    @classmethod
    def fork(cls, *others: int) -> Self:
        """Have a child ask, which lets go of the descriptors `others`. For a process of one thread.

        It is to be called while rights and files are still there.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ours.close()
                for fd in others:
                    os.close(fd)
                status = _serve(theirs)
            finally:
                os._exit(status)
        theirs.close()
        return cls(ours, pid)

    def fileno(self) -> int:
        """Readable when `hear` has something to do."""
        return self._link.fileno()

    def ask(self, at: str, target: str) -> Answer:
        """Ask the listener `at` about `target`; the answer fills in by itself."""
        answer = Answer()
        self._count += 1
        data = frames.encode({"id": self._count, "at": at, "target": target})
        try:
            sent = self._link.send(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            answer.status, answer.why = 0, f"nobody can ask: {error.strerror}"
            return answer
        if sent < len(data):
            self._link.shutdown(socket.SHUT_RDWR)  # half a question spoils all that follow
        self._open[self._count] = answer
        return answer

    def hear(self) -> bool:
        """Take in what has come; false when the child has gone."""
        try:
            data = self._link.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        try:
            messages = self._decoder.feed(data) if data else []
        except OffswitchError:
            return False
        for message in messages:
            answer = self._open.pop(int(message["id"]), None)
            if answer is not None:
                answer.why = str(message["why"])
                answer.status = int(message["status"])
        return bool(data)

    def end(self) -> None:
        """Let the child go."""
        self._link.close()


# --- the child --------------------------------------------------------------------


def _serve(link: socket.socket) -> int:
    """Answer on `link` until the observer has gone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with asyncio.Runner() as runner:
        runner.get_loop()
        user = user_of("observer")
        refused = shed(user, dies_with_parent=True)
        if user is not None:
            refused.append(confine_files())
        refused.append(forbid("any"))
        complain("prober", [each for each in refused if each])
        runner.run(_listen(link, context))
    return 0


async def _listen(link: socket.socket, context: ssl.SSLContext) -> None:
    loop, decoder = asyncio.get_running_loop(), frames.Decoder()
    link.setblocking(False)
    room = asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        while data := await loop.sock_recv(link, 1 << 16):
            for message in decoder.feed(data):
                tasks.create_task(_one(link, context, room, message))


async def _one(
    link: socket.socket, context: ssl.SSLContext, room: asyncio.Semaphore, message: dict[str, Any]
) -> None:
    async with room:
        status, why = await probe_at(str(message["at"]), str(message["target"]), context)
    data = frames.encode({"id": message["id"], "status": status, "why": why})
    with suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(link, data)


async def probe_at(at: str, target: str, context: ssl.SSLContext) -> tuple[int, str]:
    """Ask one listener about one target: a status, and why there is none."""
    tls = at.startswith("https://")
    host, _, port = at.removeprefix("https://").removeprefix("http://").rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                _ANY.get(host, host), int(port), ssl=context if tls else None
            )
            try:
                writer.write(
                    b"GET /.offswitch/probe HTTP/1.1\r\nhost: offswitch\r\nconnection: close\r\n"
                    b"x-offswitch-target: %s\r\n\r\n" % target.encode()
                )
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except ConnectionRefusedError:
        return NOBODY, "nobody listens there"
    except TimeoutError:
        return 0, "no answer in time"
    except (OSError, ValueError) as error:
        return 0, f"{type(error).__name__}"[:_HEAD]
    return _status(line)


def _status(line: bytes) -> tuple[int, str]:
    words = line[:_HEAD].split(b" ")
    if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit():
        return int(words[1]), ""
    return 0, "no HTTP"


Ask = Callable[[str, str], Answer]
