"""The page: a small file on tmpfs that the warden writes and everyone else maps read-only.

    offset  0  magic                       8 bytes
            8  size of the file            u64
           16  boot id                    16 bytes
           32  epoch of the warden         u64   raised by each warden that takes the page over
           40  lease deadline              u64   CLOCK_BOOTTIME, nanoseconds; 0: none
           48  epoch of the keeper         u64   raised when a new keeper has everything
           56  slots handed out            u64
           64  lease deadline again     double   in seconds, for guards: a check is 20 ns cheaper
           72  sign of life                u32  marked by the kernel as the warden dies (`vital`)
          128  words                       u64 each, one a target's cell, never reused in a boot

A word is `RUN`, or `RUN` plus the level of the latch; 0 is a slot that nobody has and
means stop, as does a page that is stale, short, or cannot be read. All words are aligned
and eight bytes long, so that a reader needs no lock. Native byte order: the page never
leaves the machine.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

__all__ = [
    "FIRST_WORD",
    "HANDED_OUT",
    "KEEPER_EPOCH",
    "LEASE",
    "LEASE_SECONDS",
    "MAGIC",
    "OBSERVED_NS",
    "PAGE_SIZE",
    "RUN",
    "SLOTS",
    "VITAL",
    "WARDEN_EPOCH",
    "PageFile",
    "PageReader",
    "word_of_level",
]

MAGIC = b"OFFSWPG1"
PAGE_SIZE = 1 << 20
WARDEN_EPOCH = 4
"""Index, in words, of the warden's epoch; likewise those below."""
LEASE = 5
KEEPER_EPOCH = 6
HANDED_OUT = 7
LEASE_SECONDS = 8
VITAL = 9
FIRST_WORD = 16
OBSERVED_NS = 1_000_000_000_000_000_000
"""Some thirty years: what is added to the lease in the mode `observe` (SR-15), so that nobody
stops for want of a fresh one."""
SLOTS = PAGE_SIZE // 8 - FIRST_WORD
RUN = 1
"""The word of a target that may act."""


def word_of_level(level: int | None) -> int:
    """Give the word for a latch level (1 to 5), or `RUN` for None."""
    return RUN if level is None else RUN + level


def _open(path: str) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    # A sealed page has no name; a process that has it is asked for it (/proc/PID/fd/N).
    fd = os.open(path, flags if path.startswith("/proc/") else flags | os.O_NOFOLLOW)
    size = os.fstat(fd).st_size
    if size < PAGE_SIZE or os.pread(fd, 8, 0) != MAGIC:
        os.close(fd)
        raise ValueError(f"{path}: not a page, or one of {size} bytes, which is too short")
    return fd


class PageReader:
    """A read-only view of the page. Whatever is wrong with it reads as *stop*."""

    __slots__ = ("_map", "_words")

    def __init__(self, path: str) -> None:
        """Map the page at `path`; raises OSError or ValueError if it is none of ours."""
        fd = _open(path)
        try:
            self._map = mmap.mmap(fd, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("Q")

    @property
    def words(self) -> memoryview:
        """The whole page as u64 words, header included."""
        return self._words

    def word(self, slot: int) -> int:
        """Read the word of a slot; 0 (stop) for a slot that does not exist."""
        return self._words[FIRST_WORD + slot] if 0 <= slot < SLOTS else 0

    def lease_left_ns(self) -> int:
        """How long the lease still holds, in nanoseconds; 0 or less: stale."""
        deadline: int = self._words[LEASE]
        return deadline - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def close(self) -> None:
        """Let go of the mapping."""
        self._words.release()
        self._map.close()


class PageFile:
    """The page as a file that is read, not mapped: slower, and nobody dies of reading it.

    Whoever maps a page that is cut short is killed by SIGBUS. That is a stop for a guard; the
    keeper, which acts when the page is not what it should be, reads *stop* instead.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        """Open the page at `path`; raises OSError or ValueError if it is none of ours."""
        self._path = path
        self._fd = _open(path)

    def _look_again(self) -> None:
        """Where another page lies at the path by now, read that one from here on."""
        try:
            if not os.path.samestat(os.fstat(self._fd), os.stat(self._path)):
                fd = _open(self._path)
                os.close(self._fd)
                self._fd = fd
        except (OSError, ValueError):
            return  # none that could be read: the one we have is stale for ever

    def at(self, index: int) -> int:
        """Read the u64 word `index` of the whole page; 0 where it has none."""
        return int.from_bytes(os.pread(self._fd, 8, index * 8), sys.byteorder)

    def word(self, slot: int) -> int:
        """Read the word of a slot; 0 (stop) for a slot that does not exist."""
        return self.at(FIRST_WORD + slot) if 0 <= slot < SLOTS else 0

    def lease_left_ns(self) -> int:
        """How long the lease still holds, in nanoseconds; 0 or less: stale.

        A page that was removed stays stale; another that a warden made since is read instead.
        """
        if self.at(LEASE) <= time.clock_gettime_ns(time.CLOCK_BOOTTIME):
            self._look_again()
        return self.at(LEASE) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    @property
    def observing(self) -> bool:
        """Whether this installation only observes: a lost warden is recorded, and stops nothing."""
        return self.lease_left_ns() > OBSERVED_NS // 2
