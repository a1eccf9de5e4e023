"""The real OpenAI client against a scripted server: sync, async, streams, retries, copies."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai

from guard.adapters.ground import Ground, serving, stopped
from offswitch.guard.adapters.clients import guarded

ASK: dict[str, Any] = {"model": "m-7", "messages": [{"role": "user", "content": "hello"}]}


def answer(body: dict[str, Any]) -> Any:
    if body.get("stream"):
        return chunks()
    message = {"role": "assistant", "content": "good day"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m-7",
        "choices": [choice],
    }


def chunks() -> Iterator[bytes]:
    for number in range(200):
        delta = {"role": "assistant", "content": f"{number} "}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-7"}
        yield b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"
        time.sleep(0.002)
    yield b"data: [DONE]\n\n"


def plain(ground: Ground, url: str, server: Any) -> None:
    client = guarded(openai.OpenAI(base_url=url, api_key="k", max_retries=2), ground.guard)
    done = client.chat.completions.create(**ASK)
    assert done.choices[0].message.content == "good day"
    assert ground.told() == [("step", "model", "chat.completions.create")]
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert raw.parse().choices[0].message.content == "good day"
    asked = len(server.asked)
    ground.latch("restrict")
    assert client.chat.completions.create(**ASK).id == "c"
    for level in ("drain", "freeze", "kill"):
        ground.latch(level)
        for call in (
            lambda: client.chat.completions.create(**ASK),
            lambda: client.with_options(timeout=3).chat.completions.create(**ASK),
            lambda: client.chat.completions.with_raw_response.create(**ASK),
            lambda: client.responses.create(model="m-7", input="hello"),
            lambda: client.embeddings.create(model="m-7", input="hello"),
            client.models.list,
        ):
            assert stopped(call) == level
    assert len(server.asked) == asked + 1, "nothing was sent after the stop"
    ground.latch(None)


def streams(ground: Ground, url: str, server: Any) -> None:
    client = guarded(openai.OpenAI(base_url=url, api_key="k"), ground.guard)
    with client.chat.completions.create(**ASK, stream=True) as whole:
        assert sum(1 for _ in whole) == 200
    for level in ("freeze", "kill"):
        server.broken.clear()
        seen = []

        def read(into: list[Any] = seen, at: str = level) -> None:
            for chunk in client.chat.completions.create(**ASK, stream=True):
                into.append(chunk)
                if len(into) == 5:
                    ground.latch(at)

        assert stopped(read) == level
        assert len(seen) == 5
        assert server.broken.wait(5), "the server noticed"
        ground.latch(None)
    # What has begun may end while it drains.
    count = 0
    for _ in client.chat.completions.create(**ASK, stream=True):
        count += 1
        ground.latch("drain")
    assert count == 200
    ground.latch(None)
    with client.chat.completions.stream(**ASK) as events:
        assert next(iter(events)) is not None
        ground.latch("kill")
        assert stopped(events.get_final_completion) == "kill"
    ground.latch(None)
    with client.chat.completions.stream(**ASK) as events:
        assert events.get_final_completion().choices[0].message.content.startswith("0 1 2 ")
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as raw:
        lines = raw.iter_lines()
        assert next(lines).startswith("data: ")
        ground.latch("kill")
        assert stopped(lambda: next(lines)) == "kill"
    ground.latch(None)


def retries(ground: Ground, url: str, server: Any) -> None:
    """A request that failed is not repeated after a stop."""
    client = guarded(openai.OpenAI(base_url=url, api_key="k", max_retries=4), ground.guard)
    server.fails = 1
    assert client.chat.completions.create(**ASK).id == "c", "a retry as such is let through"
    asked = len(server.asked)
    server.fails = 9
    threading.Timer(0.1, ground.latch, ["kill"]).start()
    assert stopped(lambda: client.chat.completions.create(**ASK)) == "kill"
    assert len(server.asked) == asked + 1
    server.fails = 0
    ground.latch(None)


async def later(ground: Ground, url: str, server: Any) -> None:
    client = guarded(openai.AsyncOpenAI(base_url=url, api_key="k"), ground.guard)
    done = await client.chat.completions.create(**ASK)
    assert done.choices[0].message.content == "good day"
    server.broken.clear()
    seen = 0
    level = None
    try:
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            seen += 1
            if seen == 5:
                ground.latch("kill")
    except BaseException as stop:  # noqa: BLE001 - told apart below
        level = getattr(stop, "level", repr(stop))
    assert (seen, level) == (5, "kill")
    assert server.broken.wait(5)
    ground.latch(None)
    async with client.chat.completions.stream(**ASK) as events:
        assert (await events.get_final_completion()).id == "c"
    task = asyncio.ensure_future(client.chat.completions.create(**ASK))
    ground.latch("kill")  # after it was asked for, before it was sent
    asked = len(server.asked)
    try:
        await task
    except BaseException as stop:  # noqa: BLE001 - likewise
        level = "late " + str(getattr(stop, "level", repr(stop)))
    assert level == "late kill"
    assert len(server.asked) == asked
    ground.latch(None)
    await client.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(answer) as server:
        ground = Ground(Path(folder))
        for part in (plain, streams, retries):
            part(ground, server.url, server)
        asyncio.run(later(ground, server.url, server))
    print(f"openai {openai.__version__}")


if __name__ == "__main__":
    sys.exit(main())
