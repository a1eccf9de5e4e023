"""From a press to the cut: the warden at once, the keeper and the spool when it is silent.

    0 ms     the warden's socket, on a connection of its own
    20 ms    not accepted: the keeper's, too
    200 ms   nor there: a kill lies in the spool as well, its name the scope (SR-11)
    then     again each second, until somebody has accepted it

The same nonce and time go everywhere, so it stays one press. Nothing here asks a database, a
session store or the record: whoever may press was known before. Presses of the same scope,
level and person that come while one is under way are that one (SEC-4): ten thousand at once
are ten thousand times accepted, and one order.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from offswitch.clock import Clock, new_nonce
from offswitch.control import frames
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.level import Level

__all__ = ["Pressed", "Presser"]

_ACCEPT_S = 0.02
_SPOOL_S = 0.2
_AGAIN_S = 1.0
_GIVE_UP_S = 60.0
_FINAL_S = 120.0
_JOINS_US = 1_000_000
_KEPT = 1000

Message = dict[str, Any]


@dataclass(slots=True)
class Pressed:
    """One press, and what has become of it so far."""

    id: str
    """Its name on pages: the beginning of its nonce."""
    scopes: tuple[str, ...]
    level: Level
    by: str
    """`person:ada`, `token:ci`, `device:ada-phone`."""
    channel: str
    time_us: int
    """UTC, microseconds."""
    mono_us: int
    count: int = 1
    """How often it was pressed while it was under way."""
    order: str = ""
    """The order's digest, once somebody has accepted it."""
    accepted_us: int = 0
    """Monotonic microseconds; 0: nobody has yet."""
    accepted_by: str = ""
    """`warden` or `keeper`; `spool` where only a name could be left."""
    answer: Message = field(default_factory=dict)
    """The final object of a stop: targets, layers, confirmed."""
    trouble: str = ""
    """Why it is not accepted yet, or no final answer came."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> str:
        """Name it: `commanded`, `accepted`, `confirmed` or `not confirmed`."""
        if self.answer:
            return "confirmed" if self.answer.get("confirmed") else "not confirmed"
        return "accepted" if self.accepted_us else "commanded"

    async def told(self, within_s: float, *, whole: bool) -> None:
        """Wait until somebody has accepted it, or until its last word is there (`whole`)."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while not self.answer and (whole or not self.accepted_us):
            try:
                await asyncio.wait_for(self.changed.wait(), max(end - loop.time(), 0.001))
            except TimeoutError:
                return

    def as_dict(self) -> Message:
        """Give the object that the API and the feed carry."""
        waited = (self.accepted_us - self.mono_us) / 1000 if self.accepted_us else None
        return {
            "press": self.id,
            "scopes": list(self.scopes),
            "level": self.level.label,
            "by": self.by,
            "time_us": self.time_us,
            "state": self.state,
            "accepted_ms": waited,
            "accepted_by": self.accepted_by,
            "order": self.order,
            "confirmed": bool(self.answer.get("confirmed")),
            "recorded": self.answer.get("recorded", "pending"),
            "targets": self.answer.get("targets", []),
            "nearest": self.answer.get("nearest", []),
            "notes": self.answer.get("notes", []),
            "trouble": self.trouble,
        }


