"""The flow table: which sockets of a gateway's worker belong to which target, for others to see.

    offset  0  magic                    8 bytes
            8  version                  u64
           16  pid of the worker        u64
           24  beat                     u64   CLOCK_BOOTTIME, ns, of the worker's last timer
           32  swept                    u64   the last turn of words that it has swept after
           40  rows                     u64
           48  open                     u64   rows in use
           56  taken                    u64   flows since it was made
         1024  cuts                     pairs of u64, a slot and one, and the flows of it that a
                                        stop has ended
         4096  rows                     128 bytes each: slot and one (u32; 0: free), state (u32),
                                        since when (u64), the client's end, the upstream's end

An end is a cookie (u64), the family and the interface (u32 each), both ports, and both addresses
as the kernel's list of sockets spells them: whoever may destroy sockets destroys exactly these
(SOCK_DESTROY), should the worker not do it itself. It is an anonymous file that can be neither cut
short nor grown. The worker alone writes it, a row in some hundred nanoseconds; a reader copies it
twice and believes those rows that it found alike, so that a row that is being written is nobody's.
Native byte order: it never leaves the machine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from offswitch.errors import Busy, Corrupt

__all__ = ["MOST_ROWS", "Ends", "Flow", "FlowReader", "FlowTable", "Stage"]

_MAGIC = b"OFFSWFL1"
_VERSION = 1
_HEADER = 4096
_ROW = 128
_CUTS = 1024
_MOST_CUTS = (_HEADER - _CUTS) // 16
MOST_ROWS = 1 << 16
_VERSION_AT, _PID, _BEAT, _SWEPT, _ROWS, _OPEN, _TAKEN = range(1, 8)
_BODY = struct.Struct("=IQ56s56s")
_END = struct.Struct("=QII4s4x32s")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_SO_COOKIE = 57
_NOBODY = bytes(_END.size)
_FAMILIES = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})


class Stage(IntEnum):
    """How far a flow has come."""

    ADMITTED = 1
    STREAMING = 2
    PAUSED = 3
    """By a freeze."""
    ENDING = 4


@dataclass(frozen=True, slots=True)
class Ends:
    """One TCP socket of the worker's, by all that names it to the kernel."""

    packed: bytes
    """As it stands in a row."""

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Name a connected socket; OSError if it is connected no more."""
        here, there = sock.getsockname(), sock.getpeername()
        (cookie,) = struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))
        addresses = b"".join(
            socket.inet_pton(sock.family, each[0].partition("%")[0]).ljust(16, b"\0")
            for each in (here, there)
        )
        interface = here[3] if sock.family == socket.AF_INET6 else 0
        ports = struct.pack("!HH", here[1], there[1])
        return cls(_END.pack(cookie, sock.family, interface, ports, addresses))

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return int(_END.unpack(self.packed)[1])

    @property
    def ident(self) -> bytes:
        """The kernel's struct inet_diag_sockid: ports, addresses, interface, cookie."""
        cookie, _family, interface, ports, addresses = _END.unpack(self.packed)
        return bytes(ports + addresses + struct.pack("=IQ", interface, cookie))


@dataclass(frozen=True, slots=True)
class Flow:
    """One request that is being served."""

    slot: int
    """Of the target that it belongs to."""
    stage: int
    """A `Stage`, if the worker says what it should."""
    since_ns: int
    """CLOCK_BOOTTIME."""
    client: Ends | None
    upstream: Ends | None
    """None: there is none yet, or no more."""

    @property
    def ends(self) -> list[Ends]:
        """Its sockets, the upstream's first; what is no TCP socket's name is none."""
        both = (self.upstream, self.client)
        return [each for each in both if each is not None and each.family in _FAMILIES]


