"""The sweep from within: one worker in this process, so that it can be looked at between slices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import uvloop

from bare_steward import bare_stewards
from gate import HandPage, upstream_at
from offswitch.control.flows import FlowReader, FlowTable
from offswitch.control.page import RUN
from offswitch.gateway.exchange import Asked, Why
from offswitch.gateway.plan.front import Front, Limits, Listen
from offswitch.gateway.plan.route import Api, Route
from offswitch.gateway.stop.sweep import SLICE
from offswitch.gateway.words import Words
from offswitch.gateway.worker import Worker
from offswitch.model.level import Level

SLOT = 3
STREAMS = SLICE + 8
BEGUN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"b\r\ndata: one\n\n\r\n"
)
ASK = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


class Begins(asyncio.Protocol):
    """A server that begins a stream and says no more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, _: bytes) -> None:
        self.transport.write(BEGUN)


class Reads(asyncio.Protocol):
    """A client that asks once and reads."""

    def __init__(self) -> None:
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(ASK)

    def data_received(self, data: bytes) -> None:
        self.got += data


@dataclass
class Scene:
    """A worker with streams in flight."""

    worker: Worker
    page: HandPage
    reader: FlowReader
    clients: list[Reads] = field(default_factory=list)

    def stop(self) -> None:
        self.page.set(SLOT, RUN + Level.KILL)
        self.worker.changed(1)

    @property
    def ended(self) -> int:
        return sum(client.got.endswith(b"0\r\n\r\n") for client in self.clients)


@contextlib.asynccontextmanager
async def streaming() -> AsyncIterator[Scene]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Begins, "127.0.0.1", 0)
    route = Route("shop", upstream_at(server.sockets[0].getsockname()[1]))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    front = Front("test", (Listen("127.0.0.1", port),), (route,), Limits())
    page = HandPage()
    page.set(SLOT, RUN)
    table, fd = FlowTable.create(64)
    worker = Worker(front, Words(page.fd), {"shop": SLOT}, bare_stewards(), table=table)
    await worker.listen([listener])
    scene = Scene(worker, page, FlowReader(fd))
    for _ in range(STREAMS):
        _, client = await loop.create_connection(Reads, "127.0.0.1", port)
        scene.clients.append(client)
    await soon(lambda: all(client.got.endswith(BEGUN[-16:]) for client in scene.clients))
    try:
        yield scene
    finally:
        await worker.close()
        server.close()
        scene.reader.close()


async def soon(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def run(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)


def test_ACT_4_one_stream_that_cannot_be_worded_keeps_no_other_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[dict[str, Any]] = []

    async def story() -> None:
        async with streaming() as scene:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, what: complaints.append(what)
            )
            steward = scene.worker.site.stewards.by_api[Api.OPENAI]
            words = steward.ending

            def once(asked: Asked, why: Why) -> bytes:
                monkeypatch.setattr(steward, "ending", words)
                message = "no words"
                raise ValueError(message)

            monkeypatch.setattr(steward, "ending", once)
            scene.stop()
            await soon(lambda: scene.reader.swept == 1 and scene.ended == STREAMS)
            assert complaints
            assert scene.reader.flows() == []

    run(story())
