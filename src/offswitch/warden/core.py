"""What the parts of a warden share: one object, wired in `daemon`, read by the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from offswitch.actuators.contract import Actuator
from offswitch.actuators.sockets import Sockets
from offswitch.clock import Clock
from offswitch.control.place import Place
from offswitch.decide.authority import Authority
from offswitch.model.latch import Latch, Live
from offswitch.model.level import Level
from offswitch.model.scope import Scope, scopes_above, scopes_over
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.rung import Rung, Standing
from offswitch.warden.children import Children
from offswitch.warden.door.rights import Rights
from offswitch.warden.door.watch_report import WatchReport
from offswitch.warden.drill.drilled import Drilled
from offswitch.warden.errands import Errands
from offswitch.warden.finder_link import FinderLink
from offswitch.warden.keeper_link import KeeperLink
from offswitch.warden.latch.store import LatchStore
from offswitch.warden.loop import Loop
from offswitch.warden.observer_link import ObserverLink
from offswitch.warden.page_writer import PageWriter
from offswitch.warden.recording import Recording
from offswitch.warden.reset.marks import STAGED, WRITTEN_OFF, Marks
from offswitch.warden.reset.news import News
from offswitch.warden.reset.ran_as import RanAs
from offswitch.warden.reset.rules import ResetRules
from offswitch.warden.shares import Shares
from offswitch.warden.sweeper_link import SweeperLink
from offswitch.warden.table import Table, Tracked

__all__ = ["TRIM_S", "Core", "Noted"]

TRIM_S = 30.0
"""How often logs are looked at that somebody may write beyond their cap."""


class Witness(Protocol):
    """Has evidence kept (`evidence_link.Evidence`). Never waits, never raises."""

    @property
    def pid(self) -> int | None:
        """The gatherer's."""
        ...

    def know(self, row: Tracked, log: int = -1) -> None:
        """Have a target looked at now and then."""
        ...

    def forget(self, name: str) -> None:
        """Have a cell looked at no more."""
        ...

    def gather(self, row: Tracked, level: Level, order: str) -> None:
        """Have evidence kept of a target that is being stopped."""
        ...

    def end(self) -> None:
        """Let it go."""
        ...


class Confiner(Protocol):
    """Denies targets the ways round their gateways (`gates.bypass.Bypass`)."""

    def lost(self, row: Tracked) -> bool:
        """Tell whether somebody has taken that denial off a target."""
        ...


class Gatekeeper(Protocol):
    """Holds the gateways (`gates.gates.Gates`). Never waits, never raises."""

    @property
    def bypass(self) -> Confiner:
        """What keeps targets from going round them."""
        ...

    def show(self, row: Tracked, word: int) -> None:
        """Set the word of a target that gateways heed."""
        ...

    def tell(self) -> None:
        """Wake whoever serves a target whose word has changed."""
        ...

    def command(self, row: Tracked, level: Level) -> None:
        """See to it that what the words forbid ends."""
        ...

    def born(self, row: Tracked) -> None:
        """A target has a new cell."""
        ...

    def ready(self, row: Tracked) -> tuple[str, str]:
        """Say whether the layer would work."""
        ...

    def facts(self, row: Tracked) -> dict[str, Any]:
        """Give what the observer needs to look."""
        ...

    def told(self, row: Tracked, detail: str) -> str:
        """Say beside what was seen what is known besides."""
        ...

    def busy(self, row: Tracked) -> bool:
        """Tell whether a server behind says that it works on (VER-6)."""
        ...

    def in_flight(self, row: Tracked) -> int | None:
        """Count what is served of it just now; None: nobody can tell."""
        ...

    def health(self) -> list[dict[str, Any]]:
        """Say which gateways serve."""
        ...

    def observer_back(self) -> None:
        """Show a new observer what the lost one was shown."""
        ...

    def prober_stuck(self, number: int) -> None:
        """Whom the observer has ask listeners answers nothing."""
        ...

    def expect(self, row: Tracked, *, served: bool) -> None:
        """A warden before us knew gates of this target, which one may have `served`."""
        ...


Noted = Callable[[str, bool, str], None]
"""Hears what a hand says: of which layer it is, whether it has acted, and in words."""


