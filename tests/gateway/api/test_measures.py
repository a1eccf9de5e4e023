"""What is held back while the rest goes on: entered by a stop, left by its reset (DEC-6)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from model_requests import (
    CHAT,
    GOES_ON,
    HELLO,
    admitted,
    body,
    flat,
    head,
    headers_of,
    held,
    read,
    route,
    sent_on,
    told,
    tool,
)
from offswitch.gateway.api.answers import fixed
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.plain import Plain
from offswitch.gateway.api.verdicts import by_declaration
from offswitch.gateway.api.whole.assembler import Assembler
from offswitch.gateway.exchange import Asked, Call, Pass, Reply, Rewritten, Shape
from offswitch.gateway.plan.route import Fallback, Step, Tools
from offswitch.model.level import Level

OPENAI = OpenAi()
ANTHROPIC = Anthropic()
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
X_FLAT = {"type": "function", "name": "x"}
X_TOOL = {"type": "tool", "name": "x"}
WEB = {"type": "web_search"}
LOOKS = Tools(writes=("send_*", "delete"))
BOTH = [tool("look"), tool("send_mail")]


def stream(**said: object) -> bytes:
    return body(stream=True, **{"messages": GOES_ON, **said})


def code(verdict: object) -> str:
    return str(told(verdict)["error"]["code"])


def names(said: dict[str, Any]) -> list[str]:
    return [each["function"]["name"] for each in said.get("tools", [])]


def test_a_stream_that_nothing_is_declared_of_passes_untouched() -> None:
    assert admitted(OPENAI, route(), stream(tools=BOTH)) == Pass()
    assert admitted(ANTHROPIC, route(), stream(), path=MESSAGES) == Pass()
    assert admitted(OPENAI, route(), body(input="x"), path="/v1/embeddings") == Pass()


# ---------------------------------------------------------------- writes


def test_DEC_6_writes_takes_the_tools_that_change_something() -> None:
    verdict = admitted(OPENAI, route(tools=LOOKS), stream(tools=BOTH), Step.WRITES)
    assert names(sent_on(verdict)) == ["look"]


def test_DEC_6_unless_declared_every_tool_writes() -> None:
    said = sent_on(admitted(OPENAI, route(), stream(tools=BOTH), Step.WRITES))
    assert "tools" not in said


def test_DEC_6_a_forced_tool_is_refused_not_taken() -> None:
    forced = {"type": "function", "function": {"name": "send_mail"}}
    verdict = admitted(
        OPENAI, route(tools=LOOKS), stream(tools=BOTH, tool_choice=forced), Step.WRITES
    )
    assert code(verdict) == "offswitch_restricted"
    looks = {"type": "function", "function": {"name": "look"}}
    verdict = admitted(
        OPENAI, route(tools=LOOKS), stream(tools=BOTH, tool_choice=looks), Step.WRITES
    )
    assert sent_on(verdict)["tool_choice"] == looks
    verdict = admitted(
        OPENAI, route(tools=LOOKS), stream(tools=BOTH, tool_choice="required"), Step.WRITES
    )
    assert names(sent_on(verdict)) == ["look"]


def test_DEC_6_a_choice_among_some_tools_is_widened_to_what_is_left() -> None:
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": BOTH}}
    verdict = admitted(
        OPENAI, route(tools=LOOKS), stream(tools=BOTH, tool_choice=some), Step.WRITES
    )
    assert sent_on(verdict)["tool_choice"] == "auto"


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_DEC_6_tools_takes_all_of_them_and_what_speaks_of_them(choice: object) -> None:
    said = stream(
        tools=BOTH,
        functions=[{"name": "old"}],
        tool_choice=choice,
        function_call="auto",
        parallel_tool_calls=True,
        temperature=0.5,
    )
    left = sent_on(admitted(OPENAI, route(), said, Step.TOOLS))
    assert sorted(left) == ["messages", "model", "stream", "temperature"]


@pytest.mark.parametrize(
    ("path", "steward", "said"),
    [
        (CHAT, OPENAI, {"tools": BOTH, "tool_choice": "required"}),
        (CHAT, OPENAI, {"functions": [{"name": "x"}], "function_call": {"name": "x"}}),
        (RESPONSES, OPENAI, {"tools": [flat("x")], "tool_choice": X_FLAT}),
        (RESPONSES, OPENAI, {"tools": [WEB], "tool_choice": WEB}),
        (MESSAGES, ANTHROPIC, {"tools": [{"name": "x"}], "tool_choice": {"type": "any"}}),
        (MESSAGES, ANTHROPIC, {"tools": [{"name": "x"}], "tool_choice": X_TOOL}),
        (RESPONSES, OPENAI, {"tools": [WEB], "tool_choice": {"type": "namespace", "tools": []}}),
    ],
)
def test_DEC_6_whoever_forces_a_tool_is_refused_while_tools_are_held(
    path: str, steward: OpenAi, said: dict[str, object]
) -> None:
    verdict = admitted(steward, route(), stream(**said), Step.TOOLS, path=path)
    assert isinstance(verdict, Reply)
    assert verdict.status == 503
    assert headers_of(verdict)[b"x-should-retry"] == b"false"


def test_DEC_6_where_anthropics_tools_have_spoken_they_stay_known_and_none_may_be_called() -> None:
    call = {"type": "tool_use", "id": "t", "name": "x", "input": {}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
    ]
    tools = [{"name": "x", "input_schema": {}}]
    asked = stream(messages=turns, tools=tools)
    verdict = admitted(ANTHROPIC, route(), asked, Step.TOOLS, path=MESSAGES)
    said = sent_on(verdict)
    assert said["tools"] == tools
    assert said["tool_choice"] == {"type": "none"}
    assert isinstance(verdict, Rewritten)
    assert verdict.filter is not None  # and a call that came all the same is not passed


def test_DEC_6_a_stored_prompt_may_bring_tools_so_it_waits() -> None:
    said = body(input="x", stream=True, prompt={"id": "pmpt_1"}, tools=[flat("x")])
    assert (
        code(admitted(OPENAI, route(), said, Step.TOOLS, path=RESPONSES)) == "offswitch_restricted"
    )


def test_DEC_6_a_stored_prompt_waits_though_it_shows_no_tool() -> None:
    said = body(input="x", stream=True, prompt={"id": "pmpt_1"})
    assert (
        code(admitted(OPENAI, route(), said, Step.TOOLS, path=RESPONSES)) == "offswitch_restricted"
    )


# ---------------------------------------------------------------- sessions


BEGIN: list[tuple[str, OpenAi | Anthropic, dict[str, object]]] = [
    (CHAT, OPENAI, {"messages": HELLO}),
    (CHAT, OPENAI, {"messages": [{"role": "system", "content": "x"}, *HELLO]}),
    (RESPONSES, OPENAI, {"input": "hello"}),
    (RESPONSES, OPENAI, {"input": HELLO}),
    (MESSAGES, ANTHROPIC, {"messages": HELLO}),
    ("/v1/completions", OPENAI, {"prompt": "once"}),
]
GO_ON: list[tuple[str, OpenAi | Anthropic, dict[str, object]]] = [
    (CHAT, OPENAI, {"messages": GOES_ON}),
    (RESPONSES, OPENAI, {"input": "x", "previous_response_id": "resp_1"}),
    (RESPONSES, OPENAI, {"input": "x", "conversation": "conv_1"}),
    (RESPONSES, OPENAI, {"input": GOES_ON}),
    (RESPONSES, OPENAI, {"input": [{"type": "function_call_output", "call_id": "c"}]}),
    (MESSAGES, ANTHROPIC, {"messages": GOES_ON}),
    ("/v1/embeddings", OPENAI, {"input": "x"}),
]


@pytest.mark.parametrize(("path", "steward", "said"), BEGIN)
def test_DEC_6_no_new_session_is_begun(path: str, steward: OpenAi, said: dict[str, object]) -> None:
    verdict = admitted(steward, route(), body(stream=True, **said), Step.SESSIONS, path=path)
    assert isinstance(verdict, Reply)
    assert (verdict.status, "No new sessions" in verdict.body.decode()) == (503, True)


@pytest.mark.parametrize(("path", "steward", "said"), GO_ON)
def test_DEC_6_a_session_that_has_begun_goes_on(
    path: str, steward: OpenAi, said: dict[str, object]
) -> None:
    verdict = admitted(steward, route(), body(stream=True, **said), Step.SESSIONS, path=path)
    assert verdict == Pass()


# ---------------------------------------------------------------- model


def test_DEC_6_a_smaller_model_answers() -> None:
    small = route(fallback=Fallback(model="m-1"))
    assert sent_on(admitted(OPENAI, small, stream(), Step.MODEL))["model"] == "m-1"
    assert admitted(OPENAI, small, stream(model="m-1"), Step.MODEL) == Pass()


@pytest.mark.parametrize(
    ("path", "steward"),
    [(CHAT, OPENAI), ("/v1/completions", OPENAI), (RESPONSES, OPENAI), (MESSAGES, ANTHROPIC)],
)
def test_DEC_6_a_fixed_answer_is_given_whole_and_as_a_stream(path: str, steward: OpenAi) -> None:
    fixed = route(fallback=Fallback(answer="Closed: désolé."))
    whole = admitted(steward, fixed, body(messages=GOES_ON), Step.MODEL, path=path)
    assert isinstance(whole, Reply)
    assert whole.status == 200
    assert "Closed: d\\u00e9sol\\u00e9." in whole.body.decode()
    said = admitted(steward, fixed, stream(), Step.MODEL, path=path)
    assert isinstance(said, Reply)
    assert headers_of(said)[b"content-type"].startswith(b"text/event-stream")
    assert said.body.endswith(b"\n\n")
    assert b"Closed" in said.body


def test_DEC_6_without_a_fallback_the_model_is_refused() -> None:
    assert code(admitted(OPENAI, route(), stream(), Step.MODEL)) == "offswitch_restricted"


def test_DEC_6_another_models_embeddings_are_none() -> None:
    small = route(fallback=Fallback(model="m-1"))
    verdict = admitted(OPENAI, small, body(input="x"), Step.MODEL, path="/v1/embeddings")
    assert code(verdict) == "offswitch_restricted"


def test_DEC_6_a_model_named_by_the_path_cannot_be_another() -> None:
    small = route(fallback=Fallback(model="m-1"))
    path = "/openai/deployments/m-7/chat/completions"
    assert code(admitted(OPENAI, small, stream(), Step.MODEL, path=path)) == "offswitch_restricted"


# ---------------------------------------------------------------- all of them


def test_DEC_6_four_states_are_entered_and_left_one_by_one() -> None:
    """Each by itself, in any order, without a restart: a steward keeps nothing."""
    by = route(tools=LOOKS, fallback=Fallback(model="m-1"))
    new = body(stream=True, messages=HELLO, tools=BOTH)

    def sees(*steps: Step) -> tuple[str, ...]:
        verdict = admitted(OPENAI, by, new, *steps)
        if isinstance(verdict, Reply):
            return ("refused",)
        said = sent_on(verdict) if isinstance(verdict, Rewritten) else json.loads(new)
        return (said["model"], *names(said))

    assert sees() == ("m-7", "look", "send_mail")
    assert sees(Step.WRITES) == ("m-7", "look")
    assert sees(Step.WRITES, Step.MODEL) == ("m-1", "look")
    assert sees(Step.TOOLS, Step.WRITES, Step.MODEL) == ("m-1",)
    assert sees(Step.SESSIONS, Step.TOOLS) == ("refused",)
    assert sees(Step.TOOLS) == ("m-7",)
    assert sees(Step.MODEL) == ("m-1", "look", "send_mail")
    assert sees() == ("m-7", "look", "send_mail")


def test_DEC_6_it_is_said_which_stop_holds_it_and_who_may_be_asked() -> None:
    by = route(steps=frozenset(Step))
    message = told(admitted(OPENAI, by, body(messages=HELLO), Step.SESSIONS))["error"]["message"]
    assert "shop/checkout/sessions is held until people reset it" in message
    assert "Ask the duty desk." in message
    asked = read(OPENAI, body(messages=HELLO))
    verdict = OPENAI.admit(asked, head(), b"", by, held(Step.SESSIONS, level=Level.RESTRICT))
    assert "shop/checkout is held at level restrict" in told(verdict)["error"]["message"]


# ---------------------------------------------------------------- what is not read


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize(
    "path", ["/v1/audio/speech", "/api/chat", "/v1/threads/runs", "/v1/batches", "/invocations"]
)
def test_DEC_6_what_is_not_read_waits_while_anything_is_held(path: str, step: Step) -> None:
    assert admitted(OPENAI, route(), b"{}", path=path) == Pass()
    assert isinstance(admitted(OPENAI, route(), b"{}", step, path=path), Reply)
    assert isinstance(admitted(Plain(), route(), b"{}", step, path=path), Reply)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/models", "GET"),
        ("/v1/responses/resp_1", "GET"),
        ("/v1/files/f", "DELETE"),
        ("/v1/responses/resp_1/cancel", "POST"),
    ],
)
def test_what_begins_nothing_goes_on(path: str, method: str) -> None:
    asked = OPENAI.read(head(path, method), b"")
    verdict = OPENAI.admit(asked, head(path, method), b"", route(hold_tools=True), held(*Step))
    assert verdict == Pass()


def test_counting_tokens_goes_on() -> None:
    path = "/v1/messages/count_tokens"
    assert admitted(ANTHROPIC, route(), body(messages=HELLO), *Step, path=path) == Pass()


def test_a_realtime_session_waits_while_anything_is_held_or_judged() -> None:
    asked = OPENAI.read(head("/v1/realtime?model=m", "GET"), b"")
    for by, steps in ((route(), [Step.TOOLS]), (route(hold_tools=True), [])):
        verdict = OPENAI.admit(asked, head("/v1/realtime", "GET"), b"", by, held(*steps))
        assert isinstance(verdict, Reply)


# ---------------------------------------------------------------- tools that are allowed


def test_a_tool_that_is_not_allowed_is_never_offered() -> None:
    by = route(tools=Tools(allow=("look*",)))
    verdict = admitted(OPENAI, by, stream(tools=BOTH))
    assert names(sent_on(verdict)) == ["look"]
    assert isinstance(verdict, Rewritten)
    assert verdict.filter is not None
    forced = {"type": "function", "function": {"name": "send_mail"}}
    verdict = admitted(OPENAI, by, stream(tools=BOTH, tool_choice=forced))
    assert (code(verdict), isinstance(verdict, Reply) and verdict.status) == (
        "offswitch_not_allowed",
        403,
    )


def test_ACT_1_a_tool_with_two_names_needs_both_to_be_allowed() -> None:
    by = route(tools=Tools(allow=("look",)))
    two = {"type": "function", "name": "look", "function": {"name": "send"}}
    assert "tools" not in sent_on(admitted(OPENAI, by, stream(tools=[two])))
    hosted = {"type": "mcp", "name": "look", "server_label": "mail"}
    said = body(input="x", stream=True, tools=[hosted, flat("look")])
    assert sent_on(admitted(OPENAI, by, said, path=RESPONSES))["tools"] == [flat("look")]


# ---------------------------------------------------------------- asked for as a stream


def through(said: bytes, path: str = CHAT, **declared: object) -> Rewritten:
    steward = ANTHROPIC if path == MESSAGES else OPENAI
    verdict = admitted(steward, route(**declared), said, path=path)
    assert isinstance(verdict, Rewritten), verdict
    return verdict


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"stream": None}, {"n": 2}])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", RESPONSES, MESSAGES])
def test_VER_6_a_stream_is_asked_for_where_the_client_wants_none(
    path: str, more: dict[str, object]
) -> None:
    said = body(messages=GOES_ON, **more)
    verdict = through(said, path)
    expected = {**json.loads(said), "stream": True}
    if path.endswith("completions"):
        expected["stream_options"] = {"include_usage": True}
    assert json.loads(verdict.body) == expected
    assert verdict.filter is not None


def test_VER_6_a_large_body_is_not_written_anew() -> None:
    said = (
        b' { "model" : "m",  "messages":[{"role":"user","content":"\\"stream\\":false"}]'
        b' , "stream" :  false}'
    )
    new = through(said).body
    assert new.endswith(b'"content":"\\"stream\\":false"}] , "stream" :  true}')
    assert new.startswith(b' {"stream_options":{"include_usage":true}, "model" : "m",  "mess')


@pytest.mark.parametrize(
    "said",
    [
        b'{"str\\u0065am":false,"x":{"stream":false}}',
        b'{"x":{"stream":false},"stream":false}',
        b'{"x":"stream","stream":false}',
        b'{"stream":null,"stream_options":null}',
        b'{"stream_options":{"include_obfuscation":false}}',
        b"{}",
    ],
)
def test_VER_6_odd_bodies_ask_for_a_stream_all_the_same(said: bytes) -> None:
    new = json.loads(through(said).body)
    assert new["stream"] is True
    assert new["stream_options"]["include_usage"] is True
    assert {k: v for k, v in new.items() if not k.startswith("stream")} == {
        k: v for k, v in json.loads(said).items() if not k.startswith("stream")
    }


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (RESPONSES, {"background": True}),
        ("/v1/completions", {"best_of": 3}),
        (CHAT, {"use_beam_search": True}),
        (CHAT, {"prompt_logprobs": 0}),
        (CHAT, {"modalities": ["text", "audio"]}),
    ],
)
def test_what_a_server_gives_only_whole_is_not_asked_for_as_a_stream(
    path: str, more: dict[str, object]
) -> None:
    assert admitted(OPENAI, route(), body(messages=GOES_ON, **more), path=path) == Pass()


def test_a_route_may_opt_out() -> None:
    assert admitted(OPENAI, route(reassemble=False), body(messages=GOES_ON)) == Pass()
    judged = admitted(OPENAI, route(reassemble=False, hold_tools=True), body(messages=GOES_ON))
    assert isinstance(judged, Rewritten)
    assert judged.body == body(messages=GOES_ON)
    assert judged.filter is not None


def test_measures_and_a_stream_go_together() -> None:
    by = route(tools=LOOKS, fallback=Fallback(model="m-1"))
    said = body(messages=GOES_ON, tools=BOTH)
    new = sent_on(admitted(OPENAI, by, said, Step.WRITES, Step.MODEL))
    assert (new["model"], new["stream"], names(new)) == ("m-1", True, ["look"])


def test_calls_are_held_where_the_route_says_so() -> None:
    verdict = admitted(OPENAI, route(hold_tools=True), stream(tools=BOTH))
    assert isinstance(verdict, Rewritten)
    assert verdict.body == stream(tools=BOTH)
    assert type(verdict.filter).__name__ == "Holder"


def test_ACT_9_a_tool_that_waits_for_a_person_each_time_is_judged_in_streams_too() -> None:
    by = route(tools=Tools(hold=("send_mail",)))
    verdict = admitted(OPENAI, by, stream(tools=BOTH))
    assert isinstance(verdict, Rewritten)
    assert verdict.filter is not None
    judge = by_declaration(by, held())
    assert judge(Call("look"))
    assert not judge(Call("send_mail"))
    assert not by_declaration(route(tools=Tools(allow=("look",))), held())(Call("send_mail"))
    assert not by_declaration(route(tools=LOOKS), held(Step.WRITES))(Call("send_mail"))
    assert not by_declaration(route(), held(Step.TOOLS))(Call("look"))


@pytest.mark.parametrize("shape", [Shape.CHAT, Shape.COMPLETION, Shape.RESPONSES, Shape.MESSAGES])
def test_DEC_6_a_fixed_answers_stream_adds_up_to_its_whole(shape: Shape) -> None:
    said = {"stream_options": {"include_usage": True}}
    whole = told(fixed(Asked(shape, body=said), "Closed."))
    sent = fixed(Asked(shape, stream=True, body=said), "Closed.")
    assembler = Assembler(shape, lambda text: Reply(502, (), text.encode()))
    assembler.head(200, sent.headers)
    assembler.feed(sent.body)
    put = told(assembler.reply())

    def unnamed(value: Any) -> Any:  # noqa: ANN401 - ids and times are made anew
        text = re.sub(r"(_|-)[0-9a-f]{16,}", "", json.dumps(value))
        return json.loads(re.sub(r'("created(_at)?": )\d+', r"\g<1>0", text))

    if shape is Shape.CHAT:
        whole["choices"][0].pop("logprobs")
        whole["choices"][0]["message"].pop("refusal")
    assert unnamed(put) == unnamed(whole)
