"""timeout, of GNU coreutils: a time limit around a command."""

from __future__ import annotations

from stopbench.caller import Caller, Hot
from stopbench.case import PYTHON, Case
from stopbench.systems.contract import Limit
from stopbench.systems.signals import Kill

__all__ = ["Timeout"]


class Timeout(Kill):
    """A limit that falls now."""

    name = "timeout"
    setting = (
        "timeout -s KILL, which kills its whole process group; its deadline is made to fall by"
        " SIGALRM, as its own timer does"
    )
    limits = (
        Limit("exit status 124, or 137 with KILL, says that the time was out", "timeout(1)"),
        Limit("with --foreground the children of the command are not timed out", "timeout(1)"),
    )

    before = ("timeout", "-s", "KILL", "3600")

    def caller(self, case: Case) -> Caller:
        return Hot(Hot.program(PYTHON, "timeout_caller.py", str(self.pid)))

    def command(self, case: Case) -> Caller | None:
        """It runs already."""
        return None

    def controller(self, case: Case, caller: Caller) -> int:
        """It carries the stop out itself."""
        return self.pid
