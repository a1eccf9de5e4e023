"""A real llama.cpp server behind the gateway: answers as they were, and idle after a stop.

Closing the connection of a client that wanted no stream stops nothing on a busy llama.cpp; through
the gateway every answer is a stream upstream, and so each can be given up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import Client, Gate, upstream_at
from needs import needs
from offswitch.gateway.api.pick import model_stewards
from offswitch.gateway.plan.route import Evidence, EvidenceKind, Route
from offswitch.gateway.stewards import Stewards
from peers.llama_server import LlamaServer, chat, missing

pytestmark = pytest.mark.peers
SOON_S = 1.0
"""How soon is `benchmarks/llama.py`'s to say; here it must only come, and by the stop."""


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaServer]:
    needs(not missing(), missing())
    with LlamaServer() as server:
        yield server


@pytest.fixture
def gate(llama: LlamaServer, tmp_path: Path) -> Iterator[Gate]:
    upstream, evidence = upstream_at(llama.port), Evidence(EvidenceKind.LLAMA_CPP)
    routes = [
        Route("shop/other", upstream, header={b"x-tenant": b"other"}),
        Route("shop/chat", upstream, evidence=evidence),
    ]
    with Gate(routes, tmp_path, stewards=Stewards(model_stewards())) as one:
        yield one


def begin(llama: LlamaServer, gate: Gate, body: bytes, more: str = "") -> tuple[Client, int]:
    """Ask through the gateway, and wait until the server works on it; give its task."""
    after = len(llama.lines)
    client = gate.client()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\n{more}"
    client.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return client, llama.began(after)


def whole(port: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Ask for a short answer, always the same; give it without what differs each time."""
    said = [{"role": "user", "content": "Is it open?"}]
    asked = {"model": "m-7", "messages": said, "max_tokens": 24, "temperature": 0, "seed": 7}
    client = Client(port)
    client.ask(body=json.dumps(asked | more).encode())
    status, _headers, body = client.answer()
    client.close()
    assert status == 200, body
    answer = json.loads(body)
    return {key: answer[key] for key in ("object", "model", "choices", "usage")}


def test_an_answer_that_was_put_together_again_is_the_one_that_the_server_gives(
    llama: LlamaServer, gate: Gate
) -> None:
    there, here = whole(llama.port), whole(gate.port)
    assert here["choices"][0]["message"]["content"] == there["choices"][0]["message"]["content"]
    assert here["choices"][0]["finish_reason"] == there["choices"][0]["finish_reason"]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert here["usage"][name] == there["usage"][name]
    assert (here["object"], here["model"]) == (there["object"], there["model"])


def test_VER_6_a_stream_that_is_cut_is_given_up_by_the_server(
    llama: LlamaServer, gate: Gate
) -> None:
    client, task = begin(llama, gate, chat(stream=True))
    client.until(b'"content":"')
    ordered = time.monotonic_ns()
    gate.stop("shop/chat")
    ended = llama.ended(task, SOON_S)
    assert ended is not None
    assert ended > ordered
    assert llama.idle_at() is not None
    rest, how = client.rest()
    assert b"offswitch" in rest
    assert how == "closed"
    gate.release("shop/chat")


def test_VER_6_a_conversation_by_which_it_would_write_on_for_nobody_is_not_passed_on(
    llama: LlamaServer, gate: Gate
) -> None:
    _client, task = begin(llama, gate, chat(stream=True), "X-Conversation-Id: c-1\r\n")
    gate.stop("shop/chat")
    assert llama.ended(task, SOON_S) is not None
    gate.release("shop/chat")


def test_VER_6_while_it_reads_a_long_prompt_too(llama: LlamaServer, gate: Gate) -> None:
    _client, task = begin(llama, gate, chat(stream=True, prompt="ba da fi go mu " * 1200))
    gate.stop("shop/chat")
    assert llama.ended(task, 0.7) is not None, "by itself it looks once a second"
    assert llama.idle_at() is not None
    told = [line for _at, line in llama.lines if f"task {task} " in line or f"= {task}" in line]
    assert any("cancel task" in line for line in told), told
    assert not any("send_error" in line for line in told), told
    gate.release("shop/chat")


def test_VER_6_a_client_that_wants_no_stream_is_given_up_too_while_the_server_is_busy(
    llama: LlamaServer, gate: Gate
) -> None:
    other, others = begin(llama, gate, chat(stream=True), "x-tenant: other\r\n")
    client, task = begin(llama, gate, chat(stream=False))
    gate.stop("shop/chat")
    assert llama.ended(task, SOON_S) is not None
    status, headers, body = client.answer()
    assert status == 503
    assert headers[b"x-should-retry"] == b"false"
    assert json.loads(body)["error"]
    assert llama.ended(others, 0.2) is None, "the other target's stream goes on"
    assert not other.quiet(1.0)
    gate.release("shop/chat")
    other.close()
    assert llama.ended(others, SOON_S) is not None


def test_without_a_gateway_the_same_server_never_notices(llama: LlamaServer) -> None:
    """What the gateway is for: should this fail one day, llama.cpp has learnt it."""
    busy, client = Client(llama.port), Client(llama.port)
    tasks = []
    for each, stream in ((busy, True), (client, False)):
        after = len(llama.lines)
        each.ask(body=chat(stream=stream, tokens=6_000))
        tasks.append(llama.began(after))
    client.close()
    assert llama.ended(tasks[1], 0.5) is None
    busy.close()
    assert llama.ended(tasks[1], 20) is not None
