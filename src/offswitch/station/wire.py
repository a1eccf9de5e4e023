"""One question to a process of ours over its socket, without holding up the loop."""

from __future__ import annotations

import asyncio
from typing import Any

from offswitch.control import frames
from offswitch.errors import OffswitchError, Timeout, Unreachable, from_kind

__all__ = ["ask", "raised"]

_PATIENCE_S = 5.0

Message = dict[str, Any]


async def ask(path: str, message: Message, patience_s: float = _PATIENCE_S) -> Message:
    """Connect to the socket at `path`, ask, give the first answer; its errors are raised here."""
    try:
        return raised(await asyncio.wait_for(_asked(path, message), patience_s))
    except TimeoutError:
        name = path.rpartition("/")[2]
        raise Timeout(f"{name} does not answer in time", "offswitch doctor") from None
    except OSError as error:
        name = path.rpartition("/")[2]
        raise Unreachable(f"{name} cannot be reached: {error.strerror}", "offswitch up") from None


async def _asked(path: str, message: Message) -> Message:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 18)
    try:
        writer.write(frames.encode(message, frames.MAX_ANSWER))
        await writer.drain()
        decoder = frames.Decoder(frames.MAX_ANSWER)
        while data := await reader.read(1 << 18):
            for answer in decoder.feed(data):
                return answer
        raise Unreachable("it ended without an answer", "offswitch status")
    finally:
        writer.close()


def raised(answer: Message) -> Message:
    """Give an answer back, or raise the error that it is."""
    error = answer.get("error")
    if isinstance(error, dict):
        found: OffswitchError = from_kind(
            str(error.get("kind")), str(error.get("message", "")), str(error.get("hint", ""))
        )
        raise found
    return answer
