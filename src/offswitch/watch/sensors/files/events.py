"""What happens to the files below a folder, as the kernel tells it: by fanotify, else by inotify.

                        fanotify                         inotify
    who may             root, before rights are given     anybody
                        away; the eye reads on
    new folders         nothing to do                     each wants a watch of its own
    who did it          pid                               unknown
    limit               the queue                         the queue, watches of a user

Both give the same happenings, in order, with folders of the shadow in place of handles and
watches. What the kernel dropped is counted in `lost`, what could not be watched in `unwatched`;
neither is ever silent.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from offswitch.control import inotify
from offswitch.watch.sensors.files import fanotify
from offswitch.watch.sensors.files.tree import Folder, Tree

__all__ = ["ByFanotify", "ByInotify", "FileEvents", "Happening"]

_MOST_ELSEWHERE = 20_000
_MOST_PARTS = 2048
_FEWEST_IN_A_READ = 200
"""Events of inotify with the longest names that fill a reading: fewer, and it is empty."""
_INOTIFY = inotify.MODIFIED | inotify.CREATED | inotify.DELETED | inotify.MOVED
_MOVED_FROM, _MOVED_TO = 0x40, 0x80
_IGNORED, _FOLDER = 0x8000, 0x4000_0000


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to an entry."""

    what: Literal["created", "modified", "deleted", "renamed"]
    folder: Folder | None
    """Where; of a rename: where it was, None: outside of what is watched."""
    name: str
    is_folder: bool = False
    pid: int = 0
    """Who did it; 0: unknown."""
    to: Folder | None = None
    """Of a rename: where it is now; None: outside."""
    to_name: str = ""
    to_path: str = ""
    """Of a rename to the outside: where that is, if it is known."""


