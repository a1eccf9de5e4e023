"""What a system does to take part: start a target as its own documentation advises, and stop it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stopbench.caller import Caller
from stopbench.case import Case, Front, free_port

__all__ = ["Limit", "System", "Unfit"]


class Unfit(Exception):
    """This system cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a system's own documentation says that its stop does not do."""

    text: str
    """In our words."""
    where: str
    """Where it is said."""


class System(ABC):
    """One way to stop an AI system. Everything that it starts, it ends."""

    name: ClassVar[str]
    setting: ClassVar[str]
    """The best setting that we found, in a sentence or two."""
    limits: ClassVar[tuple[Limit, ...]] = ()
    turns: ClassVar[int] = 1
    """It takes part in every so many turns: who takes many seconds each time, in every other."""

    def __init__(self, folder: Path) -> None:
        """Hold a folder of its own, which others may pass through; start nothing yet."""
        self.folder = folder

    def open(self, scenario: str) -> None:
        """Bring up what all cases of a scenario share. `Unfit` where that cannot be."""

    def ready(self, case: Case) -> None:
        """Before anything of a case is there: change its port or its token where that is needed."""

    @abstractmethod
    def begin(self, case: Case) -> None:
        """Start the target."""

    @abstractmethod
    def caller(self, case: Case) -> Caller:
        """Give a caller that runs already, with nothing left but to press."""

    def command(self, case: Case) -> Caller | None:
        """Give its command line; None where it has none."""
        return None

    @abstractmethod
    def controller(self, case: Case, caller: Caller) -> int:
        """Name the process that carries the stop out, to be killed in the middle of it."""

    def restart(self, case: Case) -> None:
        """Restart the host's service that runs targets, as after a reboot or an upgrade."""

    def front(self, case: Case) -> Front:
        """Say where the target's token is used: straight at the API's workers, unless told."""
        ports = (free_port(), free_port())
        return Front(ports[0], ports[1], ports, case.token)

    def reader_port(self, case: Case) -> int:
        """Where a reader of the target's stream asks: at the target itself, unless told."""
        return case.port

    def end(self, case: Case) -> None:
        """End what is left of a case; the case's pen is killed besides."""

    def close(self) -> None:
        """End what `open` brought up."""
