"""One question over HTTP: asked seldom, answered shortly, on a connection of its own.

The server is the upstream that requests go to anyway; its answer is bounded in time and size, and
a redirect is no answer. Nothing is pooled: two questions a stop are worth no pool.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Any

from offswitch.gateway.exchange import Headers
from offswitch.gateway.plan.upstream import Upstream

__all__ = ["Ask"]

_TIMEOUT_S = 3.0
_LARGEST = 2 << 20
_LEAST_FIELDS = 2


class Ask:
    """Asks one server."""

    __slots__ = ("_context", "_server")

    def __init__(self, server: Upstream, context: ssl.SSLContext | None = None) -> None:
        """`context` where TLS is spoken."""
        self._server = server
        self._context = context if server.tls else None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Ask; OSError (a time-out is one) or ValueError where there is no answer."""
        return await self._asked("GET", path, b"")

    async def post(
        self,
        path: str,
        said: Any,  # noqa: ANN401 - any JSON
        more: Headers = (),
    ) -> tuple[int, bytes]:
        """Say something, with `more` headers."""
        return await self._asked("POST", path, json.dumps(said).encode(), more)

    async def _asked(
        self, method: str, path: str, body: bytes, more: Headers = ()
    ) -> tuple[int, bytes]:
        async with asyncio.timeout(_TIMEOUT_S):
            server = self._server
            name = server.host if self._context is not None else None
            reader, writer = await asyncio.open_connection(
                server.host, server.port, ssl=self._context, server_hostname=name, limit=_LARGEST
            )
            try:
                writer.write(self._head(method, path, len(body), more) + body)
                return await _answer(reader)
            except asyncio.IncompleteReadError:
                raise ValueError("it broke off") from None
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    def _head(self, method: str, path: str, length: int, more: Headers) -> bytes:
        server = self._server
        lines = [
            f"{method} ".encode() + (server.prefix + path.encode() or b"/") + b" HTTP/1.1",
            b"host: " + server.authority,
            b"connection: close",
            b"accept: */*",
        ]
        if server.key:
            lines.append(b"authorization: Bearer " + server.key)
        lines += [name + b": " + value for name, value in more]
        if method == "POST":
            lines += [b"content-type: application/json", f"content-length: {length}".encode()]
        return b"\r\n".join([*lines, b"", b""])


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("its head is too long") from None
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) < _LEAST_FIELDS or not words[0].startswith(b"HTTP/1."):
        raise ValueError("it speaks no HTTP")
    fields = dict(line.lower().split(b":", 1) for line in lines if b":" in line)
    status = int(words[1])
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        return status, await _chunks(reader)
    length = fields.get(b"content-length")
    if length is None:
        return status, await _bounded(reader)
    if int(length) > _LARGEST:
        raise ValueError("its answer is too long")
    return status, await reader.readexactly(int(length))


async def _bounded(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(1 << 16):
        body += piece
        if len(body) > _LARGEST:
            raise ValueError("its answer is too long")
    return bytes(body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            return bytes(body)
        if size < 0 or len(body) + size > _LARGEST:
            raise ValueError("its answer is too long")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
