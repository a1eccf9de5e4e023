"""What a gateway senses, as it lies in memory: its worker writes, watch's eyes read.

    header    4096 bytes, in u64 words (below); then a description in JSON: gateway, targets,
              names of canaries
    blocks    one a target: `WIDTH` u64 words, counters that only grow but for `SILENT`
    ring      the texts: a record is written over the oldest ones, readers go at their own pace

    record    length u32, kind and target u32, CLOCK_BOOTTIME ns u64, payload; padded to 8 bytes

The file lies on tmpfs below `OFFSWITCH_RUN`, is made by root before rights are shed, has one
writer at a time, and is never cut. Readers read, they map nothing: whatever a worker that was
taken over writes or cuts, an eye gets numbers that are wrong, or none, and never a signal. A
reader that is too slow finds records gone and counts them; nobody waits for it.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from offswitch.errors import Corrupt, Storage

__all__ = [
    "BUCKETS",
    "CAUSES",
    "ENDS",
    "MOST_CANARIES",
    "REASONS",
    "SHAPES",
    "TENTHS",
    "WIDTH",
    "At",
    "Sensed",
    "SensedFile",
    "Text",
    "TextKind",
    "bucket_of",
    "seconds_of",
]

SHAPES: Final = (
    "chat", "completion", "responses", "embeddings", "models", "messages", "mcp", "realtime",
    "plain",
)  # fmt: skip
"""Which call of which API: `gateway.exchange.Shape`, in its order."""
CAUSES: Final = (
    "stopped", "restricted", "no-lease", "not-allowed", "no-route", "malformed", "too-large",
    "upstream", "timed-out", "busy",
)  # fmt: skip
"""Why something was refused: `gateway.exchange.Cause`, in its order."""
ENDS: Final = ("complete", "stopped", "client", "upstream", "timeout", "lost")
"""How an answer ended; *lost*: its worker died."""
REASONS: Final = ("stop", "length", "tool_calls", "content_filter", "refusal", "other")
"""Why a model ended, by its own word."""
BUCKETS: Final = 100
"""Of times: four to each power of two of a microsecond, up to a minute."""
MOST_CANARIES: Final = 64
TENTHS: Final = 11
"""Shares, from none to all."""


class At(IntEnum):
    """Where in a block the counters are; of those with a label, the first one."""

    REQUESTS = 0
    """By shape."""
    REFUSED = len(SHAPES)
    """By cause."""
    ENDED = REFUSED + len(CAUSES)
    """By how."""
    FINISHED = ENDED + len(ENDS)
    """By reason."""
    SESSIONS = FINISHED + len(REASONS)
    BYTES = SESSIONS + 1
    EVENTS = BYTES + 1
    """Of streams of events."""
    TOKENS_IN = EVENTS + 1
    TOKENS_OUT = TOKENS_IN + 1
    ANSWERS = TOKENS_OUT + 1
    REFUSALS = ANSWERS + 1
    """Answers in which the model refuses."""
    TOOL_CALLS = REFUSALS + 1
    ERRORS_4XX = TOOL_CALLS + 1
    ERRORS_5XX = ERRORS_4XX + 1
    SILENT = ERRORS_5XX + 1
    """CLOCK_BOOTTIME ns of the last bytes of the stream that is silent the longest; 0: none."""
    DROPPED = SILENT + 1
    """Texts for which there was no room."""
    REPEATED = DROPPED + 1
    """Windows of text by how much of each was there before, in tenths."""
    FIRST = REPEATED + TENTHS
    """Times to the first bytes of an answer, in buckets."""
    GAP = FIRST + BUCKETS
    """The longest gaps between the bytes of an answer, in buckets."""
    IN_PROMPT = GAP + BUCKETS
    """Canaries that were found in what a model is given, by name."""
    IN_ANSWER = IN_PROMPT + MOST_CANARIES
    """Canaries that were found in what came back, by name."""


WIDTH: Final = -(-(At.IN_ANSWER + MOST_CANARIES) // 8) * 8
"""Words of a block."""


class TextKind(IntEnum):
    """What a record of the ring is."""

    PROMPT = 1
    """The end of what a model is given."""
    ANSWER = 2
    """How an answer begins: one a request."""
    TEXT = 3
    """A piece of an answer's text."""
    WHOLE = 4
    """An answer that is as short as its begin."""
    TOOL = 5
    """A tool that is called: name, a newline, arguments."""


@dataclass(frozen=True, slots=True)
class Text:
    """One record of the ring. Hostile: a model or a stranger wrote it."""

    kind: int
    target: int
    """Which of the file's targets."""
    boottime_ns: int
    payload: bytes


