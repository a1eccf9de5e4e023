"""What is put together from a stream is what the same server would have said at once (VER-6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_answers import DONE, SSE, Script, Tool, data, events, named, stream, whole
from model_requests import headers_of, told
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.whole.assembler import Assembler
from offswitch.gateway.exchange import Cause, Reply, Shape, Why

SHAPES = [Shape.CHAT, Shape.COMPLETION, Shape.RESPONSES, Shape.MESSAGES]
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=5)
TOOLS = st.lists(
    st.builds(
        Tool,
        name=st.sampled_from(["look", "send"]),
        pieces=st.sampled_from([("{}",), ('{"a"', ": 1", "}"), ('{"tool_calls":"\\u00e9"}',)]),
        ident=st.sampled_from(["call_1", "call_2"]),
    ),
    max_size=3,
)
SCRIPTS = st.builds(Script, pieces=TEXTS, thoughts=TEXTS, tools=TOOLS, used=st.integers(1, 9))


def refuse(text: str) -> Reply:
    return OpenAi().refusal(None, Why(Cause.UPSTREAM, text=text))


def put(shape: Shape, *pieces: bytes, limit: int = 1 << 20) -> Reply:
    assembler = Assembler(shape, refuse, limit=limit)
    assembler.head(200, SSE)
    for piece in pieces:
        assert assembler.feed(piece) == b""
    assert assembler.end() == b""
    reply = assembler.reply()
    assert reply is not None
    return reply


def expected(shape: Shape, script: Script) -> dict[str, Any]:
    said = whole(shape, script)
    if shape is Shape.CHAT and not "".join(script.thoughts):
        for choice in said["choices"]:
            choice["message"].pop("reasoning_content", None)
    return said


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30)
@given(script=SCRIPTS, d=st.data())
def test_VER_6_any_split_of_a_stream_gives_what_is_said_at_once(
    shape: Shape, script: Script, d: st.DataObject
) -> None:
    sent = stream(shape, script)
    cuts = sorted(d.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    got = told(put(shape, *pieces))
    if shape is Shape.CHAT and not "".join(script.thoughts):
        for choice in got["choices"]:
            choice["message"].pop("reasoning_content", None)
    assert got == expected(shape, script)


@pytest.mark.parametrize(
    ("shape", "script"),
    [
        (Shape.CHAT, Script(choices=3)),
        (Shape.CHAT, Script(choices=2, tools=[Tool("a"), Tool("b", ident="call_1")], pieces=())),
        (Shape.CHAT, Script(logprobs=True)),
        (Shape.CHAT, Script(pieces=(), refusal=("I ", "won't"))),
        (Shape.CHAT, Script(finish="length")),
        (Shape.CHAT, Script(extra={"timings": {"predicted_ms": 1.5}, "service_tier": "default"})),
        (Shape.COMPLETION, Script(choices=4)),
        (Shape.RESPONSES, Script(extra={"service_tier": "default"})),
        (Shape.MESSAGES, Script(thoughts=("hm", "m"), tools=[Tool("a", ('{"x":', "[1]}"))])),
    ],
)
def test_VER_6_the_answer_is_the_same(shape: Shape, script: Script) -> None:
    assert told(put(shape, stream(shape, script))) == whole(shape, script)


def test_the_order_of_names_is_the_apis() -> None:
    text = put(Shape.CHAT, stream(Shape.CHAT, Script())).body.decode()
    assert list(json.loads(text)) == list(whole(Shape.CHAT, Script()))


def test_what_we_do_not_know_is_kept() -> None:
    top = {"id": "c", "object": "chat.completion.chunk", "model": "m", "x_top": 1}
    deltas = [
        {"x_text": "a", "x_list": [1], "x_map": {"t": "p"}, "x_number": 1},
        {"x_text": "b", "x_list": [2], "x_map": {"t": "q", "u": None}, "x_number": 2},
    ]
    sent = [
        data({**top, "choices": [{"index": 0, "delta": d, "finish_reason": None, "x_c": [n]}]})
        for n, d in enumerate(deltas)
    ]
    said = told(put(Shape.CHAT, *sent, DONE))
    (choice,) = said["choices"]
    assert said["x_top"] == 1
    assert choice["x_c"] == [0, 1]
    assert choice["message"]["x_text"] == "ab"
    assert choice["message"]["x_list"] == [1, 2]
    assert choice["message"]["x_map"] == {"t": "pq", "u": None}
    assert choice["message"]["x_number"] == 2


def test_a_name_that_is_said_with_each_piece_is_said_once() -> None:
    calls = [
        {"index": 0, "id": "c1", "function": {"name": "look", "arguments": piece}}
        for piece in ('{"a"', ":1}")
    ]
    sent = [data({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}) for call in calls]
    (choice,) = told(put(Shape.CHAT, data({"id": "x"}), *sent, DONE))["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call == {
        "type": "function",
        "id": "c1",
        "function": {"name": "look", "arguments": '{"a":1}'},
    }


def test_the_upstreams_headers_are_kept_but_for_those_of_the_body() -> None:
    reply = put(Shape.CHAT, stream(Shape.CHAT, Script()))
    assert headers_of(reply) == {b"content-type": b"application/json", b"x-request-id": b"r-1"}


@pytest.mark.parametrize("shape", SHAPES)
def test_ACT_1_half_an_answer_is_an_error(shape: Shape) -> None:
    told_events = events(shape, Script(tools=[Tool("look")]))
    for some in range(len(told_events) - (4 if shape is Shape.CHAT else 2)):
        reply = put(shape, *told_events[:some])
        assert reply.status == 502, told_events[:some]
        assert told(reply)["error"]["code"] == "offswitch_upstream"


def test_an_answer_whose_choices_have_finished_is_complete_without_done() -> None:
    sent = stream(Shape.CHAT, Script()).removesuffix(DONE)
    assert told(put(Shape.CHAT, sent)) == whole(Shape.CHAT, Script())


def test_an_error_in_the_stream_is_the_answer_in_its_own_words() -> None:
    error = {"message": "out of memory", "type": "server_error", "code": 507}
    reply = put(Shape.CHAT, events(Shape.CHAT, Script())[0], data({"error": error}), DONE)
    assert (reply.status, told(reply)) == (507, {"error": error})
    reply = put(Shape.CHAT, b'error: {"code":500,"message":"x"}\n\n')
    assert reply.status == 500
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    reply = put(Shape.MESSAGES, named(overloaded))
    assert (reply.status, told(reply)) == (529, overloaded)
    reply = put(Shape.RESPONSES, named({"type": "error", "code": "x", "message": "y"}))
    assert told(reply)["error"]["message"] == "y"


def test_a_response_that_failed_is_told_whole() -> None:
    failed = {**whole(Shape.RESPONSES, Script()), "status": "failed", "error": {"code": "x"}}
    reply = put(Shape.RESPONSES, named({"type": "response.failed", "response": failed}))
    assert (reply.status, told(reply)) == (200, failed)


def test_items_stand_in_for_an_output_that_the_last_event_leaves_out() -> None:
    *told_events, _ = events(Shape.RESPONSES, Script(tools=[Tool("look")]))
    last = {**whole(Shape.RESPONSES, Script()), "output": []}
    reply = put(
        Shape.RESPONSES, *told_events, named({"type": "response.completed", "response": last})
    )
    output = whole(Shape.RESPONSES, Script(tools=[Tool("look")]))["output"]
    assert told(reply)["output"] == output


def test_a_stream_without_end_is_cut_and_said_so() -> None:
    one = events(Shape.CHAT, Script())[1]
    reply = put(Shape.CHAT, *[one] * 100, limit=10 * len(one))
    assert reply.status == 502
    assert "larger than" in told(reply)["error"]["message"]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30)
@given(junk=st.lists(st.binary(max_size=40), max_size=6))
def test_whatever_comes_nothing_is_raised(shape: Shape, junk: list[bytes]) -> None:
    reply = put(shape, *(b"data: " + each + b"\n\n" for each in junk))
    assert reply.status in (200, 500, 502)


NAMES = [
    "type",
    "index",
    "delta",
    "choices",
    "message",
    "usage",
    "content_block",
    "tool_calls",
    "function",
    "name",
    "response",
    "output",
    "item",
    "output_index",
    "error",
    "finish_reason",
]
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3))
ODD = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "index",
                    "delta",
                    "choices",
                    "message",
                    "usage",
                    "content_block",
                    "tool_calls",
                    "function",
                    "name",
                    "response",
                    "output",
                    "item",
                    "output_index",
                    "error",
                    "finish_reason",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30)
@given(odd=st.lists(ODD, max_size=4))
def test_whatever_is_said_nothing_is_raised(shape: Shape, odd: list[object]) -> None:
    begun = events(shape, Script())[:2]
    reply = put(shape, *begun, *map(data, odd))
    assert reply.status < 600


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, b"application/json"), (429, b"application/json"), (500, b"text/event-stream")],
)
def test_what_is_no_stream_passes_as_it_comes(status: int, kind: bytes) -> None:
    assembler = Assembler(Shape.CHAT, refuse)
    assembler.head(status, [(b"content-type", kind)])
    assert assembler.feed(b"{}") == b"{}"
    assert assembler.end() == b""
    assert assembler.reply() is None


def test_a_long_answer_costs_its_length_and_no_more() -> None:
    one = events(Shape.CHAT, Script(pieces=("word ",)))[1]
    reply = put(Shape.CHAT, one * 20_000, DONE, limit=64 << 20)
    assert told(reply)["choices"][0]["message"]["content"] == "word " * 20_000


def test_anthropic_words_a_broken_stream_in_its_own_shape() -> None:
    def told_by(text: str) -> Reply:
        return Anthropic().refusal(None, Why(Cause.UPSTREAM, text=text))

    assembler = Assembler(Shape.MESSAGES, told_by)
    assembler.head(200, SSE)
    reply = assembler.reply()
    assert reply is not None
    assert told(reply)["type"] == "error"


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_that_says_null_adds_nothing(shape: Shape) -> None:
    sent = [each for event in events(shape, Script()) for each in (b"data: null\n\n", event)]
    assert told(put(shape, *sent)) == whole(shape, Script())
