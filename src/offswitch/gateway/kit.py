"""What the workers of one front need of root: made before rights are given away (SR-4).

sockets   bound, one a worker and address, kept from one generation to the next
tls       certificates and their keys, read into contexts
files     on tmpfs: what is sensed, the books of tool calls
modules   all of ours and what they import: later they may lie below a closed folder
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field

from offswitch import gateway
from offswitch.control.place import Place
from offswitch.errors import BadConfig, OffswitchError, Unsupported
from offswitch.gateway import sense
from offswitch.gateway.plan.front import Front, Listen
from offswitch.gateway.tools.book import CallBook
from offswitch.gateway.tools.shelf import make_books
from offswitch.gateway.wire.tls import client_context, server_context

__all__ = ["Kit", "Sockets", "import_ours", "prepare"]

_FREE_S, _AGAIN_S = 2.0, 0.05
_TAKEN_LATER = ("asyncio.unix_events", "encodings.idna", "uvloop", "httptools", "stringprep")


@dataclass(frozen=True, slots=True)
class Kit:
    """One front, and all that its workers are given."""

    front: Front
    sockets: tuple[tuple[socket.socket, ...], ...]
    """For each worker, one a listened address; bound."""
    places: tuple[str, ...]
    """Where clients reach it; `https://` before it where it speaks TLS."""
    context: ssl.SSLContext | None
    upstream_context: ssl.SSLContext | None
    sensed: sense.Prepared
    books: tuple[CallBook, ...]
    problems: tuple[str, ...] = field(default=())
    """What it has to do without."""

    @property
    def upstreams(self) -> tuple[str, ...]:
        """`host:port` of the servers behind."""
        found = (route.upstream for route in self.front.routes)
        return tuple(dict.fromkeys(f"{each.host}:{each.port}" for each in found))


class Sockets:
    """Listening addresses, bound once and kept: a reload loses nobody who is connecting."""

    def __init__(self) -> None:
        """Bind none yet."""
        self._bound: dict[tuple[str, str, int], list[socket.socket]] = {}

    def of(self, front: Front) -> list[list[socket.socket]]:
        """Give the sockets of a front, for each worker one an address."""
        by_address = [self._at(front, each) for each in front.listen]
        return [[sockets[worker] for sockets in by_address] for worker in range(front.workers)]

    def _at(self, front: Front, listen: Listen) -> list[socket.socket]:
        bound = self._bound.setdefault((front.name, listen.host, listen.port), [])
        if not bound:
            _see_it_free(front.name, listen.host, listen.port)
        while len(bound) < front.workers:
            port = bound[0].getsockname()[1] if bound else listen.port
            bound.append(_bind(front.name, listen.host, port))
        return bound

    def keep_only(self, fronts: tuple[Front, ...]) -> None:
        """Let go of what is not listened on any more."""
        named = {(front.name, each.host, each.port) for front in fronts for each in front.listen}
        for key in [key for key in self._bound if key not in named]:
            for sock in self._bound.pop(key):
                sock.close()
        for front in fronts:
            for each in front.listen:
                bound = self._bound.get((front.name, each.host, each.port), [])
                for sock in bound[front.workers :]:  # or who connects there waits for nobody
                    sock.close()
                del bound[front.workers :]


def _see_it_free(name: str, host: str, port: int) -> None:
    """See that nobody listens there: beside another gateway each would have some of the clients.

    One that has just ended is waited for.
    """
    end = time.monotonic() + _FREE_S
    while True:
        try:
            _bind(name, host, port, shared=False).close()
        except Unsupported:
            if time.monotonic() > end:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def _bind(name: str, host: str, port: int, *, shared: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        hint = "see who listens there, or name another address in [[gateway]] listen"
        why = f"gateway {name} cannot listen on {host} port {port}: {error.strerror}"
        raise Unsupported(why, hint) from None
    sock.setblocking(False)
    return sock


def prepare(place: Place, front: Front, sockets: Sockets) -> Kit:
    """Make all of it for one front; raises what its people must put right."""
    bound = sockets.of(front)
    scheme = "https://" if front.certificate else ""
    names = [each.getsockname() for each in bound[0]]
    places = [f"{scheme}[{h}]:{p}" if ":" in h else f"{scheme}{h}:{p}" for h, p, *_ in names]
    sensed = sense.prepared(place, front.name, front.targets, front.workers)
    problems = [*sensed.problems]
    books: list[CallBook] = []
    try:
        books = make_books(place, front.name, front.workers)
    except OffswitchError as error:
        problems.append(f"calls of tools are not kept: {error.message}")
    return Kit(
        front,
        tuple(tuple(each) for each in bound),
        tuple(places),
        _context(front),
        _upstream_context(front),
        sensed,
        tuple(books),
        tuple(problems),
    )


def _context(front: Front) -> ssl.SSLContext | None:
    """Load certificate and key, if there are any; a key that others can read is refused."""
    if front.private_key:
        with suppress(OSError):  # that it is not there is said in a moment
            if os.stat(front.private_key).st_mode & 0o077:
                hint = f"chmod 600 {front.private_key}"
                raise BadConfig(f"{front.private_key}: others can read it", hint)
    return server_context(front)


def _upstream_context(front: Front) -> ssl.SSLContext | None:
    secure = any(route.upstream.tls for route in front.routes)
    secure = secure or any(route.evidence.url.startswith("https:") for route in front.routes)
    return client_context(front) if secure else None


def import_ours() -> None:
    """Import all of this room, and what it imports on first use."""
    for module in pkgutil.walk_packages(gateway.__path__, f"{gateway.__name__}."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # of an extra that nobody asked for
                importlib.import_module(module.name)
    for name in _TAKEN_LATER:
        with suppress(ImportError):
            importlib.import_module(name)
