"""A canary for packet filters: sockets of cgroups of their own, which are really cut.

A filter that names a wrong level of the tree succeeds and matches nothing. So a child goes into a
cgroup twelve deep, makes sockets there, hands them over and ends; the cgroups are removed again,
and the sockets bear their numbers as long as they live. One socket has an ancestor at every depth,
so it proves the rule of each: cut that ancestor, and a connection must be refused that was made
before, and is made afterwards.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from offswitch.actuators.canary import born_in, dissolve, sends

__all__ = ["DEEPEST", "Canary", "depth_of", "tree"]

DEEPEST = 12
_PATIENCE_S = 0.2


def tree() -> str | None:
    """Find where the v2 tree is mounted; on hybrid hosts that is not /sys/fs/cgroup."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(" ")
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    return None


def depth_of(path: str) -> int:
    """Say how deep a cgroup lies below the root of the tree; 0: it lies in no tree of ours."""
    root = tree()
    if root is None or not path.startswith(f"{root}/"):
        return 0
    return path.removeprefix(f"{root}/").rstrip("/").count("/") + 1


class Canary:
    """Sockets that nobody else's cut concerns."""

    __slots__ = ("_tcp", "_udp", "ids")

    def __init__(self, name: str) -> None:
        """Make them, as root; OSError where that cannot be done."""
        root = tree()
        if root is None:
            raise OSError(2, "no cgroup v2 tree is mounted")
        self.ids: dict[int, int] = {}
        """Depth → number of the ancestor there."""
        folders, path = [], f"{root}/{name}"
        try:
            for depth in range(1, DEEPEST + 1):
                os.mkdir(path)
                folders.append(path)
                self.ids[depth] = os.stat(path).st_ino
                path += "/c"
            self._tcp, self._udp = born_in(folders[-1])
        finally:
            for folder in reversed(folders):
                with suppress(OSError):
                    os.rmdir(folder)

    def connects(self) -> bool:
        """Tell whether it can make a connection."""
        self._tcp.settimeout(_PATIENCE_S)
        with socket.create_server(("127.0.0.1", 0)) as listener:  # no longer than it takes
            try:
                self._tcp.connect(listener.getsockname())
            except OSError:
                return False
            finally:
                dissolve(self._tcp)
        return True

    def sends(self) -> bool:
        """Tell whether it can send a datagram."""
        return sends(self._udp)

    def close(self) -> None:
        """Let go of it."""
        for each in (self._tcp, self._udp):
            each.close()
