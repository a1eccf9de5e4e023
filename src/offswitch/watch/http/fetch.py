"""A GET that never waits: connect, send, receive, each as far as it goes at once.

    begin ─► turn, turn, turn ─► Fetched | a problem          one at a time, on one connection

The connection is kept and used again; one that the server has closed in the meantime is made anew
once. The whole has a deadline, and what comes is bounded: 64 KiB of head, so many bytes of body.
Nothing that is answered is followed: a redirect is a problem that is told. Names are looked up in
a thread, since the C library knows no other way; the certificate of an https server is checked
against the system's authorities or the given one, always.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.watch.http.inflate import CODINGS, TooMuch, Unreadable, inflate
from offswitch.watch.http.url import Url

__all__ = ["Fetch", "Fetched"]

_MOST_HEAD = 64 << 10
_CHUNK = 256 << 10
_CHUNKS_A_TURN = 16
_LOOKED_UP_US = 60_000_000
_OK = 200


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched, or why it was not."""

    body: bytes = b""
    problem: str = ""


class Fetch:
    """Fetches one page, again and again."""

    __slots__ = (
        "_address",
        "_answers",
        "_body",
        "_due_us",
        "_epoll",
        "_fresh",
        "_h11",
        "_headers",
        "_looked_up_us",
        "_lookup",
        "_most",
        "_out",
        "_response",
        "_sock",
        "_state",
        "_tls",
        "_url",
    )

    def __init__(
        self, url: Url, headers: Mapping[str, str], most: int, authority: str | None = None
    ) -> None:
        """Fetch `url`, `most` bytes of it; `authority`: PEM of who signs its certificate."""
        self._url = url
        default = 443 if url.scheme == "https" else 80
        name = f"[{url.host}]" if ":" in url.host else url.host
        host = name if url.port == default else f"{name}:{url.port}"
        self._headers = {"host": host, "accept-encoding": "gzip", **headers}
        self._most = most
        self._tls = _tls(authority) if url.scheme == "https" else None
        self._epoll = select.epoll()
        self._sock: socket.socket | None = None
        self._h11: Any = None
        self._state = "idle"
        self._out = b""
        self._body = bytearray()
        self._response: Any = None
        self._due_us = 0
        self._fresh = True
        self._answers = 0
        self._address: tuple[int, Any] | None = None
        self._looked_up_us = 0
        self._lookup: _Lookup | None = None

    def fileno(self) -> int:
        """What becomes readable when there is something to do."""
        return self._epoll.fileno()

    @property
    def busy(self) -> bool:
        """Whether a page is being fetched."""
        return self._state != "idle"

    def begin(self, now_us: int, due_us: int) -> None:
        """Begin to fetch, to be done at `due_us`."""
        self._due_us = due_us
        self._fresh = self._sock is None
        if self._sock is not None:
            self._state = "sending"
            self._ask()
        elif self._address is not None and now_us - self._looked_up_us < _LOOKED_UP_US:
            self._state = "connecting"
        else:
            self._state = "naming"

    def turn(self, now_us: int) -> Fetched | None:
        """Go on as far as it goes; gives what was fetched when it is done."""
        if self._state == "idle":
            self._look_at_idle()
            return None
        try:
            done = self._go_on(now_us)
        except _Ended as error:
            if not self._fresh and self._answers == 0:
                # The server closed it while nobody looked: once more, on a connection of now.
                self._drop()
                self.begin(now_us, self._due_us)
                return self.turn(now_us)
            done = Fetched(problem=str(error))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            done = None
        except ssl.SSLCertVerificationError as error:
            done = Fetched(problem=f"its certificate is not trusted: {error.verify_message}")
        except OSError as error:
            done = Fetched(problem=f"it does not answer: {error.strerror or error}")
        if done is None and now_us >= self._due_us:
            done = Fetched(problem=f"it did not answer in time ({self._state})")
        if done is not None:
            self._state = "idle"
            if done.problem:
                self._drop()
                self._address = None
        return done

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self._drop()
        self._epoll.close()

    def _look_at_idle(self) -> None:
        """A server that closes, or that speaks without having been asked, is hung up on."""
        if self._sock is None:
            return
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return  # it is there, and waits
        except OSError:
            pass
        self._drop()

    def _go_on(self, now_us: int) -> Fetched | None:
        if self._state == "naming":
            self._name(now_us)
        if self._state == "connecting" and self._address is not None:
            self._connect()
        if self._state == "greeting":
            self._greet()
        if self._state == "sending":
            self._send()
        if self._state == "receiving":
            return self._receive()
        return None

    def _name(self, now_us: int) -> None:
        if self._lookup is None:
            self._lookup = _Lookup(self._url.host, self._url.port)
            self._epoll.register(self._lookup.fileno(), select.EPOLLIN)
        found = self._lookup.found()
        if found is None:
            raise BlockingIOError
        self._lookup.close()
        self._lookup = None
        if isinstance(found, str):
            raise OSError(0, found)
        self._address, self._looked_up_us = found, now_us
        self._state = "connecting"

    def _connect(self) -> None:
        import h11  # noqa: PLC0415 - imported by whoever scrapes, not by every command

        assert self._address is not None  # noqa: S101 - the caller looked
        family, address = self._address
        if self._sock is None:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
        wrong = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if wrong:
            raise OSError(wrong, os.strerror(wrong))
        try:
            self._sock.getpeername()
        except OSError:
            raise BlockingIOError from None  # not there yet
        if self._tls is not None:
            plain = self._sock
            self._epoll.unregister(plain.fileno())
            self._sock = self._tls.wrap_socket(
                plain, server_hostname=self._url.host, do_handshake_on_connect=False
            )
            self._epoll.register(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._state = "greeting"

    def _greet(self) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
            except ssl.SSLWantReadError:
                self._epoll.modify(self._sock.fileno(), select.EPOLLIN)
                raise
        self._state = "sending"
        self._ask()

    def _ask(self) -> None:
        import h11  # noqa: PLC0415

        headers = list(self._headers.items())
        request = h11.Request(method="GET", target=self._url.path, headers=headers)
        self._out = self._h11.send(request) + (self._h11.send(h11.EndOfMessage()) or b"")
        self._body.clear()
        self._response = None
        self._answers = 0

    def _send(self) -> None:
        assert self._sock is not None  # noqa: S101 - there is one when something is sent
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BrokenPipeError, ConnectionResetError):
                raise _Ended("it closed the connection") from None
            self._out = self._out[sent:]
        self._epoll.modify(self._sock.fileno(), select.EPOLLIN)
        self._state = "receiving"

    def _receive(self) -> Fetched | None:
        import h11  # noqa: PLC0415

        assert self._sock is not None  # noqa: S101 - there is one when something is received
        for _ in range(_CHUNKS_A_TURN):
            try:
                data = self._sock.recv(_CHUNK)
            except ConnectionResetError:
                raise _Ended("it closed the connection") from None
            self._answers += len(data)
            try:
                self._h11.receive_data(data)
                while True:
                    event = self._h11.next_event()
                    if event is h11.NEED_DATA or event is h11.PAUSED:
                        break
                    if isinstance(event, h11.Response):
                        self._response = event
                    elif isinstance(event, h11.Data):
                        self._body += event.data
                        if len(self._body) > self._most:
                            return Fetched(problem=f"it shows more than {self._most} bytes")
                    elif isinstance(event, h11.EndOfMessage):
                        return self._finish()
                    elif isinstance(event, h11.ConnectionClosed):
                        raise _Ended("it closed the connection")
            except h11.RemoteProtocolError:
                if not data:
                    raise _Ended("it closed the connection") from None
                return Fetched(problem="what it answers is no HTTP/1.1")
        return None

    def _finish(self) -> Fetched:
        import h11  # noqa: PLC0415

        headers = {name.decode(): value.decode("latin-1") for name, value in self._response.headers}
        status = self._response.status_code
        body = bytes(self._body)
        self._body.clear()
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self._drop()
        if status != _OK:
            followed = " (a redirect is not followed)" if 300 <= status < 400 else ""  # noqa: PLR2004
            return Fetched(problem=f"it answers {status}{followed}")
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in CODINGS:
            return Fetched(problem="it is compressed in a way that was not asked for")
        try:
            return Fetched(inflate(body, coding, self._most))
        except TooMuch:
            return Fetched(problem=f"it shows more than {self._most} bytes")
        except Unreadable:
            return Fetched(problem="it is not compressed as it says")

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None


class _Ended(Exception):
    """The server has closed the connection."""


class _Lookup:
    """Looks a name up in a thread; a pipe says when it is known."""

    __slots__ = ("_found", "_reader", "_writer")

    def __init__(self, host: str, port: int) -> None:
        self._found: tuple[int, Any] | str | None = None
        self._reader, self._writer = socket.socketpair()
        try:
            ipaddress.ip_address(host)
            self._look_up(host, port)
        except ValueError:
            threading.Thread(target=self._look_up, args=(host, port), daemon=True).start()

    def _look_up(self, host: str, port: int) -> None:
        found: tuple[int, Any] | str = "its name is not known"
        with contextlib.suppress(OSError, UnicodeError):
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            found = (family, address)
        self._found = found
        with contextlib.suppress(OSError):
            self._writer.send(b"x")

    def fileno(self) -> int:
        return self._reader.fileno()

    def found(self) -> tuple[int, Any] | str | None:
        return self._found

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _tls(authority: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority)