class FileEvents(Protocol):
    """A source of happenings."""

    lost: int
    """How often the kernel's queue has overflowed."""
    unwatched: int
    """How many folders could not be watched."""
    more: bool
    """Whether there may be more in the queue than the last reading gave."""
    stirred: bool
    """Whether the last reading gave anything, be it of others."""
    note: str
    """What people should know of this way of watching."""

    def fileno(self) -> int:
        """Give the descriptor that becomes readable."""
        ...

    def know(self, folder: Folder) -> None:
        """Hear of the entries of a folder from now on; OSError if it is gone."""
        ...

    def forget(self, folder: Folder) -> None:
        """A folder is gone, or outside by now."""
        ...

    def read(self) -> list[Happening]:
        """Give what happened since the last call; bounded, never blocks."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class ByFanotify:
    """Hears of a whole file system, and keeps what happened below the root of a tree."""

    __slots__ = ("_elsewhere", "_group", "_known", "_meet", "_tree", "lost", "more", "note",
                 "stirred", "unwatched")  # fmt: skip

    def __init__(self, group: int, tree: Tree, meet: Callable[[list[str]], Folder | None]) -> None:
        """Read `group`; `meet` takes in a folder that was not known, by the names that lead to it.

        It gives None for one that is ignored.
        """
        self._group = group
        self._tree = tree
        self._meet = meet
        self._known: dict[fanotify.Handle, Folder] = {}
        self._elsewhere: set[fanotify.Handle] = set()
        self.lost = self.unwatched = 0
        self.more, self.stirred = True, False
        self.note = ""

    def fileno(self) -> int:
        """Give the group."""
        return self._group

    def know(self, folder: Folder) -> None:
        """Note its handle."""
        handle = fanotify.handle_of(self._tree.opened(folder))
        folder.key = handle
        self._known[handle] = folder
        self._elsewhere.discard(handle)

    def forget(self, folder: Folder) -> None:
        """Drop its handle."""
        for one in folder.below():
            if isinstance(one.key, tuple) and self._known.get(one.key) is one:
                del self._known[one.key]

    def read(self) -> list[Happening]:
        """Read the queue, bounded."""
        found: list[Happening] = []
        events, self.more = fanotify.read_events(self._group)
        self.stirred = bool(events)
        for event in events:
            if event.mask & fanotify.OVERFLOW:
                self.lost += 1
            elif event.folder is not None:
                self._hear(event, found)
        return found

    def _hear(self, event: fanotify.Event, found: list[Happening]) -> None:
        assert event.folder is not None  # noqa: S101 - seen by the caller
        mask, pid = event.mask, event.pid
        is_folder = bool(mask & fanotify.FOLDER)
        folder = self._find(event.folder)
        if mask & fanotify.RENAMED and event.to_folder is not None:
            to = self._find(event.to_folder)
            if is_folder:
                self._elsewhere.clear()  # what lay below it may be inside now
            if folder is not None or to is not None:
                path = "" if to is not None else self._path(event.to_folder, event.to_name)
                found.append(
                    Happening(
                        "renamed", folder, event.name, is_folder, pid, to, event.to_name, path
                    )
                )
            return
        if folder is None:
            return
        # The kernel joins what happened to one entry: in this order it makes sense.
        if mask & fanotify.CREATED:
            found.append(Happening("created", folder, event.name, is_folder, pid))
        if mask & fanotify.MODIFIED:
            found.append(Happening("modified", folder, event.name, is_folder, pid))
        if mask & fanotify.DELETED:
            found.append(Happening("deleted", folder, event.name, is_folder, pid))

    def _find(self, handle: fanotify.Handle) -> Folder | None:
        """Find the folder of a handle; None: it lies elsewhere, or is ignored, or gone."""
        known = self._known.get(handle)
        if known is not None or handle in self._elsewhere:
            return known
        root, path = self._tree.path, self._path(handle, "")
        folder = None
        if path.startswith(root.rstrip("/") + "/") and path.count("/") < _MOST_PARTS:
            folder = self._meet(path[len(root.rstrip("/")) + 1 :].split("/"))
            if folder is not None and folder.key != handle:
                self._know_anew(folder)
            if folder is not None and folder.key == handle:
                return folder
        if len(self._elsewhere) >= _MOST_ELSEWHERE:
            self._elsewhere.clear()
        self._elsewhere.add(handle)
        return None

    def _know_anew(self, folder: Folder) -> None:
        """Another folder bears a name that we know: from now on it is meant."""
        folder.inode = 0
        self._tree.rest()
        with suppress(OSError):
            self.know(folder)

    def _path(self, handle: fanotify.Handle, name: str) -> str:
        """Give the path of an entry of a folder that is not known; empty if it is gone."""
        try:
            fd = fanotify.open_handle(self._tree.mount, handle)
        except OSError:
            return ""
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return ""
        finally:
            os.close(fd)
        if path.endswith(" (deleted)"):
            return ""
        return f"{path.rstrip('/')}/{name}" if name else path

    def close(self) -> None:
        """Close our copy of the group."""
        if self._group >= 0:
            os.close(self._group)
            self._group = -1


class ByInotify:
    """Hears of each folder by a watch of its own."""

    __slots__ = ("_half", "_inotify", "_known", "_tree", "lost", "more", "note", "stirred",
                 "unwatched")  # fmt: skip

    def __init__(self, tree: Tree) -> None:
        """Open an instance; OSError where none is left."""
        self._inotify = inotify.Inotify()
        self._tree = tree
        self._known: dict[int, Folder] = {}
        self._half: tuple[int, Happening] | None = None
        """The first half of a rename, and the cookie that the other one will bear."""
        self.lost = self.unwatched = 0
        self.more, self.stirred = True, False
        self.note = "by inotify: which process did it is not known"

    def fileno(self) -> int:
        """Give the instance."""
        return self._inotify.fileno()

    def know(self, folder: Folder) -> None:
        """Put a watch on it."""
        fd = self._tree.opened(folder)
        try:
            watch = self._inotify.add_folder(f"/proc/self/fd/{fd}", _INOTIFY)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.unwatched += 1
            return
        folder.key = watch
        self._known[watch] = folder

    def forget(self, folder: Folder) -> None:
        """Take the watches below it off."""
        for one in folder.below():
            if isinstance(one.key, int) and self._known.get(one.key) is one:
                del self._known[one.key]
                self._inotify.remove(one.key)

    def read(self) -> list[Happening]:
        """Read the queue, bounded; half a rename at its end waits one look for its other half."""
        found: list[Happening] = []
        begun: dict[int, int] = {}
        if self._half is not None:
            cookie, first = self._half
            begun[cookie] = 0
            found.append(first)
            self._half = None
        events = self._inotify.read()
        self.stirred, self.more = bool(events), len(events) >= _FEWEST_IN_A_READ
        for event in events:
            self._hear(event, begun, found)
        if events and begun.get(events[-1].cookie) == len(found) - 1 and found:
            self._half = (events[-1].cookie, found.pop())
        return found

    def _hear(self, event: inotify.Event, begun: dict[int, int], found: list[Happening]) -> None:
        if event.watch < 0:
            self.lost += 1
            return
        if event.mask & _IGNORED:
            self._known.pop(event.watch, None)
            return
        folder = self._known.get(event.watch)
        if folder is None or not event.name:
            return
        name, is_folder = os.fsdecode(event.name), bool(event.mask & _FOLDER)
        if event.mask & _MOVED_FROM:
            # Without another half it has left what is watched.
            begun[event.cookie] = len(found)
            found.append(Happening("renamed", folder, name, is_folder))
        elif event.mask & _MOVED_TO:
            place = begun.pop(event.cookie, None)
            if place is not None:
                found[place] = replace(found[place], to=folder, to_name=name)
            else:
                found.append(Happening("renamed", None, "", is_folder, 0, folder, name))
        elif event.mask & inotify.CREATED:
            found.append(Happening("created", folder, name, is_folder))
        elif event.mask & inotify.DELETED:
            found.append(Happening("deleted", folder, name, is_folder))
        elif event.mask & inotify.MODIFIED:
            found.append(Happening("modified", folder, name, is_folder))

    @property
    def halves(self) -> bool:
        """Whether a rename waits for its other half."""
        return self._half is not None

    def close(self) -> None:
        """Close the instance."""
        with suppress(OSError):
            self._inotify.close()
