"""The warden's end of the link to the observer; nothing here ever waits."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from offswitch.warden.children import launch
from offswitch.warden.helper_link import HelperLink

__all__ = ["ObserverLink"]


class ObserverLink(HelperLink):
    """Asks, and hears answers and events."""

    __slots__ = ()

    @classmethod
    def start(cls, log: str | int) -> ObserverLink:
        """Start an observer, its errors going to the file `log`; it ends when this end closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            fd = theirs.fileno()
            pid = launch("offswitch.warden.observer", ["--link", str(fd)], [fd], log)
        return cls(ours, pid)

    def look(
        self,
        number: int,
        facts: dict[str, Any],
        layers: Sequence[str],
        level: str,
        deadline_ms: int,
    ) -> None:
        """Have a cell looked at; one answer a layer comes under `number`."""
        self.say(
            {
                "op": "look",
                "id": number,
                "cell": facts,
                "layers": list(layers),
                "level": level,
                "deadline_ms": deadline_ms,
            }
        )

    def ping(self) -> None:
        """Have it say that it turns."""
        self.say({"op": "ping"})

    def watch(self, facts: dict[str, Any], level: str) -> None:
        """Have a cell watched from now on."""
        self.say({"op": "watch", "cell": facts, "level": level})

    def show_net(self, name: str, fd: int) -> None:
        """Give it a conversation about sockets in the network that a cell has to itself."""
        self.say({"op": "net", "name": name, "shown": True}, fd)

    def hide_net(self, name: str) -> None:
        """Have it let go of that."""
        self.say({"op": "net", "name": name, "shown": False})

    def show_prober(self, number: int, fd: int) -> bool:
        """Give it the link to whoever asks gateways' listeners; false: it could not be given."""
        return self.say({"op": "prober", "number": number}, fd)

    def show_table(self, number: int, fd: int) -> bool:
        """Give it a gateway's flow table; false where it could not be given just now."""
        return self.say({"op": "table", "number": number, "shown": True}, fd)

    def hide_table(self, number: int) -> None:
        """Have it let go of that."""
        self.say({"op": "table", "number": number, "shown": False})

    def show_sight(self, number: int, fd: int) -> bool:
        """Give it the link to whoever looks at what a hand has done; false: not just now."""
        return self.say({"op": "sight", "number": number, "shown": True}, fd)

    def hide_sight(self, number: int) -> None:
        """Have it let go of that."""
        self.say({"op": "sight", "number": number, "shown": False})

    def unwatch(self, name: str) -> None:
        """Have it watched no longer."""
        self.say({"op": "unwatch", "name": name})
