"""The warden's end of the link to the finder; nothing here ever waits."""

from __future__ import annotations

import socket

from offswitch.control.place import Place
from offswitch.model.named import Named
from offswitch.warden.children import launch
from offswitch.warden.helper_link import HelperLink

__all__ = ["FinderLink"]


class FinderLink(HelperLink):
    """Says who is wanted, and hears where they are."""

    __slots__ = ()

    @classmethod
    def start(cls, place: Place, log: str | int) -> FinderLink:
        """Start a finder, its errors going to the file `log`; it ends when this end closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            fd = theirs.fileno()
            args = ["--link", str(fd), "--ground", place.cgroup]
            pid = launch("offswitch.warden.finder", args, [fd], log)
        return cls(ours, pid)

    def want(self, target: str, named: Named) -> None:
        """Have it tell, from now on, where the cgroup of that name is."""
        self.say({"op": "want", "target": target, "as": {named.kind: named.value}})

    def drop(self, target: str) -> None:
        """Have it tell no longer."""
        self.say({"op": "drop", "target": target})

    def resolve(self, number: int, pid: int) -> None:
        """Ask which name the cgroup of a process goes by; the answer bears `number`."""
        self.say({"op": "resolve", "id": number, "pid": pid})
