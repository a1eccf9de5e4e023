"""Asking watch at its desk: alarms and questions once a second, rules and sensors less often.

Watch works for the targets first, so it is asked one thing at a time over one connection, and at
once only when the warden says that an alarm has changed, or whoever has answered watch says so
(`hub.tell("watch")`). Ages and times left change with every
look, and are no news: a question gets the moment when its time is up instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.errors import OffswitchError, Unreachable
from offswitch.station.picture.hub import Hub
from offswitch.station.picture.picture import Desk
from offswitch.station.wire import raised

__all__ = ["DeskReader"]

_PATIENCE_S = 2.0
_EVERY_S = 1.0
_RULES_EVERY, _SENSORS_EVERY = 2, 5
"""Looks from one to the next."""
_NEWS = frozenset({"alarms", "reload", "watch"})
_LONGEST = 8 << 20
_CHUNK = 1 << 18
_FLEETING = frozenset({"age_ms", "left_ms", "heard", "score", "tally", "near"})
"""What changes with every look and is no news."""

Message = Mapping[str, Any]


class DeskReader:
    """Keeps what watch says in the hub's picture. `run` never ends by itself."""

    def __init__(self, path: str, hub: Hub, clock: Clock) -> None:
        """Ask at the socket `path`."""
        self._path = path
        self._hub = hub
        self._clock = clock
        self._hurry = asyncio.Event()
        self._due_us: dict[str, int] = {}

    async def run(self) -> None:
        """Ask, again and again, until cancelled."""
        watching = asyncio.create_task(self._watch_alarms())
        try:
            while True:
                self._put(Desk(why=await self._converse()))
                await self._pause()
        finally:
            watching.cancel()

    async def _watch_alarms(self) -> None:
        with self._hub.subscribe() as subscription:
            async for event in subscription:
                if event.kind in _NEWS:
                    self._hurry.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_EVERY_S):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    async def _converse(self) -> str:
        """Ask over one connection until it ends; say why it did."""
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=_CHUNK)
            line = _Line(reader, writer)
            look = 0
            while True:
                self._put(await self._look(line, look))
                look += 1
                await self._pause()
        except TimeoutError:
            return "watch does not answer in time"
        except OSError:
            return "no watch has a desk here: rules stop nothing and ask nobody"
        except OffswitchError as error:
            return error.message
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return f"watch said what cannot be understood: {type(error).__name__}"
        finally:
            if writer is not None:
                writer.close()

    async def _look(self, line: _Line, look: int) -> Desk:
        """Ask for what is due now; all else stays as it was."""
        desk = replace(self._hub.picture.desk, live=True, why="")
        alarms = await line.ask("alarms")
        decisions = await line.ask("decisions")
        desk = replace(
            desk,
            alarms=tuple(alarms["alarms"]),
            near=tuple(alarms["near"]),
            decisions=self._dated(decisions["decisions"]),
            leaves=tuple(decisions.get("leaves", ())),
        )
        if look % _RULES_EVERY == 0:
            rules = await line.ask("rules")
            desk = replace(
                desk,
                rules=tuple(rules["rules"]),
                lowered=tuple(rules["lowered"]),
                waiting=tuple(rules["waiting"]),
            )
        if look % _SENSORS_EVERY == 0:
            sensors = await line.ask("sensors")
            desk = replace(
                desk, sensors=tuple(sensors["sensors"]), left_out=int(sensors["left_out"])
            )
        return desk

    def _dated(self, decisions: list[dict[str, Any]]) -> tuple[Message, ...]:
        """Say of each question when its time is up, the same every time."""
        now_us = self._clock.wall_us()
        dues = {
            str(one["decision"]): self._due_us.get(
                str(one["decision"]), now_us + int(one["left_ms"]) * 1000
            )
            for one in decisions
        }
        self._due_us = dues
        return tuple({**one, "due_us": dues[str(one["decision"])]} for one in decisions)

    def _put(self, desk: Desk) -> None:
        before = self._hub.picture.desk
        if desk is not before:
            self._hub.heard_watch(desk, changed=_lasting(desk) != _lasting(before))


class _Line:
    """One connection to the desk: a question, then its answer."""

    __slots__ = ("_decoder", "_reader", "_writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = frames.Decoder(_LONGEST)

    async def ask(self, op: str) -> dict[str, Any]:
        async with asyncio.timeout(_PATIENCE_S):
            self._writer.write(frames.encode({"op": op}))
            await self._writer.drain()
            while True:
                data = await self._reader.read(_CHUNK)
                if not data:
                    raise Unreachable("watch has hung up")
                for message in self._decoder.feed(data):
                    return raised(message)


def _lasting(desk: Desk) -> list[object]:
    """Give what of it is news when it changes."""
    rows = [desk.alarms, desk.decisions, desk.rules, desk.lowered, desk.waiting, desk.sensors]
    rows.append(desk.leaves)
    return [desk.live, desk.why, [[_steady(row) for row in each] for each in rows]]


def _steady(said: object) -> object:
    if isinstance(said, Mapping):
        return {key: _steady(value) for key, value in said.items() if key not in _FLEETING}
    return [_steady(one) for one in said] if isinstance(said, list) else said
