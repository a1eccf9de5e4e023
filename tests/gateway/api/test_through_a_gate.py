"""The stewards of model APIs in a real worker, between a real client's socket and a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from gate import Client, Gate, upstream_at
from model_answers import Script, Tool, events, whole
from model_requests import CHAT, GOES_ON, HELLO, body, tool
from model_server import serving, silent, talking
from offswitch.gateway.api.pick import model_stewards
from offswitch.gateway.exchange import Shape
from offswitch.gateway.plan.route import Route, Step, Tools
from offswitch.gateway.stewards import Stewards
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream

TARGET = "shop/eu/checkout"
WORDS = Script(tools=[Tool("look", ('{"at":', '"sky"}'), "call_1")])
Made = Callable[..., Gate]


@pytest.fixture
def made(gate_of: Made, upstream: ScriptedUpstream) -> Made:
    def make(**declared: object) -> Gate:
        by = Route(TARGET, upstream_at(upstream.port), ask="the duty desk", **declared)  # type: ignore[arg-type]
        return gate_of(by, stewards=Stewards(model_stewards()))

    return make


def asked(client: Client, said: bytes, path: str = CHAT) -> tuple[int, dict[bytes, bytes], bytes]:
    client.ask(path, said)
    return client.answer()


def test_VER_6_a_whole_answer_is_asked_for_as_a_stream_and_is_the_same(
    made: Made, upstream: ScriptedUpstream
) -> None:
    upstream.script = serving(WORDS)
    client = made().client()
    for path, shape in ((CHAT, Shape.CHAT), ("/v1/messages", Shape.MESSAGES)):
        said = body(
            messages=GOES_ON, tools=[tool("look")] if shape is Shape.CHAT else [{"name": "x"}]
        )
        status, headers, got = asked(client, said, path)
        assert (status, headers[b"content-type"]) == (200, b"application/json")
        assert json.loads(got) == whole(shape, WORDS)
        assert json.loads(upstream.visits[-1].body)["stream"] is True


def test_an_error_of_the_server_is_told_in_its_own_words(
    made: Made, upstream: ScriptedUpstream
) -> None:
    said = b'{"error":{"message":"no such model"}}'
    upstream.script = lambda visit: visit.send(
        b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(said), said)
    )
    status, _, got = asked(made().client(), body(messages=GOES_ON))
    assert (status, got) == (404, said)


def test_ACT_1_a_body_with_two_meanings_goes_no_further(
    made: Made, upstream: ScriptedUpstream
) -> None:
    client = made().client()
    status, _, got = asked(client, b'{"model":"a","model":"b"}')
    assert (status, json.loads(got)["error"]["code"]) == (400, "offswitch_malformed")
    status, _, got = asked(client, b'{"model":"a","model":"b"}', "/v1/messages")
    assert json.loads(got)["type"] == "error"
    assert upstream.visits == []


@pytest.mark.parametrize("script", [talking(), silent])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
def test_ACT_4_a_whole_answer_in_the_making_is_refused_when_it_is_stopped(
    made: Made, upstream: ScriptedUpstream, script: Callable[..., None], path: str
) -> None:
    upstream.script = script
    gate = made()
    client = gate.client()
    client.ask(path, body(messages=GOES_ON))
    visit = upstream.visit()
    time.sleep(0.02)
    gate.stop(TARGET)
    status, headers, got = client.answer()
    assert (status, headers[b"x-should-retry"]) == (503, b"false")
    assert json.loads(got)["error"]["code"] == "offswitch_stopped"
    assert visit.gone() == "reset"


def test_DEC_6_restrict_holds_back_what_the_route_says_and_no_more(
    made: Made, upstream: ScriptedUpstream
) -> None:
    upstream.script = serving(WORDS)
    gate = made(restrict=frozenset({Step.WRITES, Step.SESSIONS}), tools=Tools(writes=("send",)))
    client = gate.client()
    both = body(messages=GOES_ON, tools=[tool("look"), tool("send")])
    asked(client, both)
    assert len(json.loads(upstream.visits[-1].body)["tools"]) == 2
    gate.stop(TARGET, Level.RESTRICT)
    status, _, got = asked(client, both)
    assert status == 200
    assert json.loads(upstream.visits[-1].body)["tools"] == [tool("look")]
    status, _, got = asked(client, body(messages=HELLO))
    assert status == 503
    assert "held at level restrict" in json.loads(got)["error"]["message"]
    gate.release(TARGET)
    assert asked(client, body(messages=HELLO))[0] == 200


def test_ACT_9_text_comes_through_the_holder_chunk_by_chunk(
    made: Made, upstream: ScriptedUpstream
) -> None:
    sent = events(Shape.CHAT, WORDS)

    def slowly(visit) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        visit.begin()
        for event in sent:
            visit.chunk(event)
            time.sleep(0.02)
        visit.finish()

    upstream.script = slowly
    client = made(hold_tools=True).client()
    client.ask(CHAT, body(messages=GOES_ON, stream=True, tools=[tool("look")]))
    client.until(b"\r\n\r\n")
    chunks = client.chunks()
    assert b"".join(chunks) == b"".join(sent)
    assert chunks[:3] == sent[:3]


def test_a_file_that_nobody_reads_goes_on_as_it_comes(
    made: Made, upstream: ScriptedUpstream
) -> None:
    status, _, _ = asked(made().client(), b"\xff" * 100_000, "/v1/files")
    assert status == 200
    assert upstream.visits[-1].body == b"\xff" * 100_000
