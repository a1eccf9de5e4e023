"""What the console knows of the world at one moment, and the eye that keeps it up to date.

A scene is a value: rows of targets, live stops, alarms, notes, and when the warden was last
heard. What was heard too long ago is not shown as if it were so now: such a scene is not *live*,
and every page that shows it says so over its whole face.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from offswitch.clock import Clock
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.scope import Scope
from offswitch.model.target import Target
from offswitch.station.wire import ask

__all__ = ["Eye", "Row", "Scene"]

_EVERY_S = 0.25
_PATIENCE_S = 1.0
_SILENT_US = 1_500_000

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scene:
    """The world as the warden told it last."""

    rows: tuple[Row, ...] = ()
    """Targets, by name."""
    stops: tuple[Row, ...] = ()
    """Live stops, as the warden lists them."""
    alarms: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    untracked: tuple[Row, ...] = ()
    """Processes that look like AI systems and are under no switch."""
    missing: tuple[str, ...] = ()
    """Processes of ours without which a stop is less than it should be."""
    presses: tuple[Row, ...] = ()
    """The latest presses at this station, the newest first."""
    live: bool = False
    why: str = "the warden has not been heard yet"
    """Why it is not live."""
    heard_us: int = 0
    """When the warden was last heard, UTC; 0: never."""
    version: int = 0
    """Another number whenever anything is different."""

    @cached_property
    def by_name(self) -> dict[str, Row]:
        """Rows by their target's name."""
        return {row["target"]: row for row in self.rows}

    @cached_property
    def by_digest(self) -> dict[str, Row]:
        """Live stops by their digest."""
        return {stop["digest"]: stop for stop in self.stops}

    def covered(self, scope: Scope) -> list[Row]:
        """Give the rows that a stop of `scope` hits."""
        if scope.text == "/":
            return list(self.rows)
        if scope.is_label:
            return [row for row in self.rows if scope.covers(_target(row))]
        return [row for row in self.rows if scope.covers_path(row["target"])]

    def stops_over(self, row: Row) -> list[Row]:
        """Give the live stops that hold `row`."""
        known = self.by_digest
        return [known[digest] for digest in row["stops"] if digest in known]


def _target(row: Row) -> Target:
    return Target(row["target"], dict(row["labels"]), row["kind"])


@dataclass(slots=True)
class Eye:
    """Keeps a scene up to date: asks the warden four times a second, and counts its silence."""

    place: Place
    clock: Clock
    scene: Scene = field(default_factory=Scene)
    _heard_us: int = -_SILENT_US
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self._look()
            await asyncio.sleep(_EVERY_S)

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def told(self, presses: tuple[Row, ...]) -> None:
        """Take in that a press has changed."""
        self._become(replace(self.scene, presses=presses))

    async def _look(self) -> None:
        message = {"op": "status", "scope": None}
        try:
            said = await ask(self.place.warden_socket, message, _PATIENCE_S)
        except OffswitchError as error:
            silent = self.clock.mono_us() - self._heard_us
            if silent > _SILENT_US and self.scene.live:
                self._become(replace(self.scene, live=False, why=f"{error.message}"[:200]))
            return
        self._heard_us = self.clock.mono_us()
        notes = tuple(str(note) for note in said["notes"])
        known = self.scene.by_name
        new = Scene(
            rows=tuple(_kept(known.get(row["target"]), _row(row)) for row in said["targets"]),
            stops=tuple(said["latched"]),
            alarms=tuple(said["alarms"]),
            notes=notes,
            untracked=tuple(said["untracked"]),
            missing=tuple(
                name
                for name in ("keeper", "observer")
                if any(each.startswith(f"no {name}:") for each in notes)
            ),
            presses=self.scene.presses,
            live=True,
            why="",
            heard_us=self.clock.wall_us(),
            version=self.scene.version,
        )
        if new == replace(self.scene, heard_us=new.heard_us):
            self.scene = new
        else:
            self._become(new)

    def _become(self, scene: Scene) -> None:
        self.scene = replace(scene, version=self.scene.version + 1)
        self._changed.set()
        self._changed = asyncio.Event()


def _row(said: Row) -> Row:
    """Leave out what changes by itself."""
    row = dict(said)
    signals = row.pop("signals")
    row.pop("pids")
    row.setdefault("trouble", "")
    row["signals"] = sorted(signals)
    row["stale"] = sorted(kind for kind, signal in signals.items() if signal["stale"])
    return row


def _kept(old: Row | None, new: Row) -> Row:
    return old if old == new else new
