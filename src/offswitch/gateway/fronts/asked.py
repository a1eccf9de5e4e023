"""A small HTTP server for fronts that ask: whether a target stands, or to stop one.

One request a connection, everything bounded: the head, the body, the time, and how many at once.
Whoever it serves gives one answer to one request, and may take its time for it; what it raises is
an answer of 500 without a word of why, since the caller is a stranger.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from offswitch.errors import Usage

__all__ = ["Answer", "Asked", "address_given", "serve"]

_HEAD, _BODY, _AT_ONCE = 16 << 10, 64 << 10, 64
_READ_S = 5.0
_REASONS = {200: "OK", 202: "Accepted", 401: "Unauthorized", 404: "Not Found",
            405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    """With its query, as it was sent."""
    headers: dict[str, str]
    """Names in lower case; of a name that is there twice, the last."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: dict[str, object]


def address_given(text: str) -> tuple[str, int]:
    """Read `ADDRESS:PORT`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise Usage(f"not an address: {text}", "ADDRESS:PORT, such as 127.0.0.1:8199")
    return host.strip("[]"), int(port)


async def serve(
    address: tuple[str, int], answer: Callable[[Asked], Awaitable[Answer]]
) -> asyncio.Server:
    """Listen, and answer whoever asks."""
    open_now = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= _AT_ONCE:
                await _one(reader, writer, answer)
        except (OSError, ValueError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a stranger that speaks no HTTP, or too slowly, hears nothing
        finally:
            open_now -= 1
            writer.close()

    return await asyncio.start_server(one, *address, limit=_HEAD)


async def _one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[Asked], Awaitable[Answer]],
) -> None:
    async with asyncio.timeout(_READ_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        method, path, _version = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length") or 0)
        if not 0 <= length <= _BODY:
            return
        body = await reader.readexactly(length)
    try:
        given = await answer(Asked(method, path, headers, body))
    except Exception:  # noqa: BLE001 - a request is a supervised edge: it ends, we go on
        given = Answer(500, {"error": {"kind": "internal", "message": "it failed", "hint": ""}})
    text = b"" if method == "HEAD" else json.dumps(given.body).encode() + b"\n"
    reason = _REASONS.get(given.status, "Error")
    writer.write(
        f"HTTP/1.1 {given.status} {reason}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\nconnection: close\r\n\r\n".encode()
        + text
    )
    async with asyncio.timeout(_READ_S):
        await writer.drain()
