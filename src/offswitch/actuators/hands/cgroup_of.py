"""The cgroups that processes were seen in, and whether anything is left in them.

What an engine or a supervisor says of its processes is its own word. The kernel's is the file
`cgroup.events` of a v2 cgroup (it counts what is below, too), or the lists of processes of a v1
tree. A folder that is gone holds nobody. What cannot be read is not counted: the engine's word
stands alone then.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

__all__ = ["CgroupOf", "bears"]

_ROOT = "/sys/fs/cgroup"
_MOST_FOLDERS = 256
_MOST_KNOWN = 64
_LONGEST = 4000


def bears(pid: int, name: str) -> bool:
    """Whether there is a process `pid`, and its cgroup bears `name`; unknown is yes."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return name in file.read(1 << 16)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno != errno.ESRCH


class CgroupOf:
    """Remembers folders by what is in them."""

    def __init__(self, root: str = _ROOT) -> None:
        """Look below `root`."""
        self._root = root
        self._folders: dict[str, bool] = {}
        """Folder → whether it may come again by that name."""

    def note(self, name: str, pid: int) -> None:
        """Remember where process `pid` is, if its cgroup bears `name`; a container's bears its id.

        One that does not is shared with others: that it is populated would say nothing.
        """
        with suppress(OSError):
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
            for line in lines:
                _, controllers, path = line.split(":", 2)
                folder = self._folder(controllers, path) if name in path else None
                if folder is not None and len(self._folders) < _MOST_KNOWN:
                    self._folders[folder] = False
                    return

    def keep(self, folder: str) -> None:
        """Remember a folder by its path from the root of the tree: a new one may bear its name."""
        found = self._folder("", folder)
        if found is not None:
            self._folders[found] = True

    @property
    def told(self) -> str:
        """What is remembered, for a process that comes in the place of this one."""
        text = "".join(f"{int(again)}{folder}\n" for folder, again in self._folders.items())
        return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition("\n")[0]

    def learn(self, told: str) -> None:
        """Remember what an earlier process did."""
        for line in told.splitlines():
            if line[1:].startswith(self._root):
                self._folders[line[1:]] = line[0] == "1"

    def populated(self) -> str:
        """Name a folder in which there is a process; empty: there is none."""
        for folder in (*self._folders,):
            if not os.path.isdir(folder):
                if not self._folders[folder]:
                    del self._folders[folder]
            elif _populated(folder):
                return folder.removeprefix(self._root)
        return ""

    def _folder(self, controllers: str, path: str) -> str | None:
        if not path.startswith("/") or "/.." in path or path == "/":
            return None
        trees = (
            ("", "unified") if not controllers else (controllers, controllers.removeprefix("name="))
        )
        for tree in trees:
            folder = os.path.join(self._root, tree, path.lstrip("/"))
            if os.path.isfile(f"{folder}/cgroup.procs"):
                return folder
        return None


def _populated(folder: str) -> bool:
    try:
        with open(f"{folder}/cgroup.events", encoding="ascii") as file:
            return "populated 1" in file.read(4096)
    except OSError:
        pass  # a v1 tree has none
    for seen, (place, _folders, _files) in enumerate(os.walk(folder)):
        with suppress(OSError), open(f"{place}/cgroup.procs", encoding="ascii") as file:
            if file.read(16).strip():
                return True
        if seen > _MOST_FOLDERS:
            return True
    return False
