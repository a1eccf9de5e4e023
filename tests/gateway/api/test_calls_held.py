"""Calls of tools in a stream wait for their verdict; text waits for nothing (ACT-9)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_answers import DONE, JSON, SSE, Script, Tool, data, events, named, stream, whole
from model_requests import body, read
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.calls.answers import judged
from offswitch.gateway.api.calls.holder import Holder
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.whole.assembler import Assembler
from offswitch.gateway.exchange import Call, Cause, Reply, Shape, Why

SHAPES = [Shape.CHAT, Shape.RESPONSES, Shape.MESSAGES]
LOOK = Tool("look", ('{"at"', ': "sky"}'), "call_1")
SEND = Tool("send", ('{"to": "x"', "}"), "call_2")
BOTH = Script(tools=[SEND, LOOK])
Judge = Callable[[Call], bool]


def nobody(call: Call) -> bool:
    return False


def anybody(call: Call) -> bool:
    return True


def lookers(call: Call) -> bool:
    return call.name == "look"


def refuse(text: str) -> Reply:
    return OpenAi().refusal(None, Why(Cause.UPSTREAM, text=text))


def ending(text: str) -> bytes:
    asked = read(OpenAi(), body())
    return OpenAi().ending(asked, Why(Cause.UPSTREAM, text=text))


def holder(shape: Shape, judge: Judge, limit: int = 1 << 20) -> Holder:
    held = Holder(shape, judge, refuse, ending, limit)
    held.head(200, SSE)
    return held


def through(held: Holder, pieces: Iterable[bytes]) -> bytes:
    return b"".join([*map(held.feed, pieces), held.end()])


def put(shape: Shape, sent: bytes) -> dict[str, Any]:
    """Put a stream together; the ids of messages of ours are made anew each time."""
    assembler = Assembler(shape, refuse)
    assembler.head(200, SSE)
    assembler.feed(sent)
    reply = assembler.reply()
    assert reply is not None
    assert reply.status == 200, reply
    return dict(json.loads(re.sub(rb'"msg_[0-9a-f]{8,}"', b'"msg_new"', reply.body)))


def as_if_whole(shape: Shape, script: Script, judge: Judge) -> dict[str, Any]:
    text = json.dumps(judged(shape, whole(shape, script), judge))
    return dict(json.loads(re.sub('"msg_[0-9a-f]{8,}"', '"msg_new"', text)))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(d=st.data())
def test_ACT_9_allowed_calls_go_on_in_the_bytes_in_which_they_came(
    shape: Shape, d: st.DataObject
) -> None:
    sent = stream(shape, BOTH)
    cuts = sorted(d.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert through(holder(shape, anybody), pieces) == sent


@pytest.mark.parametrize("shape", SHAPES)
def test_ACT_9_text_passes_at_once_and_a_call_only_when_it_is_whole(shape: Shape) -> None:
    asked: list[Call] = []

    def judge(call: Call) -> bool:
        asked.append(call)
        return True

    held = holder(shape, judge)
    last = b"finish_reason" if shape is Shape.CHAT else b"stop" if shape is Shape.MESSAGES else b""
    for event in events(shape, Script(pieces=("a", "b"), tools=[LOOK])):
        got = held.feed(event)
        whole_now = bool(asked)
        if b"look" in event or b"at" in event.partition(b"arguments")[2]:
            assert (got == b"") is not whole_now or last in event
        elif not held._calls.held:
            assert got.endswith(event)
    assert asked[0] == Call("look", {"at": "sky"}, "call_1")


def test_ACT_9_text_that_comes_while_a_call_is_held_passes_it() -> None:
    held = holder(Shape.CHAT, anybody)
    script = Script(pieces=(), tools=[Tool("look")])
    _, call, arguments, finish, _, done = events(Shape.CHAT, script)
    text = data({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]})
    assert held.feed(call) == b""
    assert held.feed(text) == text
    assert held.feed(arguments) == b""
    assert held.feed(finish) == call + arguments + finish
    assert held.feed(done) == done


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("judge", [nobody, lookers])
@pytest.mark.parametrize("pieces", [("He", "llo"), ()])
@pytest.mark.parametrize("tools", [[SEND], [SEND, LOOK], [LOOK, SEND], [SEND, LOOK, SEND]])
def test_ACT_9_a_stream_is_judged_as_a_whole_answer_is(
    shape: Shape, judge: Judge, pieces: tuple[str, ...], tools: list[Tool]
) -> None:
    script = Script(pieces=pieces, tools=tools)
    out = through(holder(shape, judge), events(shape, script))
    assert put(shape, out) == as_if_whole(shape, script, judge)
    assert b'"to"' not in out
    assert out.count(b"was not let through") >= 1
    if shape is Shape.CHAT:
        numbers = re.findall(rb'"tool_calls": ?\[\{"index": ?(\d)', out)
        assert {*map(int, numbers)} == set(range(len({*numbers})))


@pytest.mark.parametrize("shape", SHAPES)
def test_where_no_call_is_left_the_answer_ends_as_one_that_calls_nothing(shape: Shape) -> None:
    said = put(shape, through(holder(shape, nobody), events(shape, BOTH)))
    if shape is Shape.CHAT:
        assert said["choices"][0]["finish_reason"] == "stop"
        assert "tool_calls" not in said["choices"][0]["message"]
    elif shape is Shape.MESSAGES:
        assert said["stop_reason"] == "end_turn"
    else:
        assert {item["type"] for item in said["output"]} == {"message"}


@pytest.mark.parametrize("shape", SHAPES)
def test_where_a_call_is_left_the_answer_ends_as_one_that_calls(shape: Shape) -> None:
    said = put(shape, through(holder(shape, lookers), events(shape, BOTH)))
    if shape is Shape.CHAT:
        assert said["choices"][0]["finish_reason"] == "tool_calls"
        assert len(said["choices"][0]["message"]["tool_calls"]) == 1
    elif shape is Shape.MESSAGES:
        assert said["stop_reason"] == "tool_use"


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    return data({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def test_a_chunk_with_text_a_call_and_an_end_is_parted() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "send", "arguments": "{}"}}
    sent = [chunk({"content": "hi", "tool_calls": [call]}, "tool_calls"), DONE]
    said = put(Shape.CHAT, through(holder(Shape.CHAT, anybody), sent))
    (choice,) = said["choices"]
    assert choice["message"]["content"] == "hi"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "send"
    out = through(holder(Shape.CHAT, nobody), sent)
    assert b"send" not in out.replace(b"tool send", b"")
    assert put(Shape.CHAT, out)["choices"][0]["finish_reason"] == "stop"


def test_each_choice_is_held_by_itself() -> None:
    script = Script(pieces=("a",), tools=[LOOK], choices=3)
    sent = events(Shape.CHAT, script)
    assert through(holder(Shape.CHAT, anybody), sent).count(b'"look"') == 3
    out = through(holder(Shape.CHAT, nobody), sent)
    assert [c["finish_reason"] for c in put(Shape.CHAT, out)["choices"]] == ["stop"] * 3


def test_choices_that_share_a_chunk_are_parted() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "send", "arguments": "{}"}}
    choices = [
        {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None},
        {"index": 1, "delta": {"content": "text"}, "finish_reason": None},
    ]
    held = holder(Shape.CHAT, nobody)
    out = held.feed(data({"id": "c", "choices": choices, "usage": {"total_tokens": 1}}))
    assert b"send" not in out
    assert b"text" in out
    assert out.count(b"total_tokens") == 1


def test_an_old_function_call_is_held_too() -> None:
    sent = [
        chunk({"function_call": {"name": "send", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
        DONE,
    ]
    assert through(holder(Shape.CHAT, anybody), sent) == b"".join(sent)
    out = through(holder(Shape.CHAT, nobody), sent)
    assert b"function_call" not in out
    assert put(Shape.CHAT, out)["choices"][0]["finish_reason"] == "stop"


def test_calls_that_bear_no_number_stand_or_fall_together() -> None:
    calls = [{"id": n, "function": {"name": n, "arguments": "{}"}} for n in ("look", "send")]
    sent = [chunk({"tool_calls": calls}), chunk({}, "tool_calls"), DONE]
    assert b"tool_calls" not in through(holder(Shape.CHAT, lookers), sent)
    assert through(holder(Shape.CHAT, anybody), sent) == b"".join(sent)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a":1,"a":2}',
        '{"a":',
        "[1]",
        '{"a":NaN}',
        '"x"',
        "{}" * 2,
        "[" * 999,
        '{"a":' * 101 + "1" + "}" * 101,
    ],
)
def test_ACT_9_a_call_that_can_be_read_in_two_ways_is_denied_unasked(arguments: str) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": arguments}}
    out = through(
        holder(Shape.CHAT, anybody), [chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), DONE]
    )
    assert b"was not let through" in out
    assert b"arguments" not in out


def test_a_call_without_arguments_calls_with_none() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": ""}}
    sent = [chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]
    assert through(holder(Shape.CHAT, anybody), sent) == b"".join(sent)


def test_ACT_9_a_name_written_with_escapes_is_seen() -> None:
    hidden = b'data: {"choices":[{"index":0,"delta":{"tool\\u005fcalls":[{"index":0,"function":'
    hidden += b'{"name":"send","arguments":"{}"}}]},"finish_reason":"tool\\u005fcalls"}]}\n\n'
    assert b'"send"' not in through(holder(Shape.CHAT, nobody), [hidden, DONE])


def test_ACT_9_a_judge_that_fails_allows_nothing() -> None:
    def broken(call: Call) -> bool:
        raise RuntimeError("no")

    assert b'"look"' not in through(holder(Shape.CHAT, broken), events(Shape.CHAT, BOTH))


@pytest.mark.parametrize("shape", SHAPES)
def test_ACT_9_a_call_that_never_becomes_whole_is_never_passed(shape: Shape) -> None:
    sent = stream(shape, Script(tools=[LOOK])).partition(b"sky")[0]
    out = through(holder(shape, anybody), [sent])
    assert b"look" not in out


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_beyond_all_measure_ends_the_stream(shape: Shape) -> None:
    long = Script(tools=[Tool("look", ["x" * 1000] * 50)])
    if shape is Shape.MESSAGES:
        long = Script(tools=[Tool("look", ['"', *["x" * 1000] * 50, '"'])])
    out = through(holder(shape, anybody, limit=9000), events(shape, long))
    assert b"larger than the gateway holds" in out
    assert b"xxx" not in out
    assert out.endswith(b"}\n\n")


def test_an_answer_that_comes_whole_is_judged_whole() -> None:
    for script, judge in ((BOTH, anybody), (BOTH, lookers)):
        held = Holder(Shape.CHAT, judge, refuse, ending)
        held.head(200, JSON)
        raw = json.dumps(whole(Shape.CHAT, script), indent=1).encode()
        assert held.feed(raw) == b""
        assert held.end() == b""
        reply = held.reply()
        assert reply is not None
        said = json.loads(reply.body)
        assert said == judged(Shape.CHAT, whole(Shape.CHAT, script), judge)
        assert (reply.body == raw) is (judge is anybody)


def test_ACT_9_an_answer_that_cannot_be_read_is_not_passed_unjudged() -> None:
    held = Holder(Shape.CHAT, anybody, refuse, ending)
    held.head(200, [(b"content-type", b"text/event-stream"), (b"content-encoding", b"br")])
    assert held.feed(b"\x00") == b""
    reply = held.reply()
    assert reply is not None
    assert reply.status == 502


def test_an_error_of_the_upstream_passes() -> None:
    held = Holder(Shape.CHAT, nobody, refuse, ending)
    held.head(429, JSON)
    assert held.feed(b'{"error":1}') == b'{"error":1}'
    assert held.reply() is None


def test_what_a_provider_has_done_itself_is_told() -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    sent = [
        named({"type": "response.output_item.added", "output_index": 0, "item": item}),
        named({"type": "response.output_item.done", "output_index": 0, "item": item}),
    ]
    assert through(holder(Shape.RESPONSES, nobody), sent) == b"".join(sent)


def test_a_call_without_a_name_is_known_by_its_type() -> None:
    item = {"id": "x", "type": "local_shell_call", "call_id": "c", "action": {"command": ["rm"]}}
    sent = [
        named({"type": "response.output_item.added", "output_index": 0, "item": item}),
        named({"type": "response.output_item.done", "output_index": 0, "item": item}),
    ]
    asked: list[Call] = []
    out = through(holder(Shape.RESPONSES, lambda call: bool(asked.append(call))), sent)
    assert asked == [Call("local_shell", {"action": {"command": ["rm"]}}, "c")]
    assert b"rm" not in out


NAMES = [
    "index",
    "delta",
    "choices",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "type",
    "finish_reason",
    "content",
]
ODD = st.recursive(
    st.one_of(st.none(), st.integers(-1, 2), st.sampled_from(["send", "tool_calls", "{}", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)
DELTAS = st.dictionaries(
    st.sampled_from(["tool_calls", "function_call", "content"]), ODD, max_size=3
)
FINISH = st.sampled_from([None, "stop", "tool_calls"])
CHOICES = st.lists(
    st.fixed_dictionaries({"index": st.integers(0, 1), "delta": DELTAS, "finish_reason": FINISH}),
    max_size=2,
)


@settings(max_examples=80)
@given(st.lists(CHOICES, max_size=5))
def test_ACT_9_whatever_is_said_no_denied_call_is_passed(said: list[list[dict[str, Any]]]) -> None:
    sent = [data({"id": "c", "choices": choices}) for choices in said]
    out = through(holder(Shape.CHAT, nobody), [*sent, DONE])
    for line in out.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", []):
                delta = choice["delta"]
                assert not delta.get("tool_calls")
                assert not delta.get("function_call")


def test_anthropics_ending_is_its_own() -> None:
    asked = read(Anthropic(), body(stream=True), "/v1/messages")

    def told(text: str) -> bytes:
        return Anthropic().ending(asked, Why(Cause.UPSTREAM, text=text))

    held = Holder(Shape.MESSAGES, anybody, refuse, told)
    held.head(200, SSE)
    assert held.feed(b"data: tool_use\n\n").startswith(b"event: error\n")
    assert held.feed(b"data: {}\n\n") == b""


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_that_says_null_passes(shape: Shape) -> None:
    sent = [each for event in events(shape, BOTH) for each in (b"data: null\n\n", event)]
    out = through(holder(shape, anybody), sent)
    assert out.count(b"data: null\n\n") == len(sent) / 2
    assert put(shape, out) == whole(shape, BOTH)
