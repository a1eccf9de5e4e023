"""What is known of the files below a folder: a shadow, to tell what an event destroyed.

    Tree ─► Folder ─► Folder …            each folder knows its parent, so a rename is one step
                  └─► Facts of each file   size, inode, what its content was

Of a file's content one thing is kept: its *identity*. Up to a megabyte that is the name that git
would give it, which also tells whether a longer file still begins as the shorter one did,
and whether a repository or a snapshot has it. Of a larger file it is a keyed digest of its
first and last 64 KiB. Nothing here follows a link, opens what is no regular file, crosses into
another file system, or lists a folder of more than 200,000 entries.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from offswitch.control.canary import Canaries
from offswitch.watch.unlinked import FILE, FOLDER, open_unlinked

__all__ = ["WHOLE", "Facts", "Folder", "Tree", "blob_name"]

WHOLE = 1 << 20
"""Bytes of a file whose content is known as a whole."""
_SEARCHED = 4 << 20
"""Bytes of a larger file that are searched for canaries: its end."""
_END = 64 << 10
_DEEPEST = 2048
_MOST_OPEN = 64
_MOST_ENTRIES = 200_000
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KEY = secrets.token_bytes(16)


@dataclass(slots=True, eq=False)
class Facts:
    """What is known of a file."""

    size: int
    inode: int
    born_us: int = 0
    """When it was first seen, monotonic; 0: it was there when the sensor began."""
    content: bytes | None = None
    """Its identity; None: not known yet, or it could not be read."""

    @property
    def blob(self) -> str | None:
        """The name that git gives to its content; None where that is not known."""
        return self.content.hex() if self.content is not None and self.size <= WHOLE else None


@dataclass(slots=True, eq=False)
class Folder:
    """A folder that is known."""

    name: str
    parent: Folder | None
    key: object = None
    """How events name it: a handle, or the number of a watch."""
    folders: dict[str, Folder] = field(default_factory=dict)
    files: dict[str, Facts] = field(default_factory=dict)
    scanned: bool = False
    inode: int = 0
    """Which folder it was when it was first opened under its name; 0: not opened yet."""
    misses: int = 0
    """How often in a row it was not there when it was to be read."""

    def parts(self) -> list[str]:
        """Give the names that lead to it from the root."""
        parts: list[str] = []
        at = self
        while at.parent is not None and len(parts) <= _DEEPEST:
            parts.append(at.name)
            at = at.parent
        return parts[::-1]

    def attached(self) -> bool:
        """Tell whether it is still known under its name."""
        at = self
        for _ in range(_DEEPEST):
            if at.parent is None:
                return not at.name
            if at.parent.folders.get(at.name) is not at:
                return False
            at = at.parent
        return False

    def below(self) -> Iterator[Folder]:
        """Give it and all folders below."""
        waiting = [self]
        while waiting:
            at = waiting.pop()
            yield at
            waiting += at.folders.values()


class Tree:
    """The shadow of all that is below one path."""

    __slots__ = ("_canaries", "_device", "_fd", "_open", "_readable", "files", "path", "root")

    def __init__(self, path: str, canaries: Canaries | None = None) -> None:
        """Begin with the folder at `path`, of which nothing is known yet; OSError if it is none."""
        self._canaries = canaries
        self.path = path
        self._fd = open_unlinked(path, "", FOLDER)
        self._device = os.fstat(self._fd).st_dev
        try:
            self._readable = os.open(".", _LISTED, dir_fd=self._fd)
        except OSError:
            os.close(self._fd)
            raise
        self._open: dict[Folder, int] = {}
        self.root = Folder("", None)
        self.files = 0
        """How many files are known."""

    @property
    def mount(self) -> int:
        """The root, readable: handles are opened by that only (open_by_handle_at(2))."""
        return self._readable

    def replaced(self) -> bool:
        """Tell whether the path names another folder by now, or none."""
        here = os.fstat(self._fd)
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return True
        return (named.st_dev, named.st_ino) != (here.st_dev, here.st_ino)

    def path_of(self, folder: Folder, name: str = "") -> str:
        """Give the path of a folder, or of an entry of it."""
        return "/".join([self.path, *folder.parts(), *([name] if name else [])])

    def opened(self, folder: Folder) -> int:
        """Give a descriptor of a folder, ours until `rest`.

        OSError (ENOENT) if it is gone or has moved, though another one may bear its name by now.
        """
        fd = self._open.get(folder)
        if fd is None:
            if len(self._open) >= _MOST_OPEN:
                self.rest()
            fd = open_unlinked("/".join(folder.parts()), "", FOLDER, below=self._fd)
            inode = os.fstat(fd).st_ino
            if folder.inode not in {0, inode}:
                os.close(fd)
                raise OSError(errno.ENOENT, "another one bears its name")
            folder.inode = inode
            self._open[folder] = fd
        return fd

    def rest(self) -> None:
        """Close what was opened on the way."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def entries(self, folder: Folder) -> Iterator[tuple[str, os.stat_result]]:
        """List a folder's files and folders on the same file system, links left out."""
        fd = self.opened(folder)
        readable = os.open(".", _LISTED, dir_fd=fd)
        try:
            with os.scandir(readable) as entries:
                for number, entry in enumerate(entries):
                    if number >= _MOST_ENTRIES:
                        raise OSError(errno.EOVERFLOW, "it holds too many entries")
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # it went meanwhile
                    kind = stat.S_IFMT(facts.st_mode)
                    if kind in {stat.S_IFREG, stat.S_IFDIR} and facts.st_dev == self._device:
                        yield entry.name, facts
        finally:
            os.close(readable)

    def stat(self, folder: Folder, name: str) -> os.stat_result | None:
        """Give the facts of a regular file; None if it is gone, or none."""
        try:
            facts = os.stat(name, dir_fd=self.opened(folder), follow_symlinks=False)
        except OSError:
            return None
        return facts if stat.S_ISREG(facts.st_mode) and facts.st_dev == self._device else None

    def read(self, folder: Folder, name: str, before: Facts | None) -> tuple[Facts, bool] | None:
        """Learn a file's content; tells also whether it still begins as it did `before`.

        None: it is gone, or it cannot be read.
        """
        try:
            fd = os.open(name, FILE, dir_fd=self.opened(folder))
        except OSError:
            return None
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or facts.st_dev != self._device:
                return None
            known = Facts(facts.st_size, facts.st_ino, before.born_us if before else 0)
            return _learnt(fd, known, before)
        except OSError:
            return None
        finally:
            os.close(fd)

    def canaries(self, folder: Folder, name: str) -> list[str]:
        """Name the tokens that a file holds; of a large one its last 4 MiB are searched."""
        if self._canaries is None:
            return []
        try:
            fd = os.open(name, FILE, dir_fd=self.opened(folder))
        except OSError:
            return []
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                return []
            stream, found, at = self._canaries.stream(), [], max(facts.st_size - _SEARCHED, 0)
            while at < facts.st_size and (data := os.pread(fd, WHOLE, at)):
                found += stream.feed(data)
                at += len(data)
            return list(dict.fromkeys(found))
        except OSError:
            return []
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of everything."""
        self.rest()
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._readable)
            self._fd = self._readable = -1


def _learnt(fd: int, known: Facts, before: Facts | None) -> tuple[Facts, bool]:
    """Read what identifies a content, and compare its begin with what was known."""
    if known.size <= WHOLE:
        data = os.pread(fd, WHOLE + 1, 0)[:WHOLE]
        known.size = len(data)
        known.content = blob_name(data)
    else:
        data = b""
        known.content = _ends(fd, known.size)
    if before is None or before.content is None:
        return known, before is None or known.size >= before.size
    if known.size < before.size:
        return known, False
    if before.size <= WHOLE:
        begin = data[: before.size] if data else os.pread(fd, before.size, 0)
        return known, blob_name(begin) == before.content
    return known, _ends(fd, before.size) == before.content


def blob_name(data: bytes) -> bytes:
    """Give the name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()


def _ends(fd: int, size: int) -> bytes:
    """Digest the first and the last 64 KiB of the first `size` bytes."""
    whole = hashlib.blake2b(key=_KEY, digest_size=20)
    whole.update(os.pread(fd, _END, 0))
    whole.update(os.pread(fd, _END, max(size - _END, 0))[:_END])
    return whole.digest()
