"""The page's only writer (SR-21).

    take ─► the file of this boot is taken over, or made: preallocated, 0444, one inode
    set  ─► one aligned word; a guard that maps the page sees it at once
    renew ─► the lease's deadline, on the clock that counts a suspend too

The file is preallocated, since a page that is only truncated to size kills its readers
with SIGBUS when tmpfs is full. It is never truncated nor replaced within a boot, or guards
would go on reading an inode that nobody writes. Its magic is written last, so a page that
is half made reads as *stop*. A slot that was handed out is never handed out again before a
reboot: 0, *stop*, is what an old cell finds in its slot for ever.

Without root a target shares our user, and so may write that file. The guards of its cells read
another page then: memory that has no name, to which everything is written as well, and which
the kernel lets nobody map to write but this very process (F_SEAL_FUTURE_WRITE, Linux 5.1). It
ends with this warden: under the next one its lease runs out, and such a guard says *stop*
until the target is started again.

The caller holds the run folder's lock: there is one writer.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import time

from offswitch.clock import boot_id
from offswitch.control import page
from offswitch.control.place import Place
from offswitch.control.vital import Vital
from offswitch.errors import Busy, Refused, Storage

__all__ = ["PageWriter", "open_folder"]

_LEASE_NS = 3_000_000_000
_F_SEAL_FUTURE_WRITE = 0x10
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | _F_SEAL_FUTURE_WRITE
"""The name is not in Python's library before 3.13."""


def open_folder(path: str) -> int:
    """Open a folder on tmpfs that is ours alone to write; anything else is refused.

    /dev/shm is open to everyone, so somebody may have made the folder before us.
    """
    hint = "remove it, or name another folder by OFFSWITCH_RUN"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Storage(f"{path} is not there", "start the warden again: it makes it") from None
    except OSError as error:
        raise Refused(f"{path} is no folder of ours: {error.strerror}", hint) from None
    info = os.fstat(fd)
    if info.st_uid != os.geteuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(fd)
        whose = f"user {info.st_uid}, mode {stat.S_IMODE(info.st_mode):o}"
        raise Refused(f"{path} is there already and is not ours alone ({whose})", hint)
    return fd


