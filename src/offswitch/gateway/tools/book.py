"""The book of tool calls: what was begun, done, refused, and what nobody knows of (ACT-9).

    held ─┬─► sent ─┬─► done         the server answered
          │         ├─► failed       it answered with an error
          │         ├─► accepted     it goes on at the server; its answer comes another way
          │         └─► unknown      cut in flight: no answer was seen, so it may have happened
          ├─► refused                it never left
          └─► unsent                 it was let go, and yet never left

A file on tmpfs, laid out at the start, one for each worker: it outlives the worker and whoever
started it. *Sent* is written before the first byte leaves and *done* when the answer has been read,
so whenever the worker dies the book never says less than happened. What a dead worker left as sent
its successor calls unknown. A row that is not finished is never written over: where all are open,
the next call is refused, since what cannot be written down is not begun. A lock on the file, held
by the mapping, keeps it to one writer and what that has forked.

    4096 bytes: magic, version, rows, pid, start of that process, next number, forgotten
    rows of 512: number u64 (0: none) · state u8 · began and ended u64 (UTC, µs) · session and
                 arguments (SHA-256, cut short) · lengths · target, tool, id (UTF-8)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from offswitch.clock import Clock, SystemClock
from offswitch.errors import Busy, Corrupt, NotFound, Storage

__all__ = ["CallBook", "CallRow", "State", "counts", "read_book"]

_MAGIC = b"OFFSWCB1"
_PAGE = 4096
_ROW = 512
_HEAD = struct.Struct("=8sIIQQQQ")
_FIXED = struct.Struct("=QB7xQQ8s16s3H2x")
_TEXTS = _ROW - _FIXED.size
_CUTS = (176, 176, 96)
"""The most bytes of target, tool and id."""
_NEXT, _FORGOTTEN = 32, 40
DEFAULT_ROWS = 4096


class State(IntEnum):
    """How a call stands."""

    HELD = 1
    """It waits for leave, or to be sent."""
    SENT = 2
    DONE = 3
    FAILED = 4
    ACCEPTED = 5
    """It goes on at the server: as a task, or its answer comes on another stream."""
    UNKNOWN = 6
    """It was sent, and no answer was seen."""
    REFUSED = 7
    UNSENT = 8

    @property
    def word(self) -> str:
        """As people and scripts read it."""
        return self.name.lower()

    @property
    def open(self) -> bool:
        """Whether more may become of it."""
        return self in {State.HELD, State.SENT}


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call, as it stands in a book."""

    number: int
    """In its book, from 1 on."""
    state: State
    target: str
    tool: str
    ident: str
    """The request's id; what the caller wrote, as all texts here."""
    session: str
    """Hex of the start of its SHA-256; empty: none."""
    arguments: str
    """Hex of the start of SHA-256 over them in canonical JSON."""
    began_us: int
    """UTC, microseconds."""
    ended_us: int
    """The same; 0: it is open."""