_MAGIC = int.from_bytes(b"OFFSWSN1", sys.byteorder)
_PAGE = 4096
_HEAD = struct.Struct("=IIQ")
_SIZE, _DESCRIBED, _TARGETS, _RING, _CAPACITY = 1, 2, 3, 4, 5
_PID, _BEAT, _LIFE = 8, 9, 10
_RESERVED, _WRITTEN = 16, 17
_LEAST_RING, _RING_EACH, _LARGEST_RING = 1 << 20, 64 << 10, 8 << 20
_MOST_TARGETS = 4096
_MOST_DESCRIBED = 1 << 20
_LONGEST = 4096
_MOST_A_READ = 4 << 20


def bucket_of(nanoseconds: int) -> int:
    """Give the bucket of a time."""
    us = nanoseconds // 1000
    if us < 4:  # noqa: PLR2004 - below, powers of two have no quarters
        return max(us, 0)
    high = us.bit_length()
    return min((high - 2) * 4 + ((us >> (high - 3)) & 3), BUCKETS - 1)


def seconds_of(bucket: int) -> float:
    """Give the upper end of a bucket."""
    if bucket < 4:  # noqa: PLR2004 - likewise
        return (bucket + 1) / 1e6
    return ((4 + bucket % 4 + 1) << (bucket // 4 - 1)) / 1e6


class SensedFile:
    """The writer's side."""

    __slots__ = ("_at", "_capacity", "_map", "_ring", "targets", "words")

    def __init__(self, fd: int) -> None:
        """Write into the file that `fd` is open on; what a worker before had open is lost."""
        size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, size)
        view = memoryview(self._map)
        self.words: memoryview[int] = view.cast("Q")
        """The file as u64 words; a target's block begins at `block(number)`."""
        words = self.words
        if size < _PAGE or words[0] != _MAGIC or words[_SIZE] != size:
            raise Corrupt("the file of a gateway's counters is none", "restart the gateway")
        described = json.loads(bytes(view[_PAGE : _PAGE + words[_DESCRIBED]]))
        self.targets: dict[str, int] = {
            name: number for number, name in enumerate(described["targets"])
        }
        """The number of each target."""
        self._ring = view[words[_RING] :]
        self._capacity = words[_CAPACITY]
        self._at = words[_WRITTEN]
        words[_PID], words[_LIFE] = os.getpid(), words[_LIFE] + 1
        for number in self.targets.values():
            at = self.block(number)
            ends = range(at + At.ENDED, at + At.ENDED + len(ENDS))
            began = sum(words[at + At.REQUESTS : at + At.REQUESTS + len(SHAPES)])
            words[ends[-1]] += max(began - sum(words[one] for one in ends), 0)
            words[at + At.SILENT] = 0
        self.beat()

    @staticmethod
    def make(path: str, gateway: str, targets: Sequence[str], canaries: Sequence[str] = ()) -> int:
        """Make the file at `path` in place of any that is there; gives it open for a writer."""
        about = {"gateway": gateway, "targets": [*targets], "canaries": [*canaries]}
        described = json.dumps(about).encode()
        blocks = -(-(_PAGE + len(described)) // _PAGE) * _PAGE
        ring = -(-(blocks + len(targets) * WIDTH * 8) // _PAGE) * _PAGE
        capacity = min(max(_LEAST_RING, len(targets) * _RING_EACH), _LARGEST_RING)
        words = [0] * (_PAGE // 8)
        words[0], words[_SIZE], words[_DESCRIBED] = _MAGIC, ring + capacity, len(described)
        words[_TARGETS], words[_RING], words[_CAPACITY] = len(targets), ring, capacity
        fresh, fd = f"{path}.new", -1
        try:
            if os.path.lexists(fresh):
                os.unlink(fresh)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(fresh, flags, 0o600)
            os.posix_fallocate(fd, 0, ring + capacity)
            os.pwrite(fd, struct.pack(f"={len(words)}Q", *words) + described, 0)
            os.rename(fresh, path)
        except OSError as error:
            if fd >= 0:  # what it took of a tmpfs that is full goes back
                os.close(fd)
                with suppress(OSError):
                    os.unlink(fresh)
            raise Storage(f"{path}: {error.strerror}", "make room on that tmpfs") from None
        return fd

    def block(self, number: int) -> int:
        """Give where in `words` the block of a target begins."""
        blocks = -(-(_PAGE + self.words[_DESCRIBED]) // _PAGE) * _PAGE
        return blocks // 8 + number * WIDTH

    def beat(self) -> None:
        """Say that the worker lives."""
        self.words[_BEAT] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def put(self, kind: TextKind, target: int, payload: bytes) -> None:
        """Write a text over the oldest ones; what is too long is cut."""
        payload = payload[:_LONGEST]
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        record = _HEAD.pack(len(payload), kind << 24 | target, now) + payload
        record += bytes(-len(record) % 8)
        at = self._at % self._capacity
        end = at + len(record)
        # Readers see first that what lies there is going, and then that the new one has come.
        self.words[_RESERVED] = self._at + len(record)
        if end <= self._capacity:
            self._ring[at:end] = record
        else:
            cut = self._capacity - at
            self._ring[at:] = record[:cut]
            self._ring[: end - self._capacity] = record[cut:]
        self._at += len(record)
        self.words[_WRITTEN] = self._at

    def close(self) -> None:
        """Let go of the mapping; the file stays."""
        self.words.release()
        self._ring.release()
        self._map.close()


class Sensed:
    """A reader's side. Believes nothing: sizes are bounded, and what does not fit is nothing."""

    __slots__ = ("_at", "_blocks", "_capacity", "_fd", "_ring", "canaries", "gateway", "gone",
                 "targets")  # fmt: skip

    def __init__(self, path: str) -> None:
        """Open the file at `path`; `Corrupt` or OSError if it is none."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self._describe(path)
        except BaseException:
            self.close()
            raise
        self._at = self._word(_WRITTEN)
        self.gone = 0
        """How often texts were written over before they were read."""

    def _describe(self, path: str) -> None:
        info = os.fstat(self._fd)
        words = struct.unpack("=6Q", os.pread(self._fd, 48, 0).ljust(48, b"\0"))
        described, targets, self._ring, self._capacity = words[2:]
        self._blocks = -(-(_PAGE + described) // _PAGE) * _PAGE
        fits = (
            stat.S_ISREG(info.st_mode)
            and words[0] == _MAGIC
            and words[_SIZE] == info.st_size
            and described <= _MOST_DESCRIBED
            and targets <= _MOST_TARGETS
            and self._blocks + targets * WIDTH * 8 <= self._ring
            and _LEAST_RING <= self._capacity == info.st_size - self._ring
        )
        wrong = Corrupt(f"{path} holds no counters of a gateway", "restart the gateway")
        if not fits:
            raise wrong
        try:
            about = json.loads(os.pread(self._fd, described, _PAGE))
            names = [str(one) for one in about["targets"]]
            self.gateway = str(about["gateway"])
            self.canaries = tuple(str(one) for one in about["canaries"])[:MOST_CANARIES]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise wrong from None
        self.targets = {name: number for number, name in enumerate(names[:targets])}

    def _word(self, index: int) -> int:
        return int.from_bytes(os.pread(self._fd, 8, index * 8), sys.byteorder)

    @property
    def beat_ns(self) -> int:
        """When the worker last said that it lives, CLOCK_BOOTTIME."""
        return self._word(_BEAT)

    @property
    def life(self) -> int:
        """Which of the workers that had this file is at it."""
        return self._word(_LIFE)

    def from_the_begin(self) -> None:
        """Read the texts from the first one that is still there."""
        self._at = max(self._word(_WRITTEN) - self._capacity, 0)
        if self._at:
            self._at, self.gone = self._word(_WRITTEN), 1

    def same(self, path: str) -> bool:
        """Tell whether this file is still the one at `path`."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(path, follow_symlinks=False))
        except OSError:
            return False

    def block(self, number: int) -> tuple[int, ...]:
        """Read the counters of a target."""
        data = os.pread(self._fd, WIDTH * 8, self._blocks + number * WIDTH * 8)
        return struct.unpack(f"={WIDTH}Q", data.ljust(WIDTH * 8, b"\0"))

    def texts(self, target: int | None = None) -> list[Text]:
        """Read the texts that came since the last call, of one target if it is named.

        Where some were written over meanwhile, none are given, and `gone` counts it.
        """
        written = self._word(_WRITTEN)
        if not 0 <= written - self._at <= self._capacity:
            self._at, self.gone = written, self.gone + 1
            return []
        begin, size = self._at, min(written - self._at, _MOST_A_READ)
        at = begin % self._capacity
        data = os.pread(self._fd, min(size, self._capacity - at), self._ring + at)
        data += os.pread(self._fd, size - len(data), self._ring)
        if self._word(_RESERVED) - begin > self._capacity or len(data) < size:
            # While it was read, it was written over.
            self._at, self.gone = written, self.gone + 1
            return []
        found, here = [], 0
        while here + _HEAD.size <= size:
            length, what, when = _HEAD.unpack_from(data, here)
            end = here + _HEAD.size + length
            if length > _LONGEST or end > size:
                break
            if target is None or target == what & 0xFFFFFF:
                payload = data[here + _HEAD.size : end]
                found.append(Text(what >> 24, what & 0xFFFFFF, when, payload))
            here = end + -end % 8
        whole = size in {here, _MOST_A_READ}
        self._at = begin + here if whole and here else written
        return found

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
