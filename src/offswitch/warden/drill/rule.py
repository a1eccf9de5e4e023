"""The one automatic reset (SR-20): when a drill's own stop may be cleared, and by what order.

    the target     the warden itself made it, below `.drill/`, for this very drill
    the stop       this drill's own: its scope is that target's name and nothing wider
    alone          no other stop covers the target: a person's goes first, and stays
    standstill     observed, as for any reset; that is asked by the resetter, and not here

Everything that is not all of this is no drill's, and takes what any reset takes. A value and a
few questions about it: nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from offswitch.clock import new_nonce
from offswitch.errors import NotFound, OffswitchError, Refused
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.reserved import is_drill
from offswitch.model.scope import Scope
from offswitch.warden.core import Core
from offswitch.warden.table import Tracked

__all__ = ["CHANNEL", "Made", "others", "own_stops", "reset_of", "why_not"]

CHANNEL = "drill"
"""The channel of a drill's own stop, and of its reset."""


@dataclass(frozen=True, slots=True)
class Made:
    """A target that this warden made for a drill; nothing else ever makes one of these."""

    drill: str
    """The drill's name, such as `canary-3f09`."""
    row: Tracked
    """The target, as the table had it when it was born."""

    @property
    def target(self) -> str:
        """The target's name."""
        return self.row.target.name

    @property
    def by(self) -> str:
        """Whose the drill's own stop is."""
        return f"drill:{self.drill}"

    def owns(self, stop: Stop) -> bool:
        """Tell whether a stop is this drill's own."""
        named = stop.scope.text == self.target and stop.by == self.by
        return named and stop.channel == CHANNEL and stop.level is Level.KILL


def own_stops(core: Core, made: Made) -> list[Stop]:
    """List the drill's own live stops: one, unless it has not pressed yet."""
    covering = core.latch.covering(made.row.target)
    return [live.stop for live in covering if made.owns(live.stop)]


def others(core: Core, made: Made) -> list[Stop]:
    """List what else covers its target: a real demand, whoever gave it."""
    covering = core.latch.covering(made.row.target)
    return [live.stop for live in covering if not made.owns(live.stop)]


def why_not(core: Core, made: Made) -> OffswitchError | None:
    """Say why its stop may not be reset by itself; None: it may, once it is seen to stand still."""
    hint = f"reset it as any other: offswitch reset {made.target} --reason TEXT"
    if not is_drill(made.target) or core.table.get(made.target) is not made.row:
        return Refused(f"{made.target} is no target that this warden made for a drill", hint)
    if real := others(core, made):
        scopes = ", ".join(sorted({stop.scope.text for stop in real}))
        return Refused(f"another stop covers {made.target}, of {scopes}: that one goes first", hint)
    if not own_stops(core, made):
        return NotFound(f"{made.target} is held by no stop of its drill", "see: offswitch status")
    return None


def reset_of(core: Core, made: Made) -> Reset:
    """Give the order that clears the drill's own stop, and nothing else."""
    return Reset(
        core.installation,
        Scope(made.target),
        tuple(sorted(stop.digest for stop in own_stops(core, made))),
        made.by,
        CHANNEL,
        new_nonce(),
        core.clock.wall_us(),
        "the drill's own stop, of a target that was made for it",
    )
