"""A refusal and an ending are in the shape that the API's own clients know."""

from __future__ import annotations

import json

import pytest

from model_requests import HELLO, body, headers_of, read, told
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.plain import Plain
from offswitch.gateway.exchange import Cause, Why

OPENAI = OpenAi()
ANTHROPIC = Anthropic()
STOP = Why(Cause.STOPPED, "shop/checkout", "kill", "", "the duty desk")
STATUS = {
    Cause.STOPPED: 503,
    Cause.RESTRICTED: 503,
    Cause.NO_LEASE: 503,
    Cause.NOT_ALLOWED: 403,
    Cause.NO_ROUTE: 404,
    Cause.MALFORMED: 400,
    Cause.TOO_LARGE: 413,
    Cause.UPSTREAM: 502,
    Cause.TIMED_OUT: 504,
    Cause.BUSY: 503,
}


def test_ACT_1_a_stop_is_told_in_openais_shape() -> None:
    reply = OPENAI.refusal(None, STOP)
    assert reply.status == 503
    assert headers_of(reply)[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers_of(reply)
    error = told(reply)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["code"] == "offswitch_stopped"
    assert "shop/checkout is held at level kill until people reset it" in error["message"]
    assert "Ask the duty desk." in error["message"]


def test_ACT_1_a_stop_is_told_in_anthropics_shape() -> None:
    reply = ANTHROPIC.refusal(None, STOP)
    said = told(reply)
    assert (said["type"], said["error"]["type"]) == ("error", "api_error")
    assert "the duty desk" in said["error"]["message"]
    assert headers_of(reply)[b"x-should-retry"] == b"false"


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("steward", [OPENAI, ANTHROPIC, Plain()])
def test_each_cause_has_its_status(steward: OpenAi, cause: Cause) -> None:
    reply = steward.refusal(None, Why(cause))
    assert reply.status == STATUS[cause]
    assert "offswitch" in json.dumps(told(reply))
    again = cause in (Cause.UPSTREAM, Cause.TIMED_OUT, Cause.BUSY)
    assert (b"x-should-retry" not in headers_of(reply)) is again


def test_a_hostile_name_moves_nothing() -> None:
    why = Why(Cause.STOPPED, "a\u202e\x1b[2J\n\ndata: x" + "y" * 5000, "kill")
    message = told(OPENAI.refusal(None, why))["error"]["message"]
    assert message.isprintable()
    assert len(message) <= 600
    asked = read(OPENAI, body(messages=HELLO, stream=True))
    assert OPENAI.ending(asked, why).count(b"\n") == 2


def test_ACT_1_an_ending_is_an_error_and_nothing_after_it() -> None:
    asked = read(OPENAI, body(messages=HELLO, stream=True))
    ending = OPENAI.ending(asked, STOP)
    assert ending.startswith(b'data: {"error":')
    assert ending.endswith(b"}\n\n")
    assert b"[DONE]" not in ending
    asked = read(OPENAI, body(input="x", stream=True), "/v1/responses")
    name, data = OPENAI.ending(asked, STOP).rstrip().split(b"\n")
    assert name == b"event: error"
    event = json.loads(data.removeprefix(b"data: "))
    assert event["type"] == "error"
    assert event["code"] == event["error"]["code"] == "offswitch_stopped"
    asked = read(ANTHROPIC, body(messages=HELLO, stream=True), "/v1/messages")
    name, data = ANTHROPIC.ending(asked, STOP).rstrip().split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["type"] == "error"


def test_a_stream_of_nobody_has_no_ending() -> None:
    assert Plain().ending(read(OPENAI, body(messages=HELLO)), STOP) == b""
