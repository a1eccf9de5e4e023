"""What every way to stop promises: `arm` before, `trip` at the stop, `observe` from elsewhere.

    arm      says beforehand whether the layer would work here, by trying what can be tried
    trip     gives the command at once; it waits for no result and may be repeated
    observe  runs in the observer, another process, from other sources than the actuator's
             word (warden/observer/looks.py holds those of the local layers)

An actuator that cannot work says `absent` or `degraded`; it never pretends. `trip` raises
nothing that a caller could act on: what did not work is seen by the observer, which sees
nothing happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from offswitch.actuators.sock_diag import Diag, Sock

__all__ = ["Actuator", "Cell", "Readiness", "Ready"]


class Ready(StrEnum):
    """How sure it is that a layer would work."""

    READY = "ready"
    DEGRADED = "degraded"
    UNPROVEN = "unproven"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `arm`."""

    state: Ready
    detail: str = ""
    """For people: why, and what to do about it."""


class Cell(Protocol):
    """What an actuator needs to know of a cell; `warden/cells/cell.py` makes them."""

    @property
    def name(self) -> str:
        """The cell's name, unique in the installation."""
        ...

    @property
    def path(self) -> str | None:
        """Its folder in the v2 tree; None on the lower rung."""
        ...

    @property
    def enclosed(self) -> bool:
        """Whether it is a set of namespaces, which end together."""
        ...

    @property
    def folder_fd(self) -> int:
        """That folder, opened when the cell was made; -1 if there is none."""
        ...

    @property
    def cgroup_id(self) -> int | None:
        """The kernel's number of that folder, by which sockets are marked."""
        ...

    @property
    def also(self) -> Sequence[int]:
        """Further numbers that its sockets may bear: cgroups below an adopted one, earlier ones."""
        ...

    @property
    def older(self) -> Sequence[Sock]:
        """Its sockets that bear another cgroup's number: made before their owner came into it."""
        ...

    @property
    def net(self) -> Diag | None:
        """A conversation about sockets in a network that it has to itself; None: it has ours."""
        ...

    @property
    def uid(self) -> int:
        """The user that its processes run as."""
        ...

    @property
    def own_uid(self) -> bool:
        """Whether nobody else has that user, so that it may be swept."""
        ...

    def kill(self) -> None:
        """Kill everything in it."""
        ...

    def freeze(self) -> None:
        """Freeze everything in it."""
        ...

    def thaw(self) -> None:
        """Let it run again."""
        ...


class Actuator(Protocol):
    """One local layer."""

    def arm(self, cell: Cell) -> Readiness:
        """Say whether a trip of this cell would work; may take milliseconds, changes nothing."""
        ...

    def trip(self, cell: Cell) -> None:
        """Stop at once. Never waits, may be repeated, raises nothing; fails by doing nothing."""
        ...
