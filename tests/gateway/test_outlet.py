"""What waits for a slow client waits where a stop can take it back."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Coroutine
from typing import Any, cast

import pytest
import uvloop

from offswitch.gateway.wire.outlet import Outlet, tune

PIECE = b"x" * 3000


class Owner(asyncio.Protocol):
    """Whom an outlet belongs to."""

    def __init__(self) -> None:
        self.allowed = True
        self.told: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.outlet = Outlet(asyncio.get_running_loop(), cast(asyncio.Transport, transport), self)

    def crowded(self) -> None:
        self.told.append("crowded")

    def may_write(self) -> bool:
        return self.allowed

    def drained(self) -> None:
        self.told.append("drained")

    def broken(self) -> None:
        self.told.append("broken")
        self.outlet.abort()


async def slow() -> tuple[Owner, socket.socket, int]:
    """Fill everything between an outlet and a client that reads nothing; say what was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    tune(listener)
    loop, owner = asyncio.get_running_loop(), Owner()
    server = await loop.create_server(lambda: owner, sock=listener)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.setblocking(False)
    await loop.sock_connect(client, listener.getsockname())
    await asyncio.sleep(0.01)
    sent = 0
    while not owner.told:
        owner.outlet.send(PIECE)
        sent += len(PIECE)
        await asyncio.sleep(0)
    server.close()
    return owner, client, sent


async def read(client: socket.socket, seconds: float = 0.1) -> int:
    """Read what comes, until nothing does."""
    loop, got = asyncio.get_running_loop(), 0
    while True:
        try:
            data = await asyncio.wait_for(loop.sock_recv(client, 65536), seconds)
        except TimeoutError:
            return got
        except ConnectionResetError:
            return got
        if not data:
            return got
        got += len(data)


def run(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)


def test_what_waited_goes_out_in_order_and_whole() -> None:
    async def story() -> None:
        owner, client, sent = await slow()
        assert await read(client) == sent
        assert owner.told == ["crowded", "drained"]
        assert owner.outlet.waiting == 0
        owner.outlet.abort()
        client.close()

    run(story())


def test_ACT_4_what_waited_does_not_go_out_after_the_word() -> None:
    async def story() -> None:
        owner, client, sent = await slow()
        owner.allowed = False
        waiting = owner.outlet.waiting
        assert await read(client) == sent - waiting
        assert owner.outlet.waiting == waiting > 60_000
        owner.outlet.drop()
        assert await read(client) == 0
        owner.outlet.abort()
        client.close()

    run(story())


def test_a_frozen_outlet_hands_over_nothing_until_it_is_thawed() -> None:
    async def story() -> None:
        owner, client, sent = await slow()
        owner.outlet.freeze()
        waiting = owner.outlet.waiting
        assert await read(client) == sent - waiting
        owner.outlet.thaw()
        assert await read(client) == waiting
        owner.outlet.abort()
        client.close()

    run(story())


def test_an_abort_throws_away_what_the_kernel_has() -> None:
    async def story() -> None:
        owner, client, sent = await slow()
        held = sent - owner.outlet.waiting
        assert owner.outlet.unsent > owner.outlet.waiting
        owner.outlet.abort()
        await asyncio.sleep(0.01)
        assert await read(client) < held
        client.close()

    run(story())


def test_without_a_descriptor_to_wait_with_the_client_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(_: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    async def story() -> None:
        monkeypatch.setattr(os, "dup", none)
        owner, client, _ = await slow()
        assert owner.told == ["broken"]
        assert owner.outlet.waiting == 0
        client.close()

    run(story())