class CallBook:
    """A book that is written in; one writer."""

    __slots__ = ("_clock", "_finished", "_map", "_next", "_rows", "path")

    def __init__(self, mapping: mmap.mmap, path: str, rows: int, clock: Clock) -> None:
        """Use `take`."""
        self._map = mapping
        self.path = path
        self._rows = rows
        self._clock = clock
        (self._next,) = struct.unpack_from("=Q", mapping, _NEXT)
        self._finished: deque[int] = deque()

    @classmethod
    def take(cls, path: str, rows: int = DEFAULT_ROWS, clock: Clock | None = None) -> Self:
        """Be the writer of the book at `path`: go on with what is there, or make it.

        `path` lies in a folder that is ours. Calls that whoever wrote before left open are closed;
        `Busy` while they still write.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(path, flags, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rows = _rows_of(fd) or _made(fd, rows)
                mapping = mmap.mmap(fd, _PAGE + rows * _ROW)
            finally:
                os.close(fd)
        except BlockingIOError:
            raise Busy(f"{path}: somebody else writes in it", "name another file") from None
        except OSError as error:
            raise Storage(f"{path}: {error.strerror}", "make room on that tmpfs") from None
        book = cls(mapping, path, rows, clock or SystemClock())
        book.take_over()
        return book

    def begin(self, target: str, tool: str, ident: str, arguments: object, session: str) -> int:
        """Write a call down as held; gives its row, or -1: there is no room for it."""
        if not self._finished:
            return -1
        row = self._finished.popleft()
        at = _PAGE + row * _ROW
        (older,) = struct.unpack_from("=Q", self._map, at)
        if older:
            (gone,) = struct.unpack_from("=Q", self._map, _FORGOTTEN)
            struct.pack_into("=Q", self._map, _FORGOTTEN, gone + 1)
        struct.pack_into("=Q", self._map, at, 0)
        texts = [_cut(text, most) for text, most in zip((target, tool, ident), _CUTS, strict=True)]
        head = _FIXED.pack(
            0,
            State.HELD,
            self._clock.wall_us(),
            0,
            _hash(session.encode("utf-8", "replace"))[:8] if session else bytes(8),
            _hash(_canonical(arguments))[:16],
            *map(len, texts),
        )
        self._map[at : at + _ROW] = (head + b"".join(texts)).ljust(_ROW, b"\0")
        struct.pack_into("=Q", self._map, at, self._next)
        self._next += 1
        struct.pack_into("=Q", self._map, _NEXT, self._next)
        return row

    def sent(self, row: int) -> None:
        """It leaves now."""
        self._map[_PAGE + row * _ROW + 8] = State.SENT

    def end(self, row: int, state: State) -> None:
        """It ended; the row may be used again, after all that ended before."""
        at = _PAGE + row * _ROW
        struct.pack_into("=Q", self._map, at + 24, self._clock.wall_us())
        self._map[at + 8] = state
        self._finished.append(row)

    def amend(self, row: int, number: int, state: State) -> None:
        """Say better what became of a call that ended, if its row is still its own."""
        at = _PAGE + row * _ROW
        if struct.unpack_from("=Q", self._map, at)[0] == number:
            self._map[at + 8] = state

    def number(self, row: int) -> int:
        """Give the number of the call in `row`."""
        return int(struct.unpack_from("=Q", self._map, _PAGE + row * _ROW)[0])

    def rows(self) -> list[CallRow]:
        """Give its calls in their order, as they stand; its writer lives."""
        found = _calls(self._map[:], self._rows, alive=True)
        return sorted(found, key=lambda row: row.number)

    def close(self) -> None:
        """Let go of it; the file stays."""
        self._map.close()

    def take_over(self) -> None:
        """Be the writer from now on: a new worker, after the fork.

        What is open is closed, and the rows are put in the order in which they are used next.
        """
        ended = []
        self._finished.clear()
        for row in range(self._rows):
            at = _PAGE + row * _ROW
            number, state, *_ = _FIXED.unpack_from(self._map, at)
            left = {State.HELD: State.UNSENT, State.SENT: State.UNKNOWN}.get(state)
            if number and left is not None:
                struct.pack_into("=Q", self._map, at + 24, self._clock.wall_us())
                self._map[at + 8] = left
            ended.append((number, row))
            self._next = max(self._next, number + 1)
        self._finished.extend(row for _number, row in sorted(ended))
        struct.pack_into("=QQ", self._map, 16, os.getpid(), _started(os.getpid()))


def read_book(path: str) -> tuple[list[CallRow], int]:
    """Read a book: its calls in their order, and how many were written over.

    Sent calls of a writer that is dead are unknown; held ones never left.
    """
    try:
        with open(path, "rb", opener=_plainly) as file:
            data = file.read(_PAGE + (1 << 26))
    except FileNotFoundError:
        raise NotFound(f"there is no {path}", "see: offswitch mcp calls") from None
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "see: offswitch doctor") from None
    if len(data) < _PAGE or data[:8] != _MAGIC:
        raise Corrupt(f"{path} is no book of calls", "the gateway makes a new one at its start")
    _magic, _version, rows, pid, started, _next, forgotten = _HEAD.unpack_from(data)
    alive = bool(started) and _started(pid) == started
    return sorted(_calls(data, rows, alive=alive), key=lambda row: row.number), forgotten


def _calls(data: bytes, rows: int, *, alive: bool) -> Iterator[CallRow]:
    for at in range(_PAGE, min(len(data), _PAGE + rows * _ROW) - _ROW + 1, _ROW):
        number, state, began, ended, session, arguments, *lengths = _FIXED.unpack_from(data, at)
        if not number or state not in State.__members__.values() or sum(lengths) > _TEXTS:
            continue
        state = State(state)
        if state.open and not alive:
            state = State.UNKNOWN if state is State.SENT else State.UNSENT
        texts, begin = [], at + _FIXED.size
        for length in lengths:
            texts.append(data[begin : begin + length].decode("utf-8", "replace"))
            begin += length
        named = session.hex() if any(session) else ""
        target, tool, ident = texts
        yield CallRow(
            number, state, target, tool, ident, named, arguments.hex(), began, ended
        )  # fmt: skip


def counts(rows: list[CallRow]) -> Mapping[str, int]:
    """Count the calls by how they stand."""
    told = dict.fromkeys((state.word for state in State), 0)
    for row in rows:
        told[row.state.word] += 1
    return told


def _plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def _rows_of(fd: int) -> int:
    """Give how many rows a sound book has; 0: it is none."""
    raw = os.pread(fd, _HEAD.size, 0)
    if len(raw) < _HEAD.size or raw[:8] != _MAGIC:
        return 0
    rows = int(_HEAD.unpack(raw)[2])
    return rows if 0 < rows <= (1 << 16) and os.fstat(fd).st_size >= _PAGE + rows * _ROW else 0


def _made(fd: int, rows: int) -> int:
    """Lay an empty book out; its magic comes last, so that half a book is none."""
    os.posix_fallocate(fd, 0, _PAGE + rows * _ROW)
    os.pwrite(fd, bytes(_PAGE + rows * _ROW), 0)
    os.pwrite(fd, _HEAD.pack(bytes(8), 1, rows, 0, 0, 1, 0), 0)
    os.pwrite(fd, _MAGIC, 0)
    return rows


def _started(pid: int) -> int:
    """Give when a process began, in ticks since boot; 0: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after = file.read().rpartition(b")")[2].split()
    except (OSError, OverflowError):
        return 0
    return 0 if after[0] in {b"Z", b"X"} else int(after[19])


def _cut(text: str, most: int) -> bytes:
    raw = text.encode("utf-8", "replace")
    return raw if len(raw) <= most else raw[:most].decode("utf-8", "ignore").encode()


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
