"""A plain client that is guarded asks at each call, each chunk and each retry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

import pytest

from guard.adapters.ground import Ground, stopped
from offswitch.guard import Stopped
from offswitch.guard.adapters.clients import guarded


class Http:
    """As much of an HTTP client as the real ones have: hooks before a request."""

    def __init__(self) -> None:
        self.event_hooks: dict[str, list[Callable[..., Any]]] = {"request": [], "response": []}

    def send(self) -> None:
        for hook in self.event_hooks["request"]:
            hook("a request")


class AsyncHttp(Http):
    async def asend(self) -> None:
        for hook in self.event_hooks["request"]:
            await hook("a request")

    async def aclose(self) -> None:
        pass


class Stream:
    """A stream of five chunks, and what the real ones offer beside `next`."""

    def __init__(self) -> None:
        self.items = iter(range(5))
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return next(self.items)

    def close(self) -> None:
        self.closed = True

    @property
    def text_stream(self) -> Iterator[str]:
        return (str(item) for item in self.items)

    def get_final_message(self) -> str:
        return f"nothing left: {list(self.items)}"

    def until_done(self) -> None:
        assert list(self.items) == []


class Entered:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> Any:
        return self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class Messages:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.streams: list[Stream] = []

    def create(self, *, model: str, stream: bool = False) -> Any:
        for _ in range(1 + self._client.failures):
            self._client._client.send()
        if not stream:
            return SimpleNamespace(text="good day", model=model)
        self.streams.append(Stream())
        return self.streams[-1]

    def stream(self, *, model: str) -> Any:
        return Entered(self.create(model=model, stream=True))


class Client:
    api_key = "k"

    def __init__(self) -> None:
        self._client = Http()
        self.messages = Messages(self)
        self.failures = 0
        self.closed = False

    def with_options(self, **_: object) -> Client:
        return self

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStream:
    def __init__(self) -> None:
        self.items = iter(range(5))
        self.closed = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        for item in self.items:
            return item
        raise StopAsyncIteration

    async def close(self) -> None:
        self.closed = True

    async def get_final_message(self) -> str:
        return f"nothing left: {list(self.items)}"


class AsyncClient:
    def __init__(self) -> None:
        self._client = AsyncHttp()
        self.stream = AsyncStream()

    def create(self, *, stream: bool = False) -> Any:  # a plain function that gives a coroutine
        async def later() -> Any:
            await self._client.asend()
            return self.stream if stream else "good day"

        return later()


def test_ACT_1_a_call_asks_first_and_is_told(ground: Ground) -> None:
    client = guarded(Client(), ground.guard)
    assert client.messages.create(model="m-7").text == "good day"
    assert [line["args"] for line in ground.lines()] == [{"model": "m-7"}]
    assert client.api_key == "k"
    for level in ("drain", "freeze", "kill", "poweroff"):
        ground.latch(level)
        assert stopped(lambda: client.messages.create(model="m-7")) == level
        assert stopped(lambda: client.with_options().messages.create(model="m")) == level
    ground.latch("restrict")
    assert client.messages.create(model="m-7").text == "good day", "an agent may end its sentence"


def test_ACT_1_a_client_that_a_program_derives_is_asked_as_its_base_is(ground: Ground) -> None:
    derived = type("Derived", (Client,), {"__module__": "program.llm"})
    client: Client = guarded(derived(), ground.guard)
    chunks = client.messages.create(model="m-7", stream=True)
    assert next(chunks) == 0
    ground.latch("drain")
    assert stopped(lambda: client.messages.create(model="m-7")) == "drain"
    ground.latch("kill")
    assert stopped(lambda: next(chunks)) == "kill"


@pytest.mark.parametrize("level", ["freeze", "kill"])
def test_ACT_1_no_chunk_is_handed_on_after_a_stop_and_the_stream_is_closed(
    ground: Ground, level: str
) -> None:
    client = guarded(Client(), ground.guard)
    seen = []

    def read() -> None:
        for chunk in client.messages.create(model="m-7", stream=True):
            seen.append(chunk)
            if chunk == 2:
                ground.latch(level)

    assert stopped(read) == level
    assert seen == [0, 1, 2]
    assert client.messages._client.messages.streams[0].closed


def test_a_stream_that_has_begun_may_end_while_it_drains(ground: Ground) -> None:
    client = guarded(Client(), ground.guard)
    chunks = client.messages.create(model="m-7", stream=True)
    ground.latch("drain")
    assert list(chunks) == [0, 1, 2, 3, 4]


def test_ACT_6_a_stream_ends_when_nobody_renews_the_lease(ground: Ground) -> None:
    chunks = guarded(Client(), ground.guard).messages.create(model="m-7", stream=True)
    next(chunks)
    ground.page.renew(-1)
    assert stopped(lambda: next(chunks)) is None


@pytest.mark.parametrize("view", ["text_stream", "get_final_message", "until_done"])
def test_a_stream_asks_whichever_way_it_is_read(ground: Ground, view: str) -> None:
    client = guarded(Client(), ground.guard)
    with client.messages.stream(model="m-7") as stream:
        inner = stream._inner
        ground.latch("kill")
        if view == "text_stream":
            assert stopped(lambda: list(stream.text_stream)) == "kill"
        else:
            assert stopped(getattr(stream, view)) == "kill"
        assert inner.closed
    ground.latch(None)
    with client.messages.stream(model="m-7") as stream:
        assert stream.get_final_message() == "nothing left: []"


def test_a_request_is_not_repeated_after_a_stop(ground: Ground) -> None:
    plain = Client()
    client = guarded(plain, ground.guard)
    plain.failures = 3
    sent = []

    def stop(_request: object) -> None:
        sent.append(1)
        ground.latch("kill")

    plain._client.event_hooks["request"].append(stop)
    assert stopped(lambda: client.messages.create(model="m-7")) == "kill"
    assert sent == [1]


def test_a_client_whose_requests_cannot_be_asked_for_is_refused(ground: Ground) -> None:
    with pytest.raises(TypeError, match="retries"):
        guarded(SimpleNamespace(messages=None), ground.guard)


def test_a_guarded_client_is_closed_as_the_client_is(ground: Ground) -> None:
    plain = Client()
    ground.latch("kill")
    with guarded(plain, ground.guard):
        pass
    assert plain.closed


def test_one_who_awaits_is_asked_as_well(ground: Ground) -> None:
    plain: Any = AsyncClient()
    client = guarded(plain, ground.guard)

    async def read(*, late: bool) -> list[int]:
        assert await client.create() == "good day"
        seen: list[int] = []
        try:
            coming = client.create(stream=True)
            if late:
                ground.latch("kill")
            async for chunk in await coming:
                seen.append(chunk)
                if chunk == 1:
                    ground.latch("kill")
        except Stopped:
            ground.latch(None)
            return seen
        pytest.fail("it was not stopped")

    assert asyncio.run(read(late=True)) == []
    assert asyncio.run(read(late=False)) == [0, 1]
    assert plain.stream.closed

    async def final() -> str:
        plain.stream = AsyncStream()
        return str(await (await client.create(stream=True)).get_final_message())

    assert asyncio.run(final()) == "nothing left: []"
