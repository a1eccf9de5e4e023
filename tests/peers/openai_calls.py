"""A program for the environment `openai`: makes calls with the real client, and prints what it got.

python openai_calls.py BASE_URL CALL…     a JSON object: for each call its result, or its error
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import openai

BASE, *CALLS = sys.argv[1:]
ASKED: list[str] = []
HELLO: Any = [{"role": "user", "content": "hello"}]
ON: Any = [*HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "on"}]
LOOK: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
FLAT: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}

client = openai.OpenAI(
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
    return client.chat.completions.create(model="m-7", messages=ON, **more)


def gathered() -> Any:  # noqa: ANN401 - the client's own way of putting a stream together
    with client.chat.completions.stream(model="m-7", messages=ON, tools=[LOOK]) as stream:
        stream.until_done()
        return plain(stream.get_final_completion())


def responded() -> Any:  # noqa: ANN401
    with client.responses.stream(model="m-7", input="hello", tools=[FLAT]) as stream:
        stream.until_done()
        return plain(stream.get_final_response())


async def _asynchronously() -> list[Any]:
    async with openai.AsyncOpenAI(base_url=BASE, api_key="sk-test", timeout=20) as other:
        stream = await other.chat.completions.create(model="m-7", messages=ON, stream=True)
        return [plain(each) async for each in stream]


KNOWN: dict[str, Callable[[], Any]] = {
    "chat": lambda: plain(talk()),
    "chat-new": lambda: plain(client.chat.completions.create(model="m-7", messages=HELLO)),
    "chat-many": lambda: plain(talk(n=3)),
    "chat-stream": lambda: listed(talk(stream=True)),
    "chat-usage": lambda: listed(talk(stream=True, stream_options={"include_usage": True})),
    "chat-tools": lambda: plain(talk(tools=[LOOK])),
    "chat-tools-stream": lambda: listed(talk(tools=[LOOK], stream=True)),
    "chat-tools-gathered": gathered,
    "chat-async": lambda: asyncio.run(_asynchronously()),
    "completion": lambda: plain(client.completions.create(model="m-7", prompt="once")),
    "completion-stream": lambda: listed(
        client.completions.create(model="m-7", prompt="once", stream=True)
    ),
    "response": lambda: plain(client.responses.create(model="m-7", input="hello")),
    "response-stream": lambda: listed(
        client.responses.create(model="m-7", input="hello", stream=True)
    ),
    "response-gathered": responded,
    "embeddings": lambda: plain(client.embeddings.create(model="m-7", input=["a", "b"])),
    "models": lambda: listed(client.models.list()),
}


def told(error: openai.APIError) -> dict[str, Any]:
    return {
        "kinds": [each.__name__ for each in type(error).__mro__],
        "code": error.code,
        "message": error.message,
        "status": getattr(error, "status_code", None),
    }


def tried(call: Callable[[], Any]) -> dict[str, Any]:
    before = len(ASKED)
    try:
        said: dict[str, Any] = {"result": call()}
    except openai.APIError as error:
        said = {"error": told(error)}
    return {**said, "ended": time.monotonic(), "asked": len(ASKED) - before}


print(json.dumps({name: tried(KNOWN[name]) for name in CALLS}))
