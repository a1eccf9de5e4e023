"""The real Anthropic client against a scripted server: sync, async, streams, retries."""

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

import anthropic

from guard.adapters.ground import Ground, serving, stopped
from offswitch.guard.adapters.clients import guarded

ASK: dict[str, Any] = {
    "model": "m-7",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}
MESSAGE: dict[str, Any] = {
    "id": "msg",
    "type": "message",
    "role": "assistant",
    "model": "m-7",
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def answer(body: dict[str, Any]) -> Any:
    if body.get("stream"):
        return events()
    return {**MESSAGE, "stop_reason": "end_turn", "content": [{"type": "text", "text": "good day"}]}


def event(kind: str, **data: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def events() -> Iterator[bytes]:
    yield event("message_start", message={**MESSAGE, "content": []})
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for number in range(200):
        delta = {"type": "text_delta", "text": f"{number} "}
        yield event("content_block_delta", index=0, delta=delta)
        time.sleep(0.002)
    yield event("content_block_stop", index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": 200})
    yield event("message_stop")


def plain(ground: Ground, url: str, server: Any) -> None:
    client = guarded(anthropic.Anthropic(base_url=url, api_key="k"), ground.guard)
    assert client.messages.create(**ASK).content[0].text == "good day"
    assert ground.told() == [("step", "model", "messages.create")]
    ground.latch("restrict")
    assert client.messages.create(**ASK).id == "msg"
    asked = len(server.asked)
    for level in ("drain", "freeze", "kill"):
        ground.latch(level)
        for call in (
            lambda: client.messages.create(**ASK),
            lambda: client.with_options(timeout=3).messages.create(**ASK),
            lambda: client.beta.messages.create(**ASK),
            lambda: client.messages.with_raw_response.create(**ASK),
            lambda: client.messages.stream(**ASK),
            lambda: client.messages.count_tokens(model="m-7", messages=ASK["messages"]),
        ):
            assert stopped(call) == level
    assert len(server.asked) == asked
    ground.latch(None)
    server.fails = 9
    threading.Timer(0.1, ground.latch, ["kill"]).start()
    assert stopped(lambda: client.messages.create(**ASK)) == "kill"
    assert len(server.asked) == asked + 1, "no retry after the stop"
    server.fails = 0
    ground.latch(None)


def streams(ground: Ground, url: str, server: Any) -> None:
    client = guarded(anthropic.Anthropic(base_url=url, api_key="k"), ground.guard)
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_text().startswith("0 1 2 ")
    for how in ("create", "text", "events", "final"):
        server.broken.clear()
        seen: list[Any] = []

        def read(how: str = how, into: list[Any] = seen) -> None:
            if how == "create":
                for each in client.messages.create(**ASK, stream=True):
                    into.append(each)
                    if len(into) == 5:
                        ground.latch("kill")
                return
            with client.messages.stream(**ASK) as stream:
                if how == "final":
                    threading.Timer(0.05, ground.latch, ["kill"]).start()
                    stream.get_final_message()
                for each in stream.text_stream if how == "text" else stream:
                    into.append(each)
                    if len(into) == 5:
                        ground.latch("kill")

        assert stopped(read) == "kill"
        assert len(seen) == (0 if how == "final" else 5)
        assert server.broken.wait(5), f"the server noticed: {how}"
        ground.latch(None)


async def later(ground: Ground, url: str, server: Any) -> None:
    client = guarded(anthropic.AsyncAnthropic(base_url=url, api_key="k"), ground.guard)
    assert (await client.messages.create(**ASK)).id == "msg"
    async with client.messages.stream(**ASK) as stream:
        assert (await stream.get_final_message()).id == "msg"
    server.broken.clear()
    seen, level = 0, None
    try:
        async with client.messages.stream(**ASK) as stream:
            async for _ in stream.text_stream:
                seen += 1
                if seen == 5:
                    ground.latch("kill")
    except BaseException as stop:  # noqa: BLE001 - told apart below
        level = getattr(stop, "level", repr(stop))
    assert (seen, level) == (5, "kill")
    assert await asyncio.to_thread(server.broken.wait, 5)
    ground.latch(None)
    await client.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(answer) as server:
        ground = Ground(Path(folder))
        for part in (plain, streams):
            part(ground, server.url, server)
        asyncio.run(later(ground, server.url, server))
    print(f"anthropic {anthropic.__version__}")


if __name__ == "__main__":
    sys.exit(main())
