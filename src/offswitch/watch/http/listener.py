"""A listener that several sensors share: one address, one door each, no thread.

Its one descriptor is an epoll set with the listening socket and every connection, so an eye
waits for all of them as for one. A turn is bounded in time; what is left wakes the eye again.

At most 64 connections: beyond that the oldest stranger is hung up on, or else who has been idle
for longest, so that strangers who open connections and say nothing keep nobody out. A process
that holds the address already is a problem that is told, and tried again every second.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import time
from typing import Any

from offswitch.watch.http.connection import Connection
from offswitch.watch.http.exchange import Door

__all__ = ["Listener", "check_address", "shared_listener"]

_MOST_CONNECTIONS = 64
_ACCEPTED_A_TURN = 64
_TURN_S = 0.05
_BACKLOG = 128
_AGAIN_US = 1_000_000
_LONGEST_PORT = 65535


def check_address(text: str) -> str:
    """Check `ADDRESS:PORT`, the address in numbers; raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    example = 'write it as "127.0.0.1:4318"'
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ValueError(f"{host!r} is no address in numbers; {example}") from None
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) <= _LONGEST_PORT:
        raise ValueError(f"{port!r} is no port; {example}")
    shown = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
    return f"{shown}:{int(port)}"


class Listener:
    """Listens on one address for all who have a door on it."""

    def __init__(self, address: str) -> None:
        """Listen on `address`, as `check_address` gives it, once there is a door."""
        self.address = address
        self.problem = ""
        """Why nobody can be heard; empty: they can."""
        self.turned_away = 0
        """Connections that found no room, since the start."""
        self._doors: list[Door] = []
        self._epoll: select.epoll | None = None
        self._sock: socket.socket | None = None
        self._open: dict[int, Connection] = {}
        self._again_us = 0

    def mount(self, door: Door) -> None:
        """Serve a door."""
        self._doors.append(door)

    def leave(self, door: Door) -> bool:
        """Serve a door no longer; tells whether it was the last, and all is closed."""
        self._doors = [one for one in self._doors if one is not door]
        if not self._doors:
            self.close()
        return not self._doors

    def fileno(self) -> int | None:
        """What becomes readable when somebody speaks."""
        return self._epoll.fileno() if self._epoll is not None else None

    def turn(self, now_us: int) -> int | None:
        """Serve whoever speaks; gives when somebody's time is up (monotonic), None: nobody's."""
        if self._epoll is None and now_us >= self._again_us:
            self._listen(now_us)
        if self._epoll is None:
            return self._again_us
        end = time.monotonic() + _TURN_S
        for fd, _events in self._epoll.poll(0):
            if self._sock is not None and fd == self._sock.fileno():
                self._accept(now_us)
            elif (connection := self._open.get(fd)) is not None:
                connection.turn(self._doors, now_us)
                self._forget_if_over(fd)
            if time.monotonic() > end:
                break
        for fd, connection in list(self._open.items()):
            connection.age(now_us)
            self._forget_if_over(fd)
        return min((one.due_us for one in self._open.values()), default=None)

    def close(self) -> None:
        """Hang up on all and free the address; may be called twice."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()
        if self._sock is not None:
            self._sock.close()
        if self._epoll is not None:
            self._epoll.close()
        self._sock = self._epoll = None

    def _listen(self, now_us: int) -> None:
        host, _, port = self.address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._again_us = now_us + _AGAIN_US
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, int(port)))
            sock.listen(_BACKLOG)
            self._epoll = select.epoll()
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        except OSError as error:
            if sock is not None:
                sock.close()
            self._epoll = None
            self.problem = f"nobody can be heard on {self.address}: {error.strerror}"
            return
        self._sock, self.problem = sock, ""

    def _accept(self, now_us: int) -> None:
        assert self._sock is not None  # noqa: S101 - the caller looked
        assert self._epoll is not None  # noqa: S101
        for _ in range(_ACCEPTED_A_TURN):
            try:
                sock, _peer = self._sock.accept()
            except BlockingIOError:
                return
            except OSError:  # it is gone already, or there are no descriptors
                self._make_room()
                return
            if len(self._open) >= _MOST_CONNECTIONS and not self._make_room():
                self.turned_away += 1
                sock.close()
                continue
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._open[sock.fileno()] = Connection(sock, now_us)
            self._epoll.register(connection.fileno(), select.EPOLLIN)
            connection.turn(self._doors, now_us)  # most have spoken by the time they are let in
            self._forget_if_over(sock.fileno())

    def _make_room(self) -> bool:
        """Hang up on one: a stranger before one who is known, who is idle before who speaks."""
        able = [(fd, one) for fd, one in self._open.items() if not one.known or one.idle]
        if not able:
            return False
        fd, connection = min(able, key=lambda pair: (pair[1].known, pair[1].due_us))
        self.turned_away += 1
        connection.close()
        del self._open[fd]
        return True

    def _forget_if_over(self, fd: int) -> None:
        connection = self._open.get(fd)
        if connection is not None and connection.ended:
            connection.close()
            del self._open[fd]


def shared_listener(shared: dict[str, Any], address: str) -> Listener:
    """Give the listener on `address` that the sensors of an eye share."""
    listeners: dict[str, Listener] = shared.setdefault("listeners", {})
    listener = listeners.get(address)
    if listener is None:
        listener = listeners[address] = Listener(address)
    return listener
