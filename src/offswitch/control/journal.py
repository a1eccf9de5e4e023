"""The journal: a ring of records on tmpfs, between one producer and one consumer.

The warden appends, the recorder reads and releases. Appending costs a few microseconds,
never waits and never fails: when the ring is full the record is counted as lost, and its
number stays unused, so that whoever reads on sees by the jump how many are missing
(REC-3). The file is preallocated, so that a full tmpfs raises no SIGBUS, and it survives
every crash of ours; it does not survive a reboot.

    offset     0  magic, capacity, id of this ring, CRC-32 of those   (a second copy at 2048)
             128  head   u64   written by the producer: bytes ever appended
             136  next   u64   the number of the next record
             144  lost   u64   records that did not fit, ever
             256  tail     u64   written by the consumer: bytes ever released
             264  released u64   the number of the last released record
             272  durable  u64   everything up to this number is in the ledger
            4096  the records, each at a multiple of eight bytes, wrapping round:
                  length u32, CRC-32 u32 (over id, length, number, payload), number u64, payload

A record is written before `head` moves over it, and `next` moves after `head`: a producer
that is killed between two instructions leaves either no record or a whole one. Each side
keeps its own words in memory and stores them anew each time, so garbage in the header
heals by itself; garbage in a record is found by its checksum and stepped over to the next
record that is whole. Words are aligned and eight bytes long. On machines that reorder
stores a checksum that does not match yet is looked at again before it is believed.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import time
from collections import deque
from typing import Self
from zlib import crc32

from offswitch.errors import Corrupt, Refused, Storage

__all__ = ["DEFAULT_SIZE", "Ring"]

DEFAULT_SIZE = 8 << 20
"""Bytes of records in a new ring."""

_MAGIC = b"OFFSWJR1"
_PAGE = 4096
_STATIC = struct.Struct("=8sQ16sI")
_COPIES = (0, 2048)
_SIZES = struct.Struct("=IQ")
_RECORD = struct.Struct("=IIQ")
_HEAD, _NEXT, _LOST = 16, 17, 18
_TAIL, _RELEASED, _DURABLE = 32, 33, 34
_ALIGN = 8
_PATIENCE = 3
"""How often a checksum that does not match is looked at again, a millisecond apart."""


class Ring:
    """A journal, seen by its producer (`take`) or by its consumer (`open`)."""

    __slots__ = (
        "_at",
        "_capacity",
        "_data",
        "_head",
        "_id",
        "_last",
        "_lost",
        "_lost_ranges",
        "_map",
        "_next",
        "_read",
        "_seed",
        "_words",
        "damage",
        "garbled",
    )

    def __init__(self, mapping: mmap.mmap, capacity: int, ring_id: bytes) -> None:
        """Hold a mapping whose static header is known to be good; use `take` or `open`."""
        self._map = mapping
        self._capacity = capacity
        self._id = ring_id
        self._seed = crc32(ring_id)
        view = memoryview(mapping)
        self._words = view[:_PAGE].cast("Q")
        self._data = view[_PAGE : _PAGE + capacity]
        self._head = self._words[_HEAD]
        self._next = self._words[_NEXT]
        self._lost = self._words[_LOST]
        self._at = self._words[_TAIL]
        self._last = 0
        self._read: deque[tuple[int, int]] = deque()
        self._lost_ranges: deque[tuple[int, int]] = deque(maxlen=64)
        self.damage: str | None = None
        """What `take` found broken and mended, for people; None: nothing."""
        self.garbled = 0
        """Bytes that `read` stepped over because they were no whole record."""

    # --- opening ------------------------------------------------------------------

    @classmethod
    def take(cls, path: str, size: int = DEFAULT_SIZE) -> Self:
        """Be the producer of the ring at `path`: go on with the one there, or make it.

        The caller holds the lock that makes it the only producer. A damaged ring is mended:
        what is whole in it is kept, and `damage` says what was found.
        """
        fd = _open_own(path)
        try:
            static = _static_of(fd)
            damage = None
            if static is None:
                damage = None if os.fstat(fd).st_size == 0 else "the header is garbled"
                static = _make(fd, size, path)
            capacity, ring_id = static
            _preallocate(fd, path, _PAGE + capacity)
            mapping = mmap.mmap(fd, _PAGE + capacity)
        finally:
            os.close(fd)
        ring = cls(mapping, capacity, ring_id)
        ring.damage = damage
        ring._take_over()
        return ring

    @classmethod
    def open(cls, path: str) -> Self:
        """Be the consumer of the ring at `path`; `Corrupt` or `Storage` if there is none."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise Storage(f"{path}: {error.strerror}", "start a warden: offswitch up") from None
        try:
            static = _static_of(fd)
            if static is None or os.fstat(fd).st_size < _PAGE + static[0]:
                raise Corrupt(f"{path} is no journal", "restart the warden: it makes a new one")
            mapping = mmap.mmap(fd, _PAGE + static[0])
        finally:
            os.close(fd)
        ring = cls(mapping, *static)
        if not ring._plausible(ring._at, ring._head):
            # Garbage where the consumer left off: begin at the oldest bytes there can be.
            # What was consumed already is known by its number.
            ring._at = max(0, ring._head - ring._capacity) & -_ALIGN
        return ring

    def close(self) -> None:
        """Let go of the mapping; the ring stays."""
        self._words.release()
        self._data.release()
        self._map.close()

    # --- what both may ask --------------------------------------------------------

    @property
    def id(self) -> bytes:
        """Sixteen random bytes that name this ring; numbers are unique within it."""
        return self._id

    @property
    def capacity(self) -> int:
        """Bytes of records that fit."""
        return self._capacity

    @property
    def lost(self) -> int:
        """How many records did not fit, ever."""
        count: int = self._words[_LOST]
        return count

    @property
    def next_seq(self) -> int:
        """The number that the next record will have; those below it were appended or lost."""
        number: int = self._words[_NEXT]
        return number

    @property
    def durable_seq(self) -> int:
        """Everything up to this number is in the ledger, durably; 0: nothing yet."""
        number: int = self._words[_DURABLE]
        return number

    # --- the producer -------------------------------------------------------------

    def append(self, payload: bytes) -> int:
        """Append a record and return its number. Never waits, never raises; full means lost."""
        seq = self._next
        length = len(payload)
        size = (_RECORD.size + length + _ALIGN - 1) & -_ALIGN
        free = self._capacity - (self._head - self._words[_TAIL])
        if size > free or free > self._capacity or size > self._capacity // 4:
            return self._lose(seq)
        checksum = crc32(payload, crc32(_SIZES.pack(length, seq), self._seed))
        self._put(self._head, _RECORD.pack(length, checksum, seq) + payload)
        self._head += size
        self._next = seq + 1
        words = self._words
        words[_HEAD] = self._head
        words[_NEXT] = self._next
        words[_LOST] = self._lost
        return seq

    def durable(self, seq: int) -> bool:
        """Tell whether the record `seq` is in the ledger; never true of one that was lost."""
        if self._words[_DURABLE] < seq:
            return False
        return not any(first <= seq <= last for first, last in self._lost_ranges)

    def _lose(self, seq: int) -> int:
        self._next = seq + 1
        self._lost += 1
        self._words[_NEXT] = self._next
        self._words[_LOST] = self._lost
        ranges = self._lost_ranges
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
        return seq

    def _put(self, offset: int, record: bytes) -> None:
        at = offset % self._capacity
        end = at + len(record)
        if end <= self._capacity:
            self._data[at:end] = record
        else:
            cut = self._capacity - at
            self._data[at:] = record[:cut]
            self._data[: end - self._capacity] = record[cut:]

    def _take_over(self) -> None:
        """Go on where the last producer was, at whatever instruction it died."""
        tail = self._words[_TAIL]
        if not self._plausible(tail, self._head):
            self._salvage()
            return
        known = max(self._next, self._words[_RELEASED] + 1, self._words[_DURABLE] + 1, 1)
        found = [seq for seq, _end in self._whole(tail, self._head)]
        self._next = max([known, *(seq + 1 for seq in found)])
        self._words[_NEXT] = self._next

    def _salvage(self) -> None:
        """The header's words are garbage: keep every whole record, in order, and begin anew."""
        kept: dict[int, bytes] = {}
        for at in range(0, self._capacity, _ALIGN):
            found = self._record(at, self._capacity)
            if found is not None:
                kept[found[0]] = found[1]
        self.damage = f"the header was garbled; {len(kept)} records were found again"
        released = self._words[_RELEASED]
        last = max(kept, default=0)
        self._head = self._at = 0
        self._lost = 0
        self._words[_TAIL] = self._words[_RELEASED] = self._words[_DURABLE] = 0
        for seq in sorted(kept):
            self._next = seq
            self.append(kept[seq])
        # A number must not come twice; one that is garbage itself must not frighten us away.
        self._next = max(last + 1, released + 1 if released - last < self._capacity else 1)
        self._words[_HEAD] = self._head
        self._words[_NEXT] = self._next

    # --- the consumer -------------------------------------------------------------

    def read(self, limit: int = 4096) -> list[tuple[int, bytes]]:
        """Give the next records as (number, payload), at most `limit`; a jump means lost ones.

        The same record is not read twice through one `Ring`; one that was not released is
        read again after the next `open`.
        """
        head = self._words[_HEAD]
        if not self._plausible(self._at, head):
            return []  # the producer's next append stores a good one
        records: list[tuple[int, bytes]] = []
        while self._at < head and len(records) < limit:
            found = self._patiently(self._at, head)
            if found is None:
                self._skip(head)
                continue
            seq, payload, size = found
            self._at += size
            self._last = seq
            self._read.append((seq, self._at))
            records.append((seq, payload))
        return records

    def release(self, seq: int) -> None:
        """Give back the room of every record up to `seq` that was read."""
        end = None
        while self._read and self._read[0][0] <= seq:
            end = self._read.popleft()[1]
        if not self._read and self._at > self._words[_TAIL]:
            end = self._at  # garbage at the end is given back too
        if end is not None:
            self._words[_RELEASED] = seq
            self._words[_TAIL] = end

    def set_durable(self, seq: int) -> None:
        """Tell the producer that everything up to `seq` is in the ledger."""
        self._words[_DURABLE] = seq

    def _plausible(self, tail: int, head: int) -> bool:
        return 0 <= head - tail <= self._capacity and head % _ALIGN == 0 and tail % _ALIGN == 0

    def _get(self, offset: int, size: int) -> bytes:
        at = offset % self._capacity
        end = at + size
        if end <= self._capacity:
            return bytes(self._data[at:end])
        return bytes(self._data[at:]) + bytes(self._data[: end - self._capacity])

    def _record(self, offset: int, room: int) -> tuple[int, bytes, int] | None:
        """Read the record at `offset` if a whole one of at most `room` bytes lies there."""
        if room < _RECORD.size:
            return None
        length, checksum, seq = _RECORD.unpack(self._get(offset, _RECORD.size))
        size = (_RECORD.size + length + _ALIGN - 1) & -_ALIGN
        if size > room or size > self._capacity // 4:
            return None
        payload = self._get(offset + _RECORD.size, length)
        if crc32(payload, crc32(_SIZES.pack(length, seq), self._seed)) != checksum:
            return None
        return seq, payload, size

    def _patiently(self, offset: int, head: int) -> tuple[int, bytes, int] | None:
        for _ in range(_PATIENCE):
            found = self._record(offset, head - offset)
            if found is not None:
                return found
            time.sleep(0.001)
        return None

    def _skip(self, head: int) -> None:
        """Step over garbage to the next whole record, or to `head`."""
        start = self._at
        at = start + _ALIGN
        while at < head:
            found = self._record(at, head - at)
            if found is not None and found[0] > self._last:
                break
            at += _ALIGN
        self._at = min(at, head)
        self.garbled += self._at - start

    def _whole(self, tail: int, head: int) -> list[tuple[int, int]]:
        """List number and end of the whole records between `tail` and `head`."""
        found, at = [], tail
        while at < head:
            record = self._record(at, head - at)
            if record is None:
                at += _ALIGN
                continue
            at += record[2]
            found.append((record[0], at))
        return found


