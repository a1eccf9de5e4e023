"""A page that a test writes in the warden's place; the guard only ever reads it."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from offswitch.clock import boot_id
from offswitch.control.page import FIRST_WORD, LEASE, LEASE_SECONDS, MAGIC, PAGE_SIZE, RUN
from offswitch.guard import Guard

SLOT = 3


class WrittenPage:
    """A real page file, written as the warden writes it: eight aligned bytes at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
        os.posix_fallocate(fd, 0, PAGE_SIZE)
        self._map = mmap.mmap(fd, PAGE_SIZE)
        os.close(fd)
        self._map[:8] = MAGIC
        self._map[16:32] = bytes.fromhex(boot_id())
        self.words = memoryview(self._map).cast("Q")
        self.seconds = memoryview(self._map).cast("d")
        self.renew(60)
        self.set(RUN)

    def set(self, word: int) -> None:
        self.words[FIRST_WORD + SLOT] = word

    def renew(self, seconds: float) -> None:
        deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        self.words[LEASE] = int(deadline * 1e9)
        self.seconds[LEASE_SECONDS] = deadline

    def guard(self) -> Guard:
        return Guard.from_page(str(self.path), SLOT)
