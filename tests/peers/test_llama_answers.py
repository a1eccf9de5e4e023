"""A real llama.cpp server says through us, put together from streams, what it says at once."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import Gate, upstream_at
from needs import needs
from offswitch.gateway.api.pick import model_stewards
from offswitch.gateway.api.sse import Events, data_of
from offswitch.gateway.api.whole.chat import Chunks
from offswitch.gateway.exchange import Shape
from offswitch.gateway.plan.route import Route
from offswitch.gateway.stewards import Stewards
from peers.llama_server import LlamaServer, missing

pytestmark = pytest.mark.peers

HELLO = [{"role": "user", "content": "hi there"}]
SAME = {"max_tokens": 12, "temperature": 0, "seed": 1, "cache_prompt": False}
AT = {"type": "object", "properties": {"at": {"enum": ["sky", "sea"]}}, "required": ["at"]}
LOOK = {"type": "function", "function": {"name": "look", "parameters": AT}}
CHAT = "/v1/chat/completions"
EACH_TIME_ANEW = {"id", "created", "created_at", "completed_at", "call_id", "timings"}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    needs(not missing(), missing())
    with LlamaServer() as running:
        yield running


def ask(port: int, path: str, said: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(said).encode(),
        {"content-type": "application/json"},
    )
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def lasting(value: Any) -> Any:  # noqa: ANN401 - whatever a server says
    """Give what is the same each time."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in EACH_TIME_ANEW}
    return [lasting(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (CHAT, {"messages": HELLO}),
        (CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 2}),
        (CHAT, {"messages": HELLO, "n": 2}),
        (CHAT, {"messages": HELLO, "tools": [LOOK], "tool_choice": "required", "max_tokens": 200}),
        ("/v1/completions", {"prompt": "once upon"}),
        ("/v1/completions", {"prompt": "once upon", "logprobs": 2}),
        ("/v1/completions", {"prompt": ["once", "upon"]}),
        ("/v1/responses", {"input": "hi there", "max_output_tokens": 12}),
        ("/v1/messages", {"messages": HELLO}),
        (
            "/v1/messages",
            {
                "messages": HELLO,
                "max_tokens": 200,
                "tools": [{"name": "look", "input_schema": AT}],
                "tool_choice": {"type": "any"},
            },
        ),
        (CHAT, {"messages": "no list"}),
        ("/v1/embeddings", {"input": "not with this model"}),
    ],
)
def test_VER_6_a_real_server_says_through_us_what_it_says_at_once(
    server: LlamaServer, tmp_path: Path, path: str, said: dict[str, Any]
) -> None:
    said = {**SAME, **said}
    route = Route("shop", upstream_at(server.port))
    with Gate([route], tmp_path, stewards=Stewards(model_stewards())) as gate:
        through = ask(gate.port, path, said)
    straight = ask(server.port, path, said)
    assert lasting(through) == lasting(straight)


def test_ACT_9_a_real_stream_passes_the_holder_of_calls(
    server: LlamaServer, tmp_path: Path
) -> None:
    said = {**SAME, "messages": HELLO, "tools": [LOOK]}  # which the tiny model never calls
    streamed = {**said, "stream": True, "stream_options": {"include_usage": True}}
    route = Route("shop", upstream_at(server.port), hold_tools=True)
    with Gate([route], tmp_path, stewards=Stewards(model_stewards())) as gate:
        request = urllib.request.Request(
            f"http://127.0.0.1:{gate.port}{CHAT}", json.dumps(streamed).encode()
        )
        with DIRECT.open(request, timeout=60) as answer:
            events = answer.read()
    _, straight = ask(server.port, CHAT, said)
    chunks = Chunks(Shape.CHAT)
    for event in Events().feed(events):
        chunks.take(*data_of(event))
    assert lasting(chunks.answer()) == lasting(straight)
