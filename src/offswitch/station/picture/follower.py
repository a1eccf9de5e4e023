"""Following the warden: the picture is as old as the last thing that it said.

    connect ─► follow ─► frames … a picture is published when the warden says that it is whole
       ▲                                 │ silence for a second and a half, an end, garbage
       └──── back-off, a second at most ◄┘ the picture is NOT LIVE from that moment on

The warden beats twice a second, so that silence is news. Nothing of the world is kept beyond it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.errors import OffswitchError, Unreachable
from offswitch.station.picture.hub import Hub
from offswitch.station.wire import raised

__all__ = ["SILENCE_S", "Follower"]

SILENCE_S = 1.5
"""Without a word for so long, nothing is known any more."""
_CHUNK = 1 << 18
_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 1.0
_MOST_PARTS = 20_000

Message = dict[str, Any]


class Follower:
    """Keeps the picture of one installation. `run` never ends by itself."""

    def __init__(
        self,
        path: str,
        hub: Hub,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """Follow the warden at the socket `path`, and publish at `hub`."""
        self._path = path
        self._hub = hub
        self._clock = clock
        self._sleep = sleep or asyncio.sleep
        self._parts: list[Message] = []

    async def run(self) -> None:
        """Follow, again and again, until cancelled."""
        pause_s = _FIRST_BACK_OFF_S
        while True:
            before = self._hub.picture.as_of_us
            why = await self._once()
            self._parts.clear()
            self._hub.lose(why)
            heard = self._hub.picture.as_of_us != before
            pause_s = _FIRST_BACK_OFF_S if heard else min(pause_s * 2, _LONGEST_BACK_OFF_S)
            await self._sleep(pause_s)

    async def _once(self) -> str:
        """Follow until it ends; say why it did."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(SILENCE_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_CHUNK)
            writer.write(frames.encode({"op": "follow"}))
            decoder = frames.Decoder(frames.MAX_ANSWER)
            while True:
                async with asyncio.timeout(SILENCE_S):
                    data = await reader.read(_CHUNK)
                if not data:
                    raise Unreachable("the warden has hung up")
                for message in decoder.feed(data):
                    self._hear(raised(message))
        except TimeoutError:
            return f"the warden has said nothing for {SILENCE_S:g} s"
        except OSError as error:
            return f"the warden cannot be reached: {error.strerror or error}"
        except OffswitchError as error:
            return error.message
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return f"the warden said what cannot be understood: {type(error).__name__}"
        finally:
            if writer is not None:
                writer.close()

    def _hear(self, message: Message) -> None:
        now_us = self._clock.wall_us()
        if message.get("event") == "beat":
            self._hub.beat(now_us)
            return
        if message.get("event") == "picture":
            self._parts.clear()
        self._parts.append(message)
        if not message.get("more"):
            parts, self._parts = self._parts, []
            self._hub.take(parts, now_us)
        elif len(self._parts) > _MOST_PARTS:
            raise Unreachable("the warden begins to tell, and does not come to an end")