class FlowTable:
    """One worker's table, to write. Rows are numbers; nothing here waits."""

    __slots__ = ("_cuts", "_free", "_map", "_small", "_words")

    def __init__(self, mapped: mmap.mmap, rows: int) -> None:
        """Hold a fresh one; `create` makes it."""
        self._map = mapped
        self._words = memoryview(mapped).cast("Q")
        self._small = memoryview(mapped).cast("I")
        self._free = list(range(rows - 1, -1, -1))
        self._cuts: dict[int, int] = {}
        """Slot → where in `_words` its cuts are counted."""

    @classmethod
    def create(cls, rows: int) -> tuple[Self, int]:
        """Make a table of so many rows; give it and its descriptor, which is the caller's."""
        rows = max(1, min(rows, MOST_ROWS))
        size = _HEADER + rows * _ROW
        fd = os.memfd_create("offswitch-flows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(fd, 0, size)
            mapped = mmap.mmap(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(fd)
            raise
        self = cls(mapped, rows)
        self._words[_VERSION_AT], self._words[_ROWS] = _VERSION, rows
        self.begin()
        mapped[:8] = _MAGIC
        return self, fd

    def begin(self) -> None:
        """This process is the worker from here on."""
        self._words[_PID] = os.getpid()
        self.beat()

    def take(self, slot: int, client: Ends) -> int:
        """Enter a flow of `slot`; give its row. `Busy` where all rows are taken."""
        if not self._free:
            raise Busy("the table of flows is full", "raise limits.connections, or add workers")
        row = self._free.pop()
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        at = _HEADER + row * _ROW
        _BODY.pack_into(self._map, at + 4, Stage.ADMITTED, now, client.packed, _NOBODY)
        self._small[at >> 2] = slot + 1  # last: from now on it is somebody's
        self._words[_OPEN] += 1
        self._words[_TAKEN] += 1
        return row

    def upstream(self, row: int, ends: Ends | None) -> None:
        """Say by which socket it goes on; None: by none any more."""
        at = _HEADER + row * _ROW + 72
        self._map[at : at + _END.size] = _NOBODY if ends is None else ends.packed

    def state(self, row: int, stage: int) -> None:
        """Say how far it has come."""
        self._small[(_HEADER + row * _ROW + 4) >> 2] = stage

    def free(self, row: int) -> None:
        """It is over: its sockets are closed, or belong to no target any more."""
        self._small[(_HEADER + row * _ROW) >> 2] = 0
        self._words[_OPEN] -= 1
        self._free.append(row)

    def cut(self, slot: int, flows: int = 1) -> None:
        """Count flows of `slot` that a stop has ended."""
        at = self._cuts.get(slot)
        if at is None:
            if len(self._cuts) >= _MOST_CUTS:
                return
            at = self._cuts[slot] = (_CUTS >> 3) + len(self._cuts) * 2
            self._words[at] = slot + 1
        self._words[at + 1] += flows

    @property
    def swept(self) -> int:
        """The last turn that it has swept after."""
        return self._words[_SWEPT]

    @swept.setter
    def swept(self, turn: int) -> None:
        """Nothing that the words of this turn forbid is in flight any more."""
        self._words[_SWEPT] = turn

    def beat(self) -> None:
        """The worker's loop turns."""
        self._words[_BEAT] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def __len__(self) -> int:
        """Count the flows."""
        return self._words[_OPEN]

    def close(self) -> None:
        """Let go of it."""
        self._words.release()
        self._small.release()
        self._map.close()


class FlowReader:
    """One worker's table, to read. Never mapped: whoever reads it does not die of it."""

    __slots__ = ("_fd", "_size", "rows")

    def __init__(self, fd: int) -> None:
        """Read the table that `fd` is open on, which is ours from now on; `Corrupt`: it is none."""
        self._fd = fd
        try:
            self._check()
        except Corrupt:
            os.close(fd)
            raise

    def _check(self) -> None:
        fd = self._fd
        try:
            if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS:
                raise Corrupt("this table of flows can be cut short", "it needs its seals")
            self._size = os.fstat(fd).st_size
            words = memoryview(os.pread(fd, 64, 0)).cast("Q")
        except (OSError, ValueError, TypeError) as error:
            raise Corrupt(f"this is no table of flows: {error}") from None
        self.rows = words[_ROWS] if len(words) > _ROWS else 0
        whole = self._size == _HEADER + self.rows * _ROW and 0 < self.rows <= MOST_ROWS
        if not whole or bytes(words[:1]) != _MAGIC or words[_VERSION_AT] != _VERSION:
            raise Corrupt("this is no table of flows")

    def _word(self, at: int) -> int:
        return int(struct.unpack("=Q", os.pread(self._fd, 8, at * 8))[0])

    def fileno(self) -> int:
        """Give its descriptor."""
        return self._fd

    @property
    def pid(self) -> int:
        """The worker's."""
        return self._word(_PID)

    @property
    def swept(self) -> int:
        """The last turn that the worker says it has swept after."""
        return self._word(_SWEPT)

    @property
    def beat_ns(self) -> int:
        """When the worker's loop last turned (CLOCK_BOOTTIME)."""
        return self._word(_BEAT)

    @property
    def open(self) -> int:
        """How many flows it serves, as it counts them itself."""
        return self._word(_OPEN)

    def cut(self, slot: int) -> int:
        """How many flows of `slot` stops have ended."""
        return self.cuts().get(slot, 0)

    def cuts(self) -> dict[int, int]:
        """Give for all slots how many of their flows stops have ended, where any were."""
        words = memoryview(os.pread(self._fd, _HEADER - _CUTS, _CUTS)).cast("Q").tolist()
        return {slot - 1: cut for slot, cut in zip(words[::2], words[1::2], strict=True) if slot}

    def any_of(self, slots: Collection[int]) -> bool:
        """Tell whether it serves a flow of one of `slots`."""
        wanted = {slot + 1 for slot in slots}
        return not wanted.isdisjoint(_slots(os.pread(self._fd, self._size, 0)))

    def progress(self, slots: Collection[int]) -> tuple[int, int]:
        """Count the flows of `slots`, and those of them that are not being ended yet.

        Of two looks at a worker that ends them, the second finds less.
        """
        wanted = {slot + 1 for slot in slots}
        whole = memoryview(os.pread(self._fd, self._size, 0)).cast("I")
        found = whole[_HEADER // 4 :: _ROW // 4].tolist()
        stages = whole[_HEADER // 4 + 1 :: _ROW // 4].tolist()
        mine = [stage for slot, stage in zip(found, stages, strict=True) if slot in wanted]
        return len(mine), sum(stage != Stage.ENDING for stage in mine)

    def walk(self, slots: Collection[int] | None = None) -> Iterator[Flow]:
        """Give the flows of `slots`, or all, that are there now, each as it is when it is given."""
        wanted = None if slots is None else {slot + 1 for slot in slots}
        for row, slot in enumerate(_slots(os.pread(self._fd, self._size, 0))):
            if slot and (wanted is None or slot in wanted):
                at = _HEADER + row * _ROW
                content = os.pread(self._fd, _ROW, at)
                same = content == os.pread(self._fd, _ROW, at)
                if same and struct.unpack_from("=I", content) == (slot,):
                    yield _flow(content)

    def flows(self, slots: Collection[int] | None = None) -> list[Flow]:
        """List the flows of `slots`, or all; one that is just being entered is left out."""
        wanted = None if slots is None else {slot + 1 for slot in slots}
        first = os.pread(self._fd, self._size, 0)
        second = os.pread(self._fd, self._size, 0)
        found = []
        for row, slot in enumerate(_slots(first)):
            if slot and (wanted is None or slot in wanted):
                at = _HEADER + row * _ROW
                content = first[at : at + _ROW]
                if content == second[at : at + _ROW]:
                    found.append(_flow(content))
        return found

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def _slots(whole: bytes) -> list[int]:
    """Give the first word of each row."""
    return memoryview(whole).cast("I")[_HEADER // 4 :: _ROW // 4].tolist()


def _flow(row: bytes) -> Flow:
    (slot,) = struct.unpack_from("=I", row)
    stage, since_ns, client, upstream = _BODY.unpack_from(row, 4)
    ends = [None if each == _NOBODY else Ends(each) for each in (client, upstream)]
    return Flow(slot - 1, stage, since_ns, *ends)
