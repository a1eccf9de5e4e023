"""The warden's crew: sweeper, observer, keeper. Started, listened to, replaced when they die.

Each does one thing that the warden must not do itself, or must not be believed about: the
sweeper changes its user, the observer looks whether what was commanded happened, the keeper
holds every cell should the warden be lost. What a lost observer left open is asked again;
a new keeper is handed everything, and until it has it, nothing starts (SR-22).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from offswitch.warden.core import TRIM_S, Core
from offswitch.warden.evidence_link import Evidence
from offswitch.warden.keeper_link import KeeperLink
from offswitch.warden.observer_link import ObserverLink
from offswitch.warden.reproof import Reproof
from offswitch.warden.respawn import Respawn
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.sweeper_link import PING, SweeperLink

__all__ = ["Crew"]

_KEEPER_PATIENCE_S = 2.0


class Crew:
    """The three of one warden."""

    def __init__(
        self, core: Core, stopper: Stopper, starter: Starter, keeper_acted: Callable[[], None]
    ) -> None:
        """`keeper_acted` hears that a keeper has left orders of its own."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._keeper_acted = keeper_acted
        self._ending = False
        self._relieved: KeeperLink | None = None
        self.on_observer: Callable[[], None] = lambda: None
        """Hears that a new observer is there, before it is asked for anything."""
        self._sweeper_again = Respawn(core.loop, self._start_sweeper)
        self._observer_again = Respawn(core.loop, self._start_observer)
        self._keeper_again = Respawn(core.loop, self._start_keeper)

    def start_hands(self) -> None:
        """Start what a stop needs: the sweeper where users can be swept at all, the observer."""
        if os.geteuid() == 0:
            self._sweeper_again.begin()
        self._observer_again.begin()
        self._core.evidence = evidence = Evidence(self._core)
        evidence.begin()
        Reproof(self._core).begin()
        self._core.loop.every(TRIM_S, self._core.trim_logs)

    def start_keeper(self, before: KeeperLink | None = None) -> None:
        """Start the keeper, and wait until it has every cell, but no longer than it may take.

        While one of our code before still holds all of them nobody waits.
        """
        core = self._core
        self._keeper_again.begin()
        if before is not None:
            self._relieve(before)
            return
        deadline = core.clock.mono_us() + int(_KEEPER_PATIENCE_S * 1e6)
        while not self._keeper_has_all() and core.clock.mono_us() < deadline:
            core.loop.turn(0.01)
        if self._keeper_has_all():
            core.page.keeper_ready(core.page.epoch)

    def end(self, *, alive: bool) -> None:
        """Let them go; the keeper stays while anything is alive that it must hold."""
        self._ending = True
        if self._core.keeper is not None and not alive:
            self._core.keeper.dismiss()
        if self._core.observer is not None:
            self._core.observer.close()
        if self._core.evidence is not None:
            self._core.evidence.end()
        if self._core.sweeper is not None:
            self._core.sweeper.close()

    def _heard(self, who: str) -> None:
        if self._core.reproof is not None:
            self._core.reproof.heard(who)

    # --- the sweeper --------------------------------------------------------------

    def sweep(self, uid: int) -> None:
        """Have every process of user `uid` killed."""
        if self._core.sweeper is not None:
            self._core.sweeper.ask(uid)

    def can_sweep(self) -> bool:
        """Tell whether the sweeper is there to hear."""
        return self._core.sweeper is not None and self._core.sweeper.alive()

    @property
    def sweeper_pid(self) -> int | None:
        """The sweeper's pid."""
        return None if self._core.sweeper is None else self._core.sweeper.pid

    def _start_sweeper(self) -> None:
        self._core.sweeper = link = SweeperLink.start(self._core.children.log)
        self._core.children.expect(link.pid, lambda status: self._lost_sweeper(link, status))
        self._core.loop.watch(link.fileno(), lambda _events: self._swept(link))

    def _swept(self, link: SweeperLink) -> None:
        for uid, left in link.results():
            if uid == PING:
                self._heard("sweeper")
            elif left:
                self._core.recording.note("note", what="sweep", uid=uid, left=left)
        if not link.alive():
            self._core.loop.forget(link.fileno())

    def _lost_sweeper(self, link: SweeperLink, status: int) -> None:
        if self._ending or self._core.sweeper is not link:
            return
        self._core.loop.forget(link.fileno())
        link.close()
        self._core.sweeper = None
        self._core.recording.lost("sweeper", status)
        self._sweeper_again.lost()

    # --- the observer -------------------------------------------------------------

    def _start_observer(self) -> None:
        core = self._core
        core.observer = link = ObserverLink.start(core.children.log)
        core.children.expect(link.pid, lambda status: self._lost_observer(link, status))
        core.loop.watch(link.fileno(), lambda _events: self._heard_observer(link))
        self.on_observer()
        if core.gates is not None:
            core.gates.observer_back()
        self._stopper.proving.observer_back()

    def _heard_observer(self, link: ObserverLink) -> None:
        for message in link.heard(self._core.loop):
            if message.get("event") == "moved":
                self._stopper.moved(message)
            elif message.get("event") == "pong":
                self._heard("observer")
            elif message.get("event") == "prober-stuck":
                if self._core.gates is not None:
                    self._core.gates.prober_stuck(int(message["number"]))
            else:
                self._stopper.proving.seen(message)

    def _lost_observer(self, link: ObserverLink, status: int) -> None:
        core = self._core
        if self._ending or core.observer is not link:
            return
        core.loop.forget(link.fileno())
        link.close()
        core.observer = None
        core.recording.lost("observer", status)
        self._observer_again.lost()

    # --- the keeper ---------------------------------------------------------------

    def _start_keeper(self) -> None:
        core = self._core
        page, log = core.page, core.children.log
        core.keeper = link = KeeperLink.start(core.place, page.path, page.epoch, log=log)
        core.children.expect(link.pid, lambda status: self._lost_keeper(link, status))
        core.loop.watch(link.fileno(), lambda _events: self._heard_keeper(link))
        for row in core.table:
            row.keeper_has_it = False
            if row.cell is not None and row.slot is not None:
                link.hand(
                    row.cell.facts(),
                    row.cell.fds(),
                    row.target.name,
                    dict(row.target.labels),
                    row.slot,
                )

    def _relieve(self, old: KeeperLink) -> None:
        """Hear of an older keeper what it does by itself until the new one has everything."""
        self._relieved = old

        def heard(_events: int) -> None:
            for message in old.messages():
                if "acted" in message:
                    self._hear(message)
            if not old.alive():
                self._core.loop.forget(old.fileno())

        def left(_status: int) -> None:
            self._relieved = None
            self._core.loop.forget(old.fileno())
            old.close()
            self._keeper_acted()

        self._core.loop.watch(old.fileno(), heard)
        self._core.children.expect(old.pid, left)

    @property
    def keepers(self) -> list[KeeperLink]:
        """List the keeper, and the one that it relieves."""
        return [link for link in (self._core.keeper, self._relieved) if link is not None]

    def _keeper_has_all(self) -> bool:
        return all(row.keeper_has_it for row in self._core.table if row.cell is not None)

    def _heard_keeper(self, link: KeeperLink) -> None:
        for message in link.messages():
            self._hear(message)
        if self._keeper_has_all():
            self._core.page.keeper_ready(self._core.page.epoch)

    def _hear(self, message: dict[str, Any]) -> None:
        name = message.get("ack")
        if isinstance(name, str):
            self._starter.acknowledged(name)
        elif "pong" in message:
            self._heard("keeper")
        elif "acted" in message:
            self._core.recording.note("note", what="keeper acted", detail=message["acted"])
            self._keeper_acted()
        elif "defect" in message:
            self._core.recording.note("note", what="defect", why=f"keeper: {message['defect']}")

    def _lost_keeper(self, link: KeeperLink, status: int) -> None:
        core = self._core
        if self._ending or core.keeper is not link:
            return
        core.loop.forget(link.fileno())
        link.close()
        core.keeper = None
        core.recording.lost("keeper", status)
        self._keeper_acted()
        self._keeper_again.lost()
