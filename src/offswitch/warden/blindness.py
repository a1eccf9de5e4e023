"""What nobody watches falls to the level that was declared for it (SR-13).

Watch holds a lease for every target that has an automatic rule: each report in which the rule
sees renews it. Three seconds without one, because watch is silent or because no channel of the
rule can see, and the target is stopped at its `on_blind` level: *restrict* unless declared
otherwise, *kill* where the harm comes within ten seconds. A warden that has just come up gives
watch half a minute to speak for the first time.

It is a stop like any other: latched, recorded, cleared by a reset alone. If nobody sees by then
either, it falls again. In the mode `observe` it is only noted (SR-15).
"""

from __future__ import annotations

from offswitch.clock import new_nonce
from offswitch.model.level import Level, parse_level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.warden.core import Core
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Blindness"]

_LOOK_S = 0.25
_A_LOOK = 32
"""Targets that fall at one look: a press by hand waits for no more of them."""


class Blindness:
    """Looks four times a second whose lease with watch has run out."""

    def __init__(self, core: Core, stopper: Stopper) -> None:
        """Stop what is blind by `stopper`."""
        self._core = core
        self._stopper = stopper
        self._noted: set[str] = set()

    def begin(self) -> None:
        """Look from now on."""
        self._core.watch.begin(self._core.clock.mono_us())
        self._core.loop.every(_LOOK_S, self.look)

    def look(self) -> None:
        """Stop what has been blind for too long and is not held by anything."""
        core = self._core
        lapsed = core.watch.lapsed(core.clock.mono_us())
        if not lapsed or not core.page.observing:
            self._noted.clear()
        if not lapsed:
            return
        room = _A_LOOK
        for row in list(core.table):
            fast = core.watch.blind_in(row.target, lapsed)
            if fast is None:
                self._noted.discard(row.target.name)
                continue
            level = _level(row, fast=fast)
            held = core.level(row)
            if row.target.name in self._noted or (held is not None and held >= level):
                continue
            if room and row.alive:  # the last that is asked, since it reads a file of the kernel's
                self._fall(row, level)
                room -= 1

    def _fall(self, row: Tracked, level: Level) -> None:
        core, name = self._core, row.target.name
        why = "nobody has watched it for 3 s, though an automatic rule is about it"
        if core.page.observing:
            self._noted.add(name)
            core.recording.note(
                "note",
                {"by": "warden"},
                what=f"would have stopped {name} at {level.label}",
                why=why,
                channel="blind",
                prior=row.state.value,
                state=row.state.value,
                target=name,
            )
            return
        stop = Stop(
            core.installation,
            Scope(name),
            level,
            "warden",
            "watch",
            new_nonce(),
            core.clock.wall_us(),
            f"blind: {why}",
        )
        self._stopper.press([stop])


def _level(row: Tracked, *, fast: bool) -> Level:
    """Give what was declared for it; a machine goes down by nobody's blindness (SR-10)."""
    declared = (row.declared or {}).get("on_blind")
    level = Level.KILL if fast else Level.RESTRICT
    if isinstance(declared, str):
        level = parse_level(declared)
    return min(level, Level.KILL)