class Handkeeper(Protocol):
    """Holds the hands (`hands.hands.Hands`). Never waits, never raises."""

    def command(
        self, row: Tracked, level: Level, noted: Noted, only: frozenset[str] | None = None
    ) -> list[str]:
        """Have every hand cut that the plan of that level names; give their layers.

        `noted` hears what each says, layer by layer; `only`: those, and no others.
        """
        ...

    def release(self, row: Tracked, level: Level | None) -> None:
        """Have undone what may be undone where a target is held by less, or by nothing."""
        ...

    def facts(self, row: Tracked) -> dict[str, list[int]]:
        """Give by which numbers the observer knows the looks of a target, layer by layer."""
        ...

    def over(self, row: Tracked, local: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        """Give a target's readiness from what its layers say without hands."""
        ...

    def pids(self) -> dict[str, int | None]:
        """Give their processes, by name."""
        ...

    def report(self, row: Tracked) -> list[dict[str, Any]]:
        """Say of each hand of a target what it is, how it stands, and on what it rests."""
        ...

    def alone(self, row: Tracked) -> dict[str, tuple[str, str]]:
        """Give what the layers say by themselves that hands do besides."""
        ...

    def reissue(self, row: Tracked) -> list[str]:
        """List what a person must make anew before a target can work again."""
        ...


class Reprover(Protocol):
    """Proves the local layers anew as long as it runs (`reproof.Reproof`). Never waits."""

    def over(self, row: Tracked, ready: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        """Give a target's readiness from what its layers said when its cell was made."""
        ...

    def heard(self, who: str) -> None:
        """A process of ours has said that it turns."""
        ...


@dataclass(slots=True)
class Core:
    """The warden's parts."""

    place: Place
    installation: str
    clock: Clock
    loop: Loop
    children: Children
    errands: Errands
    """Whatever touches a disk while the warden serves."""
    names: Errands
    """Whatever asks who a user is."""
    page: PageWriter
    store: LatchStore
    latch: Latch
    table: Table
    rights: Rights
    recording: Recording
    ran_as: RanAs
    authority: Authority
    secret_set: bool
    """Whether a secret was set when it was last looked for."""
    news: News
    standing: Standing
    """On which rung it stands, and why on none higher."""
    freeze_steps: list[tuple[str, Actuator]]
    """Layer and actuator, in the order in which a freeze trips them."""
    kill_steps: list[tuple[str, Actuator]]
    """Likewise for a kill: network denied, cell killed, sockets destroyed, user swept (SR-8)."""
    network_release: Callable[[Cell], None]
    """Undo the network's denial for a cell that may go on."""
    sockets: Sockets
    """To destroy the sockets of cells once more."""
    finder: FinderLink | None = None
    """Only where something is adopted."""
    keeper: KeeperLink | None = None
    observer: ObserverLink | None = None
    sweeper: SweeperLink | None = None
    evidence: Witness | None = None
    gates: Gatekeeper | None = None
    hands: Handkeeper | None = None
    reproof: Reprover | None = None
    notes: dict[str, str] = field(default_factory=dict)
    """Banners for `status`, by a key of their own."""
    shares: Shares = field(default_factory=Shares)
    """What others than the owner may use up."""
    courteous_from_ns: int = 0
    """From when on the nearest names may be looked for again (CLOCK_MONOTONIC)."""
    barred: set[str] = field(default_factory=set)
    """Digests that an open reset names: no press may join them."""
    drilled: Drilled = field(default_factory=Drilled)
    """Which layers the last drills, or a change since, have put in doubt."""
    doubted_us: int = 0
    """When our own files were found not to be what was released, UTC; 0: they were not."""
    reset_rules: ResetRules = field(default_factory=ResetRules)
    """What the configuration asks of a reset beyond the built-in minimum."""
    marks: dict[str, Marks] = field(default_factory=dict)
    """What resets left behind on names, by what it is."""
    watch: WatchReport = field(default_factory=WatchReport)
    """What watch said last, and when."""

    @property
    def rung(self) -> Rung:
        """Give the rung alone."""
        return self.standing.rung

    def pids(self) -> dict[str, int | None]:
        """Give our own processes, by name; None: it is not there."""
        finder = {"finder": self.finder.pid} if self.finder else {}
        return {
            "warden": os.getpid(),
            "keeper": self.keeper.pid if self.keeper else None,
            "observer": self.observer.pid if self.observer else None,
            "recorder": self.recording.pid,
            "evidence": self.evidence.pid if self.evidence else None,
            "sweeper": self.sweeper.pid if self.sweeper else None,
            **finder,
            **(self.hands.pids() if self.hands is not None else {}),
        }

    @property
    def written_off(self) -> Marks:
        """Targets that were given up as not confirmed."""
        return self.marks.get(WRITTEN_OFF, Marks(WRITTEN_OFF))

    @property
    def staged(self) -> Marks:
        """Targets that were stopped and reset, and start on probation."""
        return self.marks.get(STAGED, Marks(STAGED))

    def mark(self, marks: Marks, then: Callable[[OSError | None], None] | None = None) -> None:
        """Put one set of names in the place of the one before, here at once, then on the disk.

        `then` is called in the loop when it is kept (None), or is not (the error); without it
        nothing is written where nothing is new.
        """
        before = self.marks.get(marks.what, Marks(marks.what))
        if then is None and before.names == marks.names:
            return
        self.marks[marks.what] = marks

        def kept(outcome: OSError | None) -> None:
            self.notes.pop(marks.what, None)
            if outcome is not None:
                why = f"which targets are {marks.what} is not kept: {outcome.strerror}"
                self.notes[marks.what] = why
            if then is not None:
                then(outcome)

        self.errands.send(lambda: marks.keep(self.place.home), kept)

    def trim_logs(self) -> None:
        """Have logs emptied that were written beyond their cap."""
        logs = [row.log for row in self.table if row.log is not None and row.cell is not None]
        if logs:
            self.errands.send(lambda: self.table.trim(logs), lambda _outcome: None)

    def know(self, row: Tracked | None, log: int | None) -> None:
        """Have a target that was born looked at from now on, and its log kept at hand."""
        if row is not None and self.evidence is not None:
            self.evidence.know(row, -1 if log is None else log)

    def level(self, row: Tracked) -> Level | None:
        """Give the level at which a target is latched."""
        return self.latch.level(row.target)

    def wider(self, scope: Scope) -> list[Live]:
        """List the live stops that cover something of `scope` and are not within it (SR-18)."""
        within = {live.stop.digest for live in self.latch.within(scope)}
        above = set(scopes_above(scope))
        for row in self.table.covered([scope]):
            above.update(scopes_over(row.target))
        return [
            live
            for live in self.latch
            if live.stop.digest not in within and live.stop.scope.text in above
        ]

    def steps(self, level: Level) -> list[tuple[str, Actuator]]:
        """Give what a stop of that level trips, in order."""
        if level < Level.FREEZE:
            return []
        return self.freeze_steps if level is Level.FREEZE else self.kill_steps
