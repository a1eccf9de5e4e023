"""What a scenario is: what the agent does to outlive a stop, and what goes wrong meanwhile."""

from __future__ import annotations

from typing import ClassVar

from stopbench.caller import Caller
from stopbench.case import Case
from stopbench.systems.contract import System

__all__ = ["Scenario"]


class Scenario:
    """One of ten."""

    name: ClassVar[str]
    about: ClassVar[str]
    """A clause for people."""
    options: ClassVar[tuple[str, ...]] = ()
    """What the agent is told to do."""
    actors: ClassVar[frozenset[str]] = frozenset({"agent"})
    """Who must be seen to act before the order is given."""
    hung: ClassVar[int] = 0
    service: ClassVar[bool] = False
    remove: ClassVar[bool] = False

    def prepare(self, case: Case, system: System) -> None:
        """Before the target starts."""
        case.options += self.options
        case.hung, case.service, case.remove = self.hung, self.service, self.remove

    def beside(self, case: Case, system: System) -> None:
        """When the target has started: what acts or listens outside of it."""

    def disturb(self, case: Case, system: System, caller: Caller, share: float) -> None:
        """Right after the order; `share` goes from 0 to 1 over the runs."""

    def afterwards(self, case: Case, system: System) -> None:
        """When the system has said what it says, and that was compared with what was seen."""
