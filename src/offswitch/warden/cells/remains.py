"""What may be left of a target whose cell is gone: sockets, and processes of its user.

A cell is removed when it is empty and no process of its own user is left. But a job that it
left with a broker may begin later, and bytes that it queued may still be on their way. A stop
of such a target trips and looks at these, by the number that its sockets bear and by the user
that was its own. Neither is handed out again before a reboot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.warden.cells.cell import Cell

__all__ = ["Remains"]


@dataclass(frozen=True, slots=True)
class Remains:
    """Looks like a cell to the layers that can still do something."""

    name: str
    """The cell's."""
    cgroup_id: int | None
    """The number that its sockets bear; None on the lower rung."""
    uid: int
    own_uid: bool
    also: tuple[int, ...] = ()
    """Further numbers that its sockets may bear."""
    older: tuple[Sock, ...] = ()
    """Its sockets that bear another cgroup's number."""
    net: Diag | None = None
    """A network of its own is gone with its last process."""
    path: str | None = None
    """There is no folder any more."""
    enclosed: bool = False
    folder_fd: int = -1

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Give what may be left of `cell`."""
        also, older = tuple(cell.also), tuple(cell.older)
        return cls(cell.name, cell.cgroup_id, cell.uid, cell.own_uid, also, older)

    @classmethod
    def again(cls, facts: Mapping[str, Any]) -> Self:
        """Find them again from a cell's facts, or their own."""
        number = facts["cgroup_id"]
        known = int(number) if number is not None else None
        also = tuple(map(int, facts.get("also", ())))
        older = tuple(Sock.named(int(f), bytes.fromhex(i)) for f, i in facts.get("older", ()))
        uid, own = int(facts["uid"]), facts["own_uid"] is True
        return cls(str(facts["name"]), known, uid, own, also, older)

    @property
    def layers(self) -> list[str]:
        """Name the layers that can do something about them."""
        by_number = ["network"] if self.cgroup_id is not None else []
        return [*by_number, *(["sweep"] if self.own_uid else [])]

    def facts(self) -> dict[str, Any]:
        """Give what the observer and the next warden need."""
        return {
            "name": self.name,
            "path": None,
            "cgroup_id": self.cgroup_id,
            "uid": self.uid,
            "own_uid": self.own_uid,
            "also": list(self.also),
            "older": [[sock.family, sock.ident.hex()] for sock in self.older],
        }

    def kill(self) -> None:
        """Nothing is in it."""

    def freeze(self) -> None:
        """Nothing is in it."""

    def thaw(self) -> None:
        """Nothing is in it."""
