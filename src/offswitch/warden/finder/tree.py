"""The part of the cgroup tree in which names are looked for, followed by inotify(7).

The kernel tells of a cgroup that is made within some 50 µs, if the folder above is watched
(seen on Linux 6.18: mkdir and rmdir in a cgroup tree are reported like any others). Only those
folders are watched in which a name could appear, so the tree's owners can make as many
cgroups of their own as they like. A watch sits on an inode: a folder that goes away and
comes back gets a new one. Whatever was missed (an overflow, no watch left) is found by
`look`, which walks the same folders and is called now and then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from offswitch.control.inotify import CREATED, DELETED, Inotify

__all__ = ["Tree"]

_MOST = 8192
"""Folders that are watched at most; beyond that the walk finds what appears."""


class Tree:
    """Folders by their path from the tree's root, `/…`."""

    def __init__(self, root: str, within: Callable[[str], bool]) -> None:
        """`root`: where the tree is mounted. `within` says which folders are looked into."""
        self.root = root
        self._within = within
        self._inotify = Inotify()
        self._watched: dict[int, str] = {}
        self._folders: dict[str, tuple[int, int]] = {}
        """Path → its inode, and the number of its watch (-1: none)."""
        self._touched: list[str] = []

    def fileno(self) -> int:
        """Readable when something was made or removed."""
        return self._inotify.fileno()

    def __contains__(self, path: str) -> bool:
        """Whether there is such a folder, as far as is known."""
        return path in self._folders

    def __iter__(self) -> Iterator[str]:
        """Go through all that are known, by path."""
        return iter(sorted(self._folders))

    def inode(self, path: str) -> int:
        """Give the number of a folder, 0 for one that is not known."""
        return self._folders.get(path, (0, 0))[0]

    def below(self, path: str) -> list[str]:
        """List the known folders below `path`."""
        return [each for each in self._folders if each.startswith(path + "/")]

    def read(self) -> list[str] | None:
        """Take in what the kernel tells; give the paths that it is about (None: perhaps all)."""
        self._touched = []
        for event in self._inotify.read():
            if event.watch == -1:
                self.look()
                return None
            folder = self._watched.get(event.watch)
            if folder is None or not event.name:
                continue
            path = f"{folder.rstrip('/')}/{os.fsdecode(event.name)}"
            if event.mask & DELETED:
                self._lost(path)
            if event.mask & CREATED:
                self.enter(path)
        return self._touched

    def look(self) -> None:
        """Walk it: what was not told is found."""
        for path in list(self._folders):
            if _inode(self.root + path) != self.inode(path):
                self._lost(path)
        self.enter("/")

    def enter(self, path: str) -> None:
        """Take in a folder and what is in it. It may have come again, or be gone already."""
        inode = _inode(self.root + path)
        if inode == 0:
            self._lost(path)
            return
        known, watch = self._folders.get(path, (0, -1))
        if known and known != inode:
            self._lost(path)
            watch = -1
        self._folders[path] = (inode, watch)
        self._touched.append(path)
        if not self._within(path):
            return
        if watch < 0 and len(self._watched) < _MOST:
            self._folders[path] = (inode, self._follow(path))
        try:
            with os.scandir(self.root + path) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return  # it went away as we looked: its parent tells
        for name in names:
            self.enter(f"{path.rstrip('/')}/{name}")

    def _follow(self, path: str) -> int:
        try:
            watch = self._inotify.add_folder(self.root + path, CREATED | DELETED)
        except OSError:
            return -1  # gone, or no watch is left: `look` finds what appears in it
        self._watched[watch] = path
        return watch

    def _lost(self, path: str) -> None:
        """Forget a folder and all below it."""
        self._touched.append(path)
        for each in [path, *self.below(path)]:
            _number, watch = self._folders.pop(each, (0, -1))
            if self._watched.pop(watch, None) is not None:
                self._inotify.remove(watch)

    def close(self) -> None:
        """Follow nothing any more."""
        self._inotify.close()


def _inode(folder: str) -> int:
    try:
        return os.stat(folder).st_ino
    except OSError:
        return 0
