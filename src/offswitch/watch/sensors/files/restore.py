"""Where a destroyed file can be had again, and by which command: git's objects, snapshots.

Nothing of a repository is believed but what can be checked, and nothing of it is run: its
configuration may name programs (fsmonitor, hooks, filters, a remote to fetch what is missing), so
no git is asked. A file that was watched is known by the name that git gives to its content;
whether a repository has an object of that name is seen in its folder of objects. A loose
object is unpacked and must be that content; an object in a pack is looked up in the pack's index,
which is trusted (gitformat-pack(5), version 2).

The command that is told, `git cat-file blob NAME > PATH`, reads exactly that object: unlike
`git restore` it runs neither hooks nor filters of a repository that may be hostile, and it means
the same whatever HEAD or the index say by then. A snapshot's copy counts only if it is read
to be the same content, or, of a file larger than a megabyte, of the same size.
"""

from __future__ import annotations

import glob
import os
import shlex
import stat
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from offswitch.watch.sensors.files.tree import WHOLE, Facts, blob_name
from offswitch.watch.unlinked import FILE, FOLDER, open_unlinked

__all__ = ["Origin", "Repository", "Restorer", "snapshots_of"]

_MOST_REPOSITORIES = 1000
_MOST_PACKS = 256
_MOST_SNAPSHOTS = 32
_USUAL = (("/.zfs/snapshot", "/*"), ("/.snapshots", "/*/snapshot"), ("/.snapshot", "/*"))
"""Where ZFS, snapper (btrfs) and file servers keep snapshots, and what below is one."""
_PACKED_LIMIT = WHOLE + (64 << 10)
_INDEX_MAGIC = b"\xfftOc\0\0\0\2"
_FAN_OUT_AT, _NAMES_AT, _NAME = 8, 8 + 1024, 20
_LONGEST_POINTER = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file can be had again."""

    command: str
    """A line for a shell, hostile names quoted."""
    repository: str = ""
    """The work tree whose repository has it; empty: a snapshot has."""


class Repository:
    """The objects of a git repository, read and never run."""

    __slots__ = ("_objects", "_packs", "_packs_us", "path")

    def __init__(self, path: str, objects: str) -> None:
        """Look into the folder `objects` of the repository whose work tree is `path`."""
        self.path = path
        self._objects = objects
        self._packs: tuple[str, ...] = ()
        self._packs_us = -1

    @classmethod
    def of(cls, path: str) -> Repository | None:
        """Find the repository whose work tree is `path`, if it is one's."""
        try:
            return cls(path, f"{_common(path)}/objects")
        except OSError:
            return None

    def there(self) -> bool:
        """Tell whether it still has a folder of objects and a HEAD."""
        with suppress(OSError):
            for name in ("objects", "HEAD"):
                os.stat(f"{os.path.dirname(self._objects)}/{name}", follow_symlinks=False)
            return True
        return False

    def has(self, blob: str) -> bool:
        """Tell whether it has the object of this name."""
        with suppress(OSError):
            if self._loose(blob):
                return True
        name = bytes.fromhex(blob)
        for pack in self._listed():
            with suppress(OSError):
                if _in_index(pack, name):
                    return True
        return False

    def _loose(self, blob: str) -> bool:
        fd = open_unlinked(f"{self._objects}/{blob[:2]}", blob[2:], FILE)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return False
            packed = os.pread(fd, _PACKED_LIMIT, 0)
        finally:
            os.close(fd)
        try:
            whole = zlib.decompressobj().decompress(packed, _PACKED_LIMIT)
        except zlib.error:
            return False
        return blob_name(whole.partition(b"\0")[2]).hex() == blob

    def _listed(self) -> tuple[str, ...]:
        """List the packs, again when their folder has changed."""
        folder = f"{self._objects}/pack"
        try:
            changed = os.stat(folder, follow_symlinks=False).st_mtime_ns
            if changed != self._packs_us:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in islice(entries, 4 * _MOST_PACKS)]
                found = sorted(name for name in names if name.endswith(".idx"))
                self._packs = tuple(f"{folder}/{name}" for name in found[:_MOST_PACKS])
                self._packs_us = changed
        except OSError:
            self._packs, self._packs_us = (), -1
        return self._packs


def _common(path: str) -> str:
    """Give the folder with HEAD and objects: `.git`, or what a file of that name points to."""
    inside = f"{path}/.git"
    facts = os.stat(inside, follow_symlinks=False)
    if stat.S_ISREG(facts.st_mode):
        said = _pointer(path, ".git")
        if not said.startswith("gitdir: "):
            raise OSError(0, "it points nowhere")
        inside = os.path.normpath(os.path.join(path, said.removeprefix("gitdir: ")))
        with suppress(FileNotFoundError):
            inside = os.path.normpath(os.path.join(inside, _pointer(inside, "commondir")))
    if not stat.S_ISDIR(os.stat(f"{inside}/objects", follow_symlinks=False).st_mode):
        raise OSError(0, "it has no objects")
    return inside


