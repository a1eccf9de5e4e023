"""The page, as a worker reads it: one word and one clock a test, and no call of our own.

    words, seconds = view.words, view.seconds
    if words[slot] == RUN and clock(BOOTTIME) < seconds[LEASE_SECONDS]: …

What is tested for each chunk is written out where it is tested. Elsewhere `Words.level` says the
same in words: None, it may; else the level at which it is held, a lease that ran out being a kill.
"""

from __future__ import annotations

import mmap
import time

from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, PAGE_SIZE, RUN
from offswitch.model.level import Level

__all__ = ["Words"]


class Words:
    """The page of one installation, mapped to be read."""

    __slots__ = ("_map", "seconds", "words")

    def __init__(self, fd: int) -> None:
        """Map the page that `fd` is open on; the descriptor stays the caller's."""
        self._map = mmap.mmap(fd, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        view = memoryview(self._map)
        self.words: memoryview[int] = view.cast("Q")
        """The page as u64 words; a target's is at `index(slot)`."""
        self.seconds: memoryview[float] = view.cast("d")
        """The same as doubles: the lease's deadline is at `LEASE_SECONDS`."""

    @staticmethod
    def index(slot: int) -> int:
        """Give where in `words` the word of a slot lies."""
        return FIRST_WORD + slot

    @property
    def vouched(self) -> bool:
        """Whether somebody vouches for the page."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) < self.seconds[LEASE_SECONDS]

    def level(self, slot: int) -> Level | None:
        """Give the level at which a slot is held; None: it may run. What is wrong is a kill."""
        word = self.words[FIRST_WORD + slot]
        if not self.vouched or not RUN <= word <= RUN + Level.POWEROFF:
            return Level.KILL
        return None if word == RUN else Level(word - RUN)

    def running(self, slot: int) -> bool:
        """Tell whether a slot may run and somebody vouches for it; False: see `level`."""
        return (
            self.words[FIRST_WORD + slot] == RUN
            and time.clock_gettime(time.CLOCK_BOOTTIME) < self.seconds[LEASE_SECONDS]
        )

    def close(self) -> None:
        """Let go of the page."""
        self.words.release()
        self.seconds.release()
        self._map.close()