def _open_file(folder: int, name: str, path: str) -> int:
    """Open the page to write, making it if there is none; a link or a stranger's is refused."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, 0o444, dir_fd=folder)
    except PermissionError:  # ours, but read-only even for us: without root the mode counts
        os.chmod(name, 0o644, dir_fd=folder)
        fd = os.open(name, flags & ~os.O_CREAT, dir_fd=folder)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "remove it: it is no page of ours") from None
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1:
        os.close(fd)
        raise Refused(f"{path} is no page of ours", "remove it, then start the warden again")
    os.fchmod(fd, 0o444)
    return fd


class PageWriter:
    """The page, to write. Nothing here blocks or fails once it was taken."""

    __slots__ = (
        "_inode",
        "_map",
        "_sealed",
        "_sealed_map",
        "_seconds",
        "_words",
        "damage",
        "lease_found",
        "observing",
        "path",
        "sealed_fd",
    )

    def __init__(self, path: str, mapped: mmap.mmap, inode: tuple[int, int]) -> None:
        """Hold the mapped page, of a file `inode` (device, number); `take` makes it."""
        self.path = path
        self._inode = inode
        self.sealed_fd = -1
        """The sealed page, to be inherited by targets; -1: none."""
        self._sealed_map: mmap.mmap | None = None
        self._sealed: memoryview[int] | None = None
        self.damage: str | None = None
        """What was wrong with the page that was found, if anything was."""
        self.observing = False
        """Whether nobody is to stop for want of a fresh lease (SR-15)."""
        self._map = mapped
        self._words = memoryview(mapped).cast("Q")
        self._seconds = memoryview(mapped).cast("d")
        self.lease_found = int(self._words[page.LEASE])
        """The lease's deadline as it was when the page was taken over."""

    @classmethod
    def take(cls, place: Place) -> PageWriter:
        """Take the page of this boot over, or make it; raises the epoch."""
        folder = open_folder(os.path.dirname(place.page))
        try:
            fd = _open_file(folder, os.path.basename(place.page), place.page)
        finally:
            os.close(folder)
        try:
            info = os.fstat(fd)
            os.posix_fallocate(fd, 0, page.PAGE_SIZE)
            mapped = mmap.mmap(fd, page.PAGE_SIZE)
        except OSError as error:
            raise Storage(
                f"{place.page}: no room for the page: {error.strerror}",
                "free memory on that tmpfs: without a page nothing may run",
            ) from None
        finally:
            os.close(fd)
        self = cls(place.page, mapped, (info.st_dev, info.st_ino))
        self._begin(info.st_size)
        if os.geteuid() != 0:
            self._seal_another()
        return self

    def _seal_another(self) -> None:
        """Make the page of the cells of a warden without root; where it cannot be, say so."""
        try:
            fd = os.memfd_create("offswitch-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, page.PAGE_SIZE)
            mapped = mmap.mmap(fd, page.PAGE_SIZE)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(fd)
            return
        mapped[:] = self._map[:]
        for each in (mapped, self._map):
            each.madvise(mmap.MADV_DONTFORK)  # a child that is on its way to a target has it not
        self.sealed_fd, self._sealed_map = fd, mapped
        self._sealed = memoryview(mapped).cast("Q")

    def _begin(self, found: int) -> None:
        """Make the header whole and raise the epoch. `found`: the size before, in bytes."""
        boot = bytes.fromhex(boot_id())
        header = self._map[: page.FIRST_WORD * 8]
        ours = header[:8] == page.MAGIC and header[16:32] == boot and found >= page.PAGE_SIZE
        fresh = not any(header) and not self._last_word()
        if not ours and not fresh:
            # Whose slots these were cannot be told any more: all say stop, none is used again.
            self.damage = f"{self.path} was short or garbled: all that ran must be started again"
            used = max(self._last_word(), page.SLOTS // 2)
            self._map[:] = bytes(page.PAGE_SIZE)
            self._words[page.HANDED_OUT] = used
        self._words[1] = page.PAGE_SIZE
        self._map[16:32] = boot
        self._words[page.WARDEN_EPOCH] += 1
        self._map[:8] = page.MAGIC

    def _last_word(self) -> int:
        """Count the slots up to the last one that is in use, to the eye."""
        used = bytes(self._map[page.FIRST_WORD * 8 :]).rstrip(b"\0")
        return -(-len(used) // 8)

    def go_on(self, epoch: int, slots: int) -> None:
        """Go on where the page of `epoch` ended, though this one may be new: `slots` were used.

        A page can be removed or emptied while cells live. Their keeper waits for a higher epoch,
        and no other target may get their words.
        """
        self._words[page.HANDED_OUT] = max(self._words[page.HANDED_OUT], min(slots, page.SLOTS))
        self._words[page.WARDEN_EPOCH] = max(self._words[page.WARDEN_EPOCH], epoch + 1)

    @property
    def used(self) -> int:
        """How many slots were handed out."""
        return int(self._words[page.HANDED_OUT])

    def trouble(self) -> str | None:
        """Say what happened to the file while it is mapped; None: it lies where it was."""
        try:
            info = os.stat(self.path, follow_symlinks=False)
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        if (info.st_dev, info.st_ino) != self._inode:
            return f"{self.path} is another file than the one in use"
        if info.st_size < page.PAGE_SIZE:
            return f"{self.path} was cut short"
        return None

    @property
    def epoch(self) -> int:
        """This warden's number in this boot."""
        return int(self._words[page.WARDEN_EPOCH])

    @property
    def forgeable(self) -> bool:
        """Whether a target could write what its guard reads: it shares our user, without root."""
        return os.geteuid() != 0 and self.sealed_fd < 0

    @property
    def handed_out(self) -> int:
        """How many slots were handed out in this boot."""
        return int(self._words[page.HANDED_OUT])

    def allot(self) -> int:
        """Hand out a slot that nobody had in this boot; its word is 0, *stop*, until it is set."""
        slot = int(self._words[page.HANDED_OUT])
        if slot >= page.SLOTS:
            raise Busy(
                f"the page's {page.SLOTS} slots were all handed out in this boot",
                "reboot; what runs can still be stopped",
            )
        self._words[page.HANDED_OUT] = slot + 1
        return slot

    def set(self, slot: int, word: int) -> None:
        """Set the word of a slot."""
        if not 0 <= slot < page.SLOTS:
            raise ValueError(f"no slot {slot}")
        self._words[page.FIRST_WORD + slot] = word
        if self._sealed is not None:
            self._sealed[page.FIRST_WORD + slot] = word

    def word(self, slot: int) -> int:
        """Read the word of a slot; 0 for one that does not exist."""
        return int(self._words[page.FIRST_WORD + slot]) if 0 <= slot < page.SLOTS else 0

    def renew(self, lease_ns: int = _LEASE_NS) -> None:
        """Let the lease last `lease_ns` from now, on CLOCK_BOOTTIME."""
        deadline_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + lease_ns
        deadline_ns += page.OBSERVED_NS * self.observing
        self._words[page.LEASE] = deadline_ns
        self._seconds[page.LEASE_SECONDS] = deadline_ns / 1e9
        if self._sealed is not None:
            for index in (page.LEASE, page.LEASE_SECONDS):
                self._sealed[index] = self._words[index]

    def keeper_ready(self, epoch: int) -> None:
        """Say that the keeper of `epoch` has everything: an older one may leave."""
        self._words[page.KEEPER_EPOCH] = epoch

    def live(self) -> Vital:
        """Show the sign of life of the calling thread; hold what is given as long as it lives."""
        return Vital(self._map)

    def close(self) -> None:
        """Let go of the mapping; the page stays, and its lease runs out."""
        if self._sealed is not None and self._sealed_map is not None:
            self._sealed.release()
            self._sealed_map.close()
            os.close(self.sealed_fd)
            self._sealed, self.sealed_fd = None, -1
        self._words.release()
        self._seconds.release()
        self._map.close()
