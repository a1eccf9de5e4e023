"""A program for the environment `anthropic`: makes calls with the real client.

python anthropic_calls.py BASE_URL CALL…  a JSON object: for each call its result, or its error
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import anthropic
import httpx2

BASE, *CALLS = sys.argv[1:]
ASKED: list[str] = []
ON: Any = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "on"},
]
LOOK: Any = {"name": "look", "input_schema": {"type": "object"}}

client = anthropic.Anthropic(
    base_url=BASE,
    api_key="sk-test",
    timeout=20,
    http_client=httpx2.Client(event_hooks={"request": [lambda r: ASKED.append(str(r.url))]}),
)


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever the client gives
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def listed(stream: Iterable[Any]) -> list[Any]:
    return [plain(each) for each in stream]


def talk(**more: Any) -> Any:  # noqa: ANN401
    return client.messages.create(model="m-7", max_tokens=64, messages=ON, **more)


def gathered() -> Any:  # noqa: ANN401 - the client's own way of putting a stream together
    with client.messages.stream(model="m-7", max_tokens=64, messages=ON, tools=[LOOK]) as stream:
        return plain(stream.get_final_message())


async def _asynchronously() -> list[Any]:
    async with anthropic.AsyncAnthropic(base_url=BASE, api_key="sk-test", timeout=20) as other:
        stream = await other.messages.create(model="m-7", max_tokens=64, messages=ON, stream=True)
        return [plain(each) async for each in stream]


def counted() -> Any:  # noqa: ANN401
    return plain(client.messages.count_tokens(model="m-7", messages=ON))


KNOWN: dict[str, Callable[[], Any]] = {
    "message": lambda: plain(talk()),
    "message-stream": lambda: listed(talk(stream=True)),
    "message-tools": lambda: plain(talk(tools=[LOOK])),
    "message-tools-stream": lambda: listed(talk(tools=[LOOK], stream=True)),
    "message-tools-gathered": gathered,
    "message-async": lambda: asyncio.run(_asynchronously()),
    "count": counted,
    "models": lambda: listed(client.models.list()),
}


def told(error: anthropic.APIError) -> dict[str, Any]:
    return {
        "kinds": [each.__name__ for each in type(error).__mro__],
        "body": error.body,
        "message": str(error),
        "status": getattr(error, "status_code", None),
    }


def tried(call: Callable[[], Any]) -> dict[str, Any]:
    before = len(ASKED)
    try:
        said: dict[str, Any] = {"result": call()}
    except anthropic.APIError as error:
        said = {"error": told(error)}
    return {**said, "ended": time.monotonic(), "asked": len(ASKED) - before}


print(json.dumps({name: tried(KNOWN[name]) for name in CALLS}))