def _pointer(folder: str, name: str) -> str:
    fd = open_unlinked(folder, name, FILE)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        return os.fsdecode(os.pread(fd, _LONGEST_POINTER, 0)).rstrip("\r\n")
    finally:
        os.close(fd)


def _in_index(path: str, name: bytes) -> bool:
    """Look an object up in the index of a pack that is there; by reads, never by a mapping.

    A mapping of a file that its owner cuts short would kill us.
    """
    folder, index = os.path.split(path)
    os.stat(path.removesuffix(".idx") + ".pack", follow_symlinks=False)
    fd = open_unlinked(folder, index, FILE)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.pread(fd, 8, 0) != _INDEX_MAGIC:
            return False
        first = name[0]
        low = int.from_bytes(os.pread(fd, 4, _FAN_OUT_AT + 4 * (first - 1))) if first else 0
        high = int.from_bytes(os.pread(fd, 4, _FAN_OUT_AT + 4 * first))
        while low < high:
            middle = (low + high) // 2
            here = os.pread(fd, _NAME, _NAMES_AT + _NAME * middle)
            if here == name:
                return True
            if len(here) == _NAME and here < name:
                low = middle + 1
            else:
                high = middle
        return False
    finally:
        os.close(fd)


def snapshots_of(path: str, patterns: Sequence[str] = ()) -> list[str]:
    """Find folders that hold what was below `path` earlier, the youngest first.

    Each of `patterns` names such folders; beside them, what btrfs with snapper, ZFS and file
    servers keep above `path` is found by its usual name, where only root may write it.
    """
    found = [one for pattern in patterns for one in sorted(glob.glob(pattern))[-_MOST_SNAPSHOTS:]]
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        above, rest = "/".join(parts[:depth]), "/".join(["", *parts[depth:]]).rstrip("/")
        for usual, pattern in _USUAL:
            if not _roots(above + usual):
                continue
            there = sorted(glob.glob(glob.escape(above + usual) + pattern))[-_MOST_SNAPSHOTS:]
            found += [one + rest for one in there if _roots(one)]
    dated = []
    for one in found:
        with suppress(OSError):
            fd = open_unlinked(os.path.realpath(one), "", FOLDER)
            dated.append((os.fstat(fd).st_mtime_ns, os.path.realpath(one)))
            os.close(fd)
    return [one for _time, one in sorted(dated, reverse=True)][:_MOST_SNAPSHOTS]


def _roots(path: str) -> bool:
    """Tell whether a folder is root's, and only root may write it."""
    try:
        facts = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == 0 and not facts.st_mode & 0o022


class Restorer:
    """Says for a file how it can be had again."""

    __slots__ = ("_repositories", "_snapshots")

    def __init__(self, snapshots: Sequence[str]) -> None:
        """Look into these snapshots, and into repositories as they are met."""
        self._snapshots = tuple(snapshots)
        self._repositories: dict[str, Repository] = {}

    def meet(self, path: str) -> None:
        """A folder at `path` holds a `.git`, or may."""
        if self._repositories.get(path) is None and len(self._repositories) < _MOST_REPOSITORIES:
            repository = Repository.of(path)
            if repository is not None:
                self._repositories[path] = repository

    def lost(self) -> list[str]:
        """Name the repositories that were there and are not any more; each once."""
        gone = [path for path, one in self._repositories.items() if not one.there()]
        for path in gone:
            del self._repositories[path]
        return gone

    def origin(self, path: str, relative: str, facts: Facts | None) -> Origin | None:
        """Say where the file at `path` (`relative` to what is watched) can be had again."""
        if facts is None:
            return None
        blob = facts.blob
        to = f"mkdir -p {shlex.quote(os.path.dirname(path))} && "
        if blob is not None:
            for repository in self._above(path):
                if repository.has(blob):
                    get = f"git -C {shlex.quote(repository.path)} cat-file blob {blob}"
                    return Origin(f"{to}{get} > {shlex.quote(path)}", repository.path)
        for snapshot in self._snapshots:
            if _same(snapshot, relative, facts):
                copy = shlex.join(["cp", "-a", "--", f"{snapshot}/{relative}", path])
                return Origin(f"{to}{copy}")
        return None

    def _above(self, path: str) -> list[Repository]:
        """Give the repositories that the file lies in, the innermost first."""
        found = []
        at = path
        while at != "/":
            at = os.path.dirname(at)
            known = self._repositories.get(at)
            if known is not None:
                found.append(known)
        return found


def _same(snapshot: str, relative: str, facts: Facts) -> bool:
    """Tell whether a snapshot has the same content."""
    folder, name = os.path.split(relative)
    try:
        fd = open_unlinked(f"{snapshot}/{folder}", name, FILE)
    except OSError:
        return False
    try:
        here = os.fstat(fd)
        if not stat.S_ISREG(here.st_mode) or here.st_size != facts.size:
            return False
        if facts.blob is None:
            return True
        return blob_name(os.pread(fd, WHOLE, 0)).hex() == facts.blob
    except OSError:
        return False
    finally:
        os.close(fd)
