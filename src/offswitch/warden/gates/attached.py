"""One process of a gateway that has attached: what it says of itself, and what is kept of it."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from offswitch.control.flows import FlowReader
from offswitch.errors import OffswitchError, Usage
from offswitch.model.reserved import check_free_name
from offswitch.model.target import check_name
from offswitch.warden.door.connection import Connection

__all__ = ["Attached", "Said"]

_MOST_TARGETS = 4096
_MOST_PLACES = 256
_LONGEST = 200
_MOST_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What a gate said when it attached, checked."""

    gateway: str
    worker: int | None
    """None: its supervisor."""
    targets: tuple[str, ...]
    listen: tuple[str, ...]
    """Where it may be reached; `https://` before it where it speaks TLS."""
    upstreams: tuple[str, ...]
    """`host:port` of the servers behind."""

    @classmethod
    def read(cls, message: dict[str, Any]) -> Self:
        """Read it; raises `Usage` for what is no attachment."""
        part, said = message.get("part"), message.get("worker")
        if part not in {"worker", "supervisor"}:
            raise Usage("a gate is a worker or a supervisor")
        worker = said if type(said) is int and 0 <= said < _MOST_WORKERS else None
        if (part == "worker") != (worker is not None):
            raise Usage("a worker has a number, and nobody else")
        targets = [check_name(name) for name in _texts(message, "targets", _MOST_TARGETS)]
        for name in targets:
            check_free_name(name)
        if not targets:
            raise Usage("a gate serves at least one target")
        gateway = message.get("gateway")
        if not isinstance(gateway, str) or not gateway.isprintable():
            raise Usage("a gate bears its gateway's name")
        if not 0 < len(gateway) <= _LONGEST:
            raise Usage(f"a gateway has a name of at most {_LONGEST} characters")
        places = (tuple(_texts(message, key, _MOST_PLACES)) for key in ("listen", "upstreams"))
        return cls(gateway, worker, tuple(dict.fromkeys(targets)), *places)

    def wire(self) -> dict[str, Any]:
        """Give it as a message again."""
        return {
            "gateway": self.gateway,
            "part": "supervisor" if self.worker is None else "worker",
            "worker": self.worker,
            "targets": list(self.targets),
            "listen": list(self.listen),
            "upstreams": list(self.upstreams),
        }


def _texts(message: dict[str, Any], key: str, most: int) -> list[str]:
    found = message.get(key)
    texts: list[Any] = found if isinstance(found, list) else [None]
    if len(texts) > most or not all(isinstance(one, str) and len(one) <= _LONGEST for one in texts):
        raise Usage(f"{key} is a list of at most {most} texts")
    return [str(one) for one in texts]


class Attached:
    """One gate. Its table outlasts its connection: what was in flight is still to be found."""

    __slots__ = ("_pidfd", "connection", "number", "pid", "said", "shown", "table", "turn", "uid")

    def __init__(
        self, connection: Connection, said: Said, table: FlowReader | None, number: int
    ) -> None:
        """Hold a peer that has said so, and a worker's table."""
        self.connection: Connection | None = connection
        """None: it hears us no more."""
        self.said = said
        self.table = table
        self.number = number
        """By which the observer knows its table."""
        self.uid, self.pid = connection.peer.uid, connection.peer.pid
        self.turn = 0
        """The last turn that it was told."""
        self.shown = False
        """Whether the observer has its table."""
        self._pidfd = -1
        with suppress(OSError):
            self._pidfd = os.pidfd_open(self.pid)

    @property
    def name(self) -> tuple[str, int | None]:
        """By which it is known again when it attaches anew."""
        return self.said.gateway, self.said.worker

    @property
    def works(self) -> bool:
        """Whether flows go through it."""
        return self.table is not None

    @property
    def dead(self) -> bool:
        """Whether its process has ended; one that cannot be told lives."""
        if self._pidfd < 0:
            return not os.path.exists(f"/proc/{self.pid}")
        poll = select.poll()  # not select: a busy warden's descriptors have high numbers
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def serves_none_of(self, slots: set[int]) -> bool:
        """Tell whether it has swept, and no flow of `slots` is left, by its own table."""
        if self.table is None:
            return True
        with suppress(OSError, OffswitchError, ValueError):
            return self.table.swept >= self.turn and not self.table.any_of(slots)
        return False

    def close(self) -> None:
        """Let go of table and process."""
        if self.table is not None:
            self.table.close()
            self.table = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
