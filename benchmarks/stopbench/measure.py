"""One run: start the target, see it act, order, hear what is claimed, watch on, clean up."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from stopbench.caller import Caller, NotArmed, Said
from stopbench.case import PROGRAMS, Case, free_port
from stopbench.pen import Pen
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System
from stopbench.witness import Seen, Witness

__all__ = ["ALIVE_NS", "WATCH_S", "Outcome", "Stand"]

WATCH_S = 0.4
"""How long is watched after what the system said; an act in that time makes "stopped" false."""
ALIVE_NS = 100_000_000
"""Who acted within so much of the end of that is a survivor: it acts all the time."""
_SLACK_NS = 1_000_000
"""An act that was under way when "stopped" was said is not held against it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to."""

    last_action_ms: float
    """From the order to the last act; 0: none came after it. With a survivor, the whole watch."""
    confirmed_ms: float | None
    """From the order to the system's word that it has stopped; None: it never said so."""
    false_stopped: bool
    """It said so, and an act came after that."""
    survivors: tuple[str, ...]
    """Who still acted at the end."""
    claim: str
    words: str
    lag_ms: float
    """The most by which the witness lagged behind an actor's own clock."""


class Stand:
    """Folder, witness, and the runs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stopbench-", dir="/dev/shm"))
        self.folder.chmod(0o755)
        shutil.copy(PROGRAMS / "agent.py", self.folder / "agent.py")
        (self.folder / "agent.py").chmod(0o644)
        self.witness = Witness(self.folder)
        self.name = "s" + self.folder.name.rpartition("-")[2].lower()
        """What all its cases' names begin with."""
        self._count = 0

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it down."""
        self.witness.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, system: System, scenario: Scenario, share: float, *, cold: bool
    ) -> Outcome | None:
        """Put a scenario to a system once; None: it has no command line for this."""
        case = self._case(scenario)
        caller: Caller | None = None
        try:
            system.ready(case)
            scenario.prepare(case, system)
            system.begin(case)
            scenario.beside(case, system)
            self.witness.wait_for(case.key, scenario.actors)
            try:
                caller = system.command(case) if cold else system.caller(case)
            except NotArmed as why:
                return self._unreached(case, str(why))
            if caller is None:
                return None
            return self._stopped(system, scenario, case, caller, share)
        finally:
            if caller is not None:
                caller.close()
            try:
                system.end(case)
            finally:
                case.close()

    def _case(self, scenario: Scenario) -> Case:
        self._count += 1
        key = f"{self.name}-{self._count}"
        return Case(
            key=key,
            scenario=scenario.name,
            number=self._count,
            folder=self.folder,
            witness=self.witness.path,
            token=f"token-{key}",
            port=free_port(),
            pen=Pen(f"stopbench-{key}"),
        )

    def _stopped(
        self, system: System, scenario: Scenario, case: Case, caller: Caller, share: float
    ) -> Outcome:
        self.witness.wait_for(case.key, scenario.actors)
        caller.go()
        scenario.disturb(case, system, caller, share)
        said = caller.said()
        time.sleep(WATCH_S)
        last_ns = _last(self.witness.seen(case.key))
        false = (
            said.claim == "stopped"
            and said.claim_ns is not None
            and last_ns > said.claim_ns + _SLACK_NS
        )
        scenario.afterwards(case, system)
        return self._outcome(case, said, false=false)

    def _unreached(self, case: Case, why: str) -> Outcome:
        """Nobody could even be asked to stop it: what goes on acting is watched all the same."""
        said = Said(time.monotonic_ns(), None, "not", why)
        time.sleep(WATCH_S)
        return self._outcome(case, said, false=False)

    def _outcome(self, case: Case, said: Said, *, false: bool) -> Outcome:
        seen = self.witness.seen(case.key)
        now = time.monotonic_ns()
        alive = tuple(sorted(who for who, acts in seen.items() if acts.last_ns > now - ALIVE_NS))
        confirmed = None
        if said.claim == "stopped" and said.claim_ns is not None:
            confirmed = (said.claim_ns - said.order_ns) / 1e6
        return Outcome(
            last_action_ms=max(_last(seen) - said.order_ns, 0) / 1e6,
            confirmed_ms=confirmed,
            false_stopped=false,
            survivors=alive,
            claim=said.claim,
            words=said.words,
            lag_ms=max(acts.lag_ns for acts in seen.values()) / 1e6,
        )


def _last(seen: dict[str, Seen]) -> int:
    return max(acts.last_ns for acts in seen.values())
