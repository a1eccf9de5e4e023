"""What a page is drawn from: the picture of the world, and the latest presses, at one moment.

    hub ─ what has changed ─┐
    presser ─ a press ──────┴─► Eye ─► Scene ─► drawings ─► every open page

The eye hears of every change and makes the next scene of it. It keeps nothing else: that a
picture is not live any more is a change like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offswitch.clock import Clock
from offswitch.model.scope import Scope
from offswitch.station.picture.hub import Hub
from offswitch.station.picture.picture import Picture
from offswitch.station.picture.rows import TargetRow

__all__ = ["Eye", "Message", "Scene"]

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """The world at one moment."""

    picture: Picture = field(default_factory=Picture)
    presses: tuple[Message, ...] = ()
    """The latest presses at this station, the newest first."""
    now_us: int = 0
    """When it was made, UTC."""
    number: int = 0
    """Grows with every scene of this station."""

    @property
    def live(self) -> bool:
        """Whether it is the present."""
        return self.picture.live

    def covered(self, scope: Scope) -> list[TargetRow]:
        """Give the rows that a stop of `scope` hits."""
        return self.picture.under(scope)


class Eye:
    """Makes a scene of every change, and wakes whoever draws."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        """See what `hub` tells."""
        self._hub = hub
        self.clock = clock
        self.scene = Scene(hub.picture, now_us=clock.wall_us())
        self._changed = asyncio.Event()

    async def watch(self) -> None:
        """See for ever."""
        with self._hub.subscribe() as heard:
            while True:
                self._see(self.scene.presses)
                await heard.next()

    async def changed(self) -> None:
        """Wait for the next scene."""
        await self._changed.wait()

    def told(self, presses: Sequence[Message]) -> None:
        """A press has changed."""
        self._see(tuple(presses))

    def _see(self, presses: tuple[Message, ...]) -> None:
        number = self.scene.number + 1
        self.scene = Scene(self._hub.picture, presses, self.clock.wall_us(), number)
        self._changed.set()
        self._changed = asyncio.Event()