class Presser:
    """Sends stops; one in a station."""

    def __init__(self, place: Place, clock: Clock, tell: Callable[[Pressed], None]) -> None:
        """Press in the installation at `place`; `tell` hears of every change of a press."""
        self._place = place
        self._clock = clock
        self._tell = tell
        self._known: OrderedDict[str, Pressed] = OrderedDict()
        self._open: dict[tuple[tuple[str, ...], Level, str, str], Pressed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def press(
        self, scopes: tuple[str, ...], level: Level, by: str, channel: str, reason: str = ""
    ) -> Pressed:
        """Stop `scopes` now; returns at once, with the press to follow."""
        now_us = self._clock.mono_us()
        key = (scopes, level, by, channel)
        under_way = self._open.get(key)
        if under_way is not None and (
            not under_way.accepted_us or now_us - under_way.accepted_us < _JOINS_US
        ):
            under_way.count += 1
            return under_way
        nonce = new_nonce()
        pressed = Pressed(nonce, scopes, level, by, channel, self._clock.wall_us(), now_us)
        self._open[key] = pressed
        self._known[nonce] = pressed
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        self._start(self._go(pressed, reason))
        self._tell(pressed)
        return pressed

    def of(self, name: str) -> Pressed | None:
        """Give a press by its id."""
        return self._known.get(name)

    @property
    def latest(self) -> list[Pressed]:
        """The latest presses, the newest first."""
        return list(reversed(self._known.values()))

    def _start(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(self, pressed: Pressed, reason: str) -> None:
        message = {
            "op": "stop",
            "scopes": list(pressed.scopes),
            "level": pressed.level.label,
            "reason": reason,
            "nonce": pressed.id,
            "time_us": pressed.time_us,
            "channel": pressed.channel,
            "by": pressed.by,
            "wait": False,
        }
        try:
            async with asyncio.TaskGroup() as roads:
                roads.create_task(self._to_warden(pressed, message))
                roads.create_task(self._chase(pressed, message))
        finally:
            key = (pressed.scopes, pressed.level, pressed.by, pressed.channel)
            if self._open.get(key) is pressed:
                del self._open[key]
            self._change(pressed)

    def _change(self, pressed: Pressed) -> None:
        pressed.changed.set()
        pressed.changed = asyncio.Event()
        self._tell(pressed)

    # --- the warden ---------------------------------------------------------------

    async def _to_warden(self, pressed: Pressed, message: Message) -> None:
        """Send it until somebody has accepted it and the last word is there."""
        end_us = self._clock.mono_us() + int(_GIVE_UP_S * 1e6)
        while not pressed.answer and (
            pressed.accepted_by == "warden" or self._clock.mono_us() < end_us
        ):
            try:
                await asyncio.wait_for(
                    self._exchange(self._place.warden_socket, pressed, message, "warden"),
                    _FINAL_S if pressed.accepted_by == "warden" else _GIVE_UP_S,
                )
            except (OSError, OffswitchError, TimeoutError) as error:
                pressed.trouble = f"the warden does not answer: {error}"[:300]
            if pressed.answer or pressed.accepted_by == "warden":
                break
            await asyncio.sleep(_AGAIN_S if pressed.accepted_us else _ACCEPT_S)
        if not pressed.answer and not pressed.trouble:
            pressed.trouble = "no last word came: see the state of the targets"

    async def _exchange(self, path: str, pressed: Pressed, message: Message, who: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path, limit=1 << 18)
        try:
            writer.write(frames.encode(message))
            decoder = frames.Decoder(frames.MAX_ANSWER)
            while data := await reader.read(1 << 18):
                for answer in decoder.feed(data):
                    self._hear(pressed, answer, who)
                if pressed.answer or (who == "keeper" and pressed.accepted_us):
                    return
        finally:
            writer.close()

    def _hear(self, pressed: Pressed, answer: Message, who: str) -> None:
        if answer.get("accepted"):
            pressed.order = str(answer.get("order", "")) or pressed.order
            if not pressed.accepted_us or who == "warden":
                pressed.accepted_us = pressed.accepted_us or self._clock.mono_us()
                pressed.accepted_by = who
                pressed.trouble = ""
        elif "error" in answer:
            pressed.trouble = str(answer["error"].get("message", ""))[:300]
        elif who == "warden" and "targets" in answer:
            pressed.answer = answer
        self._change(pressed)

    # --- when it is silent --------------------------------------------------------

    async def _chase(self, pressed: Pressed, message: Message) -> None:
        await asyncio.sleep(_ACCEPT_S)
        if pressed.accepted_us:
            return
        keeper = asyncio.get_running_loop().create_task(self._to_keeper(pressed, message))
        self._tasks.add(keeper)
        keeper.add_done_callback(self._tasks.discard)
        await asyncio.sleep(_SPOOL_S - _ACCEPT_S)
        if pressed.state == "commanded" and pressed.level >= Level.KILL:
            self._to_spool(pressed)
        await keeper

    async def _to_keeper(self, pressed: Pressed, message: Message) -> None:
        try:
            await asyncio.wait_for(
                self._exchange(self._place.keeper_socket, pressed, message, "keeper"), _AGAIN_S
            )
        except (OSError, OffswitchError, TimeoutError) as error:
            pressed.trouble = f"neither warden nor keeper answers: {error}"[:300]

    def _to_spool(self, pressed: Pressed) -> None:
        """Leave names where warden and keeper look. There a stop is always a kill."""
        for scope in pressed.scopes:
            name = "all" if scope == "/" else quote(scope, safe="=:@+")
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(f"{self._place.spool}/{name}", flags, 0o600))
            except OSError as error:
                pressed.trouble = f"nor can a name be left in the spool: {error.strerror}"
                return
        if not pressed.accepted_us:
            pressed.accepted_by = "spool"
            self._change(pressed)

    async def close(self) -> None:
        """Leave what is under way; the warden goes on with what it has accepted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
