"""Asking the kernel for the sockets of a cgroup, and destroying them (sock_diag(7)).

Every TCP and UDP socket is marked at birth with the cgroup of its maker, and stays marked
when its process is dead: so the list holds orphans too, whose queued bytes the kernel goes
on delivering. The filter by cgroup runs in the kernel (INET_DIAG_BC_CGROUP_COND,
Linux 5.7); each answer is compared again with INET_DIAG_CGROUP_ID. SOCK_DESTROY
(Linux 4.5, CONFIG_INET_DIAG_DESTROY) ends a connection at once and discards its queue.

A `Diag` holds its socket open, so that a stop works when no descriptor is left. The numbers
are those of linux/inet_diag.h and linux/sock_diag.h. It sees the network namespace in which
it was made: the caller's, or the one that it was made `within`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Self

__all__ = ["MANY", "SOME", "Diag", "Sock", "any_of"]

_NETLINK_SOCK_DIAG = 4
_TCPDIAG_GETSOCK = 18
_SOCK_DIAG_BY_FAMILY = 20
_SOCK_DESTROY = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 1, 4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_BYTECODE, _INFO, _CGROUP_ID = 1, 2, 21
_BC_JMP, _BC_CGROUP_COND = 1, 13
_BC_STEP = 16
_MOST_IDS = 1024
_HEAD = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_ID_LENGTH = 48
_MSG_LENGTH = 72
_INFO_LENGTH = 4 + 136
_ALL_STATES = 0xFFFFFFFF
_TIMEOUT_S = 0.5
_CLONE_NEWNET = 0x4000_0000
MANY, SOME = 16_384, 256
"""How many sockets are listed of all cells, and of each of them where all have more."""
KINDS = tuple(
    (family, protocol)
    for family in (socket.AF_INET, socket.AF_INET6)
    for protocol in (socket.IPPROTO_UDP, 136)
)
"""Families and protocols that are asked for beside TCP; 136 is UDP-Lite."""


@dataclass(frozen=True, slots=True)
class Sock:
    """One socket, as far as it takes to name it to the kernel again."""

    family: int
    protocol: int
    state: int
    """TCP_* of linux/tcp_states.h: 1 established, 4 and 5 fin-wait, 7 closed, 10 listening."""
    ident: bytes
    """struct inet_diag_sockid: ports, addresses, interface, cookie."""
    queued: int
    """Bytes written and not yet acknowledged by the peer."""
    moved: int
    """Bytes acknowledged by the peer and received from it, since it was opened; TCP only."""
    cgroup_id: int
    inode: int = 0
    """What a descriptor of it shows in /proc; 0: no descriptor is left."""
    uid: int = 0
    """Whose it is."""

    @classmethod
    def named(cls, family: int, ident: bytes) -> Self:
        """Give a TCP socket that was seen before, by what names it to the kernel."""
        return cls(family, socket.IPPROTO_TCP, 0, ident, 0, 0, 0)

    def where(self) -> str:
        """Name its two ends to people."""
        sport, dport = struct.unpack_from("!HH", self.ident)
        size = 4 if self.family == socket.AF_INET else 16
        here = socket.inet_ntop(self.family, self.ident[4 : 4 + size])
        there = socket.inet_ntop(self.family, self.ident[20 : 20 + size])
        return f"{here}:{sport} -> {there}:{dport}"


def _attribute(kind: int, payload: bytes) -> bytes:
    padding = -len(payload) % 4
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(padding)


def _cgroup_filter(cgroup_ids: Sequence[int]) -> bytes:
    """Give the kernel's little program that accepts a socket of any of these cgroups.

    Each is a comparison and a jump: equal, on to the jump, which goes to the end (accept);
    not equal, over the jump to the next one. After the last, four bytes beyond (reject).
    """
    code = b""
    for place, cgroup_id in enumerate(cgroup_ids, 1):
        behind = (len(cgroup_ids) - place) * _BC_STEP
        code += struct.pack("=BBHQ", _BC_CGROUP_COND, 12, 16 if behind else 20, cgroup_id)
        code += struct.pack("=BBH", _BC_JMP, 4, 4 + behind)
    return code


def _parse(protocol: int, payload: bytes) -> Sock | None:
    if len(payload) < _MSG_LENGTH:
        return None
    family, state = payload[0], payload[1]
    queued, uid, inode = struct.unpack_from("=III", payload, 60)
    cgroup_id, moved, offset = 0, 0, _MSG_LENGTH
    while offset + _ATTR.size <= len(payload):
        length, kind = _ATTR.unpack_from(payload, offset)
        if length < _ATTR.size:
            break
        if kind == _CGROUP_ID:
            (cgroup_id,) = struct.unpack_from("=Q", payload, offset + 4)
        elif kind == _INFO and protocol == socket.IPPROTO_TCP and length >= _INFO_LENGTH:
            # tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info (linux/tcp.h)
            acked, received = struct.unpack_from("=QQ", payload, offset + 4 + 120)
            moved = acked + received
        offset += (length + 3) & ~3
    ident = payload[4 : 4 + _ID_LENGTH]
    return Sock(family, protocol, state, ident, queued, moved, cgroup_id, inode, uid)


def _request(family: int, protocol: int, ident: bytes, extension: int) -> bytes:
    return struct.pack("=BBBBI", family, protocol, extension, 0, _ALL_STATES) + ident


def _netlink() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
    sock.settimeout(_TIMEOUT_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return sock


class Diag:
    """A conversation with the kernel about sockets. Every failure is an OSError: *unknown*."""

    __slots__ = ("_number", "_sock")

    def __init__(self) -> None:
        """Open the socket that will be used."""
        self._number = 0
        self._sock = _netlink()

    @classmethod
    def within(cls, pid: int) -> Self:
        """Converse about the network namespace of process `pid`; OSError if it is gone.

        A socket belongs to the namespace in which it was made, so a thread goes there and ends.
        """
        made: list[Self] = []

        def there() -> None:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None).setns(fd, _CLONE_NEWNET) == 0:
                    made.append(cls())
            finally:
                os.close(fd)

        thread = threading.Thread(target=lambda: _quietly(there))
        thread.start()
        thread.join()
        if not made:
            raise OSError(errno.ESRCH, f"the network of process {pid} cannot be entered")
        return made[0]

    @classmethod
    def of(cls, fd: int) -> Self:
        """Go on with a conversation that somebody else began; the descriptor is ours now."""
        self = cls.__new__(cls)
        self._number = int.from_bytes(os.urandom(3)) << 7  # older answers bear other numbers
        self._sock = socket.socket(fileno=fd)
        self._sock.settimeout(_TIMEOUT_S)
        return self

    def fileno(self) -> int:
        """Give the descriptor of the conversation."""
        return self._sock.fileno()

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def sockets_of(self, *cgroup_ids: int, most: int | None = None) -> list[Sock]:
        """List the sockets that bear one of these numbers: all, or the first `most` of them."""
        found = list(islice(self._sockets_of(cgroup_ids), most))
        if len(found) == most:
            self._renew()  # what was not read of the list is in the way of the next question
        return found

    def by_cgroup(self, cgroup_ids: Sequence[int]) -> dict[int, list[Sock]]:
        """List sockets by the number that they bear; of cells that have many, some.

        A cell may open a hundred thousand in a second, and to list them all takes as long; that
        must not keep anybody from seeing that the others stand still.
        """
        found = self.sockets_of(*cgroup_ids, most=MANY)
        if len(found) == MANY:
            each = (self.sockets_of(cgroup_id, most=SOME) for cgroup_id in cgroup_ids)
            found = [sock for some in each for sock in some]
        by_cgroup: dict[int, list[Sock]] = {}
        for sock in found:
            by_cgroup.setdefault(sock.cgroup_id, []).append(sock)
        return by_cgroup

    def _sockets_of(self, cgroup_ids: Sequence[int]) -> Iterator[Sock]:
        cgroup_ids = [number for number in cgroup_ids if 0 < number < 1 << 64]
        for first in range(0, len(cgroup_ids), _MOST_IDS):
            wanted = cgroup_ids[first : first + _MOST_IDS]
            yield from self._tcp(wanted)
            for family, protocol in KINDS:
                yield from self._dump(family, protocol, wanted)

    def _renew(self) -> None:
        """Begin another conversation; where there is no descriptor for it, hear this one out."""
        try:
            fresh = _netlink()
        except OSError:
            self._drain()
        else:
            self._sock.close()
            self._sock = fresh

    def _drain(self) -> None:
        try:
            while all(kind != _NLMSG_DONE for kind, _, _ in _split(self._sock.recv(1 << 16))):
                pass
        except OSError:
            return  # nothing comes any more

    def _tcp(self, wanted: Sequence[int]) -> Iterator[Sock]:
        """List the TCP sockets of both families in one walk of the kernel's table.

        The table has a bucket for every some ten kilobytes of memory, and walking it is what
        an answer costs. The older request (struct inet_diag_req) asks for both families at
        once; where a kernel has it no more, each is asked for by itself.
        """
        body = struct.pack("=BBBB", socket.AF_INET, 0, 0, 1 << (_INFO - 1)) + bytes(_ID_LENGTH)
        body += struct.pack("=II", _ALL_STATES, 0)
        try:
            yield from self._listed(_TCPDIAG_GETSOCK, socket.IPPROTO_TCP, body, wanted)
        except OSError:
            for family in (socket.AF_INET, socket.AF_INET6):
                yield from self._dump(family, socket.IPPROTO_TCP, wanted)

    def _dump(self, family: int, protocol: int, wanted: Sequence[int]) -> Iterator[Sock]:
        body = _request(family, protocol, bytes(_ID_LENGTH), 1 << (_INFO - 1))
        try:
            yield from self._listed(_SOCK_DIAG_BY_FAMILY, protocol, body, wanted)
        except FileNotFoundError:
            return  # this kernel has no such protocol

    def _listed(
        self, kind: int, protocol: int, body: bytes, wanted: Sequence[int]
    ) -> Iterator[Sock]:
        body += _attribute(_BYTECODE, _cgroup_filter(wanted))
        for payload in self._ask(kind, _NLM_F_DUMP, body):
            each = _parse(protocol, payload)
            if each is not None and each.cgroup_id in wanted:
                yield each

    def tcp(self) -> list[Sock]:
        """List every TCP socket."""
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _request(family, socket.IPPROTO_TCP, bytes(_ID_LENGTH), 0)
            for payload in self._ask(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, body):
                each = _parse(socket.IPPROTO_TCP, payload)
                if each is not None:
                    found.append(each)
        return found

    def between(self, here: tuple[str, int], there: tuple[str, int]) -> Sock | None:
        """Give the TCP socket at `here` that speaks with `there`; None: there is none."""
        family = socket.AF_INET6 if ":" in here[0] else socket.AF_INET
        ends = [socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (here, there)]
        ident = struct.pack("!HH", here[1], there[1]) + b"".join(ends) + bytes(4)
        ident += b"\xff" * 8  # INET_DIAG_NOCOOKIE: whichever it is
        body = _request(family, socket.IPPROTO_TCP, ident, 0)
        try:
            answers = list(self._ask(_SOCK_DIAG_BY_FAMILY, 0, body, one=True))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return next((_parse(socket.IPPROTO_TCP, each) for each in answers), None)

    def present(self, known: Iterable[Sock]) -> list[Sock]:
        """Give those of `known` that are still there: each is asked for by its own cookie."""
        found = []
        for each in known:
            body = _request(each.family, each.protocol, each.ident, 1 << (_INFO - 1))
            try:
                answers = list(self._ask(_SOCK_DIAG_BY_FAMILY, 0, body, one=True))
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.ESTALE}:
                    raise
                continue
            found += [sock for sock in (_parse(each.protocol, a) for a in answers) if sock]
        return found

    def destroy(self, found: Iterable[Sock], end: float = inf) -> int:
        """Destroy these until `end` (CLOCK_MONOTONIC); return how many the kernel took.

        One at least is asked for, however late it is. One that is gone counts as taken.
        """
        taken = 0
        for each in found:
            body = _request(each.family, each.protocol, each.ident, 0)
            try:
                for _payload in self._ask(_SOCK_DESTROY, _NLM_F_ACK, body):
                    pass
                taken += 1
            except OSError as error:
                taken += error.errno == errno.ENOENT
            if time.monotonic() > end:
                break
        return taken

    def _ask(self, kind: int, flags: int, body: bytes, *, one: bool = False) -> Iterator[bytes]:
        """Send one request and give the answers to it, to their end; or the `one` that comes."""
        self._number = number = self._number % 0xFFFFFFFF + 1
        head = _HEAD.pack(_HEAD.size + len(body), kind, _NLM_F_REQUEST | flags, number, 0)
        self._sock.send(head + body)
        while True:
            data = self._sock.recv(1 << 16)
            for answer, asked, payload in _split(data):
                if asked != number:
                    continue  # late, to a question that we have given up
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code:
                        name = errno.errorcode.get(-code, str(code))
                        raise OSError(-code, f"sock_diag: {name}")
                    return
                yield payload
                if one:
                    return


def _quietly(what: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        what()


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give the netlink messages in `data`: type, number, payload."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, kind, _flags, number, _pid = _HEAD.unpack_from(data, offset)
        if length < _HEAD.size:
            return
        yield kind, number, data[offset + _HEAD.size : offset + length]
        offset += (length + 3) & ~3


def any_of(cgroup_id: int) -> bool | None:
    """Whether any socket bears `cgroup_id`; None: unknown."""
    try:
        with Diag() as diag:
            return bool(diag.sockets_of(cgroup_id, most=1))
    except OSError:
        return None