def _open_own(path: str) -> int:
    """Open the file of a ring, or make it; refuse one that is not a plain file of ours."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "see that OFFSWITCH_RUN is writable") from None
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        os.close(fd)
        raise Refused(f"{path} is there already and is not ours", "remove it")
    return fd


def _preallocate(fd: int, path: str, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "make room on that tmpfs") from None


def _static_of(fd: int) -> tuple[int, bytes] | None:
    """Read capacity and id from the first copy of the static header that is whole."""
    for offset in _COPIES:
        raw = os.pread(fd, _STATIC.size, offset)
        if len(raw) < _STATIC.size:
            continue
        magic, capacity, ring_id, checksum = _STATIC.unpack(raw)
        if magic == _MAGIC and crc32(raw[:-4]) == checksum:
            return capacity, ring_id
    return None


def _make(fd: int, size: int, path: str) -> tuple[int, bytes]:
    """Lay out an empty ring; its static header comes last, so that half a ring is none.

    Never truncated: a recorder that still has the old one mapped would die of SIGBUS. What
    lies there of an older ring is no record of this one, since the checksums begin with the id.
    """
    capacity = max(size, 4 * _PAGE) & -_PAGE
    _preallocate(fd, path, _PAGE + capacity)
    ring_id = os.urandom(16)
    raw = struct.pack("=8sQ16s", _MAGIC, capacity, ring_id)
    os.pwrite(fd, bytes(_PAGE), 0)
    os.pwrite(fd, struct.pack("=Q", 1), _NEXT * 8)
    for offset in reversed(_COPIES):
        os.pwrite(fd, raw + struct.pack("=I", crc32(raw)), offset)
    return capacity, ring_id
