"""What is asked is read in the only way it can be read; what has two meanings is refused."""

from __future__ import annotations

import json

import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_requests import CHAT, HELLO, body, flat, head, read, route, tool
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.pick import api_of, model_stewards
from offswitch.gateway.exchange import Asked, Malformed, Shape
from offswitch.gateway.plan.match import choose
from offswitch.gateway.plan.route import Api
from offswitch.model.level import Level

OPENAI = OpenAi()
ANTHROPIC = Anthropic()


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", Shape.CHAT),
        ("/openai/v1/chat/completions?api-version=1", Shape.CHAT),
        ("/v1/completions", Shape.COMPLETION),
        ("/completions", Shape.COMPLETION),
        ("/a/b/v1/responses", Shape.RESPONSES),
        ("/v1/embeddings", Shape.EMBEDDINGS),
        ("/v1/threads/t/messages", Shape.PLAIN),
        ("/v1/audio/speech", Shape.PLAIN),
        ("/completion", Shape.PLAIN),
    ],
)
def test_a_call_is_known_by_method_and_path(path: str, shape: Shape) -> None:
    assert OPENAI.read(head(path), body(messages=HELLO)).shape is shape


def test_what_is_got_begins_nothing() -> None:
    assert OPENAI.read(head("/v1/models", "GET"), b"").shape is Shape.MODELS
    again = OPENAI.read(head("/v1/responses/r_1?stream=true", "GET"), b"")
    assert (again.shape, again.stream) == (Shape.RESPONSES, True)


def test_a_realtime_session_names_its_model_in_the_query() -> None:
    asked = OPENAI.read(head("/v1/realtime?model=m-7", "GET"), b"")
    assert (asked.shape, asked.model) == (Shape.REALTIME, "m-7")
    with pytest.raises(Malformed, match="more than one"):
        OPENAI.read(head("/v1/realtime?model=a&model=b", "GET"), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/%63ompletions",
        "/v1/chat//completions",
        "/v1/chat/completions/",
        "/v1/./chat/completions/.",
        "/v1/chat/x/../completions",
        "/v1/Chat/Completions",
        "/v1/chat%2fcompletions",
        "/v1/chat\\completions",
        "/v1/chat/completions;x=1",
    ],
)
def test_ACT_1_a_path_that_a_server_may_take_for_a_chat_is_no_way_round(path: str) -> None:
    with pytest.raises(Malformed, match="unusual"):
        OPENAI.read(head(path), body(messages=HELLO))


def test_model_stream_tools_and_session_are_read() -> None:
    said = body(
        messages=HELLO,
        stream=True,
        tools=[tool("look"), tool("send")],
        functions=[{"name": "old"}],
        prompt_cache_key="s-1",
    )
    asked = read(OPENAI, said)
    assert (asked.model, asked.stream, asked.session) == ("m-7", True, "s-1")
    assert asked.tools == ("look", "send", "old")


def test_tools_of_responses_and_of_messages_are_read() -> None:
    said = body(
        input="x",
        conversation={"id": "conv_1"},
        tools=[
            flat("look"),
            {"type": "web_search"},
            {"type": "mcp", "server_label": "mail"},
            {"type": "namespace", "name": "crm", "tools": [flat("crm_read")]},
        ],
    )
    asked = read(OPENAI, said, "/v1/responses")
    assert asked.tools == ("look", "web_search", "mail", "crm_read")
    assert asked.session == "conv_1"
    said = body(messages=HELLO, tools=[{"name": "look", "input_schema": {}}])
    asked = read(ANTHROPIC, said, "/v1/messages")
    assert (asked.shape, asked.tools) == (Shape.MESSAGES, ("look",))


@pytest.mark.parametrize(
    "said",
    [
        b'{"model":"a","model":"b"}',
        b'{"stream":false,"stream":true}',
        b'{"mod\\u0065l":"a","model":"b"}',
        b'{"model":"a","tools":[{"type":"function","function":{"name":"a","name":"b"}}]}',
        b'{"Model":"a"}',
        b'{"model":"a","\xc5\xbftream":true}',  # a long s, which Go folds into an s
        b'{"model":"a","TOOLS":[]}',
        b'{"model":"a","tools":[{"Name":"b","name":"a"}]}',
        b'{"model":"a","stream":"true"}',
        b'{"model":"a","stream":1}',
        b'{"model":["a"]}',
        b'{"model":"\\ud800"}',
        b'{"temperature":NaN}',
        b'{"temperature":1e999}',
        b'{"temperature":-Infinity}',
        b'{"seed":' + b"9" * 5000 + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"model":" m-7"}',
        b'{"model":"m-7\\n"}',
        b"[" * 100_000,
        b"[" + b"1," * 600_000 + b"1]",
        b'{"model":"\xff"}',
        '{"model":"m"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"a"} {"model":"b"}',
        b'["model"]',
        b'"model"',
        b"",
        b'{"model":"' + b"m" * 600 + b'"}',
        b'{"tools":{}}',
        b'{"tools":[1]}',
        b'{"tools":[{}]}',
    ],
)
def test_ACT_1_a_body_with_two_meanings_is_malformed(said: bytes) -> None:
    with pytest.raises(Malformed):
        read(OPENAI, said)
    with pytest.raises(Malformed):
        read(ANTHROPIC, said, "/v1/messages")


@pytest.mark.parametrize(
    "headers",
    [
        {"content_encoding": "gzip"},
        {"content_encoding": "identity, br"},
        {"content_type": "application/json; charset=utf-16"},
        {"content_type": 'application/json; charset="utf-7"'},
        {"content_type": "application/json; charset=utf-8; charset=utf-7"},
        {"content_type": "application/json; xcharset=utf-8; charset=utf-7"},
    ],
)
def test_ACT_1_a_body_that_is_read_otherwise_upstream_is_malformed(headers: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        OPENAI.read(head(CHAT, **headers), body(messages=HELLO))


def test_utf_8_may_be_said() -> None:
    said = head(CHAT, content_type="application/json; charset=UTF-8")
    assert OPENAI.read(said, body(messages=HELLO)).model == "m-7"


def test_a_long_conversation_is_read() -> None:
    turns = [{"role": "user", "content": "ünï" * 100}] * 5000
    assert read(OPENAI, json.dumps({"model": "m", "messages": turns}).encode()).model == "m"


@pytest.mark.parametrize(
    ("declared", "path", "version", "api"),
    [
        (Api.AUTO, "/v1/chat/completions", "", Api.OPENAI),
        (Api.AUTO, "/v1/chat/completions", "2023-06-01", Api.OPENAI),
        (Api.AUTO, "/v1/messages", "", Api.ANTHROPIC),
        (Api.OPENAI, "/v1/messages", "", Api.ANTHROPIC),
        (Api.ANTHROPIC, "/v1/responses", "", Api.OPENAI),
        (Api.AUTO, "/v1/models", "2023-06-01", Api.ANTHROPIC),
        (Api.AUTO, "/v1/models", "", Api.OPENAI),
        (Api.AUTO, "/mcp", "", Api.MCP),
        (Api.MCP, "/v1/messages", "", Api.MCP),
        (Api.PLAIN, "/v1/messages", "", Api.PLAIN),
        (Api.OPENAI, "/v1/threads/t/messages", "", Api.OPENAI),
    ],
)
def test_a_steward_is_picked_by_path_first(
    declared: Api, path: str, version: str, api: Api
) -> None:
    headers = {"anthropic_version": version} if version else {}
    assert api_of(declared, head(path, **headers)) is api


def test_a_cancel_passes_at_every_level() -> None:
    for api, steward in model_stewards().items():
        cancels = steward.passes(head("/v1/responses/resp_1/cancel"), Level.KILL)
        assert cancels is (api is not Api.PLAIN)
        assert not steward.passes(head("/v1/responses/resp_1/cancel", "PUT"), Level.DRAIN)
        assert not steward.passes(head("/v1/chat/completions?/responses/a/cancel"), Level.DRAIN)
        assert not steward.passes(head("/v1/x;/responses/..%2f/cancel"), Level.DRAIN)


def test_ACT_1_a_model_in_another_case_belongs_to_the_same_route() -> None:
    named, rest = route(model="Qwen-*"), route()
    for model in ("Qwen-7", "qwen-7", "QWEN-7"):
        assert choose([named, rest], Asked(Shape.CHAT, model)) is named
    assert choose([named, rest], Asked(Shape.CHAT, "other")) is rest


class AsGoReads(dict[str, object]):
    """An object as Go's encoding/json fills a struct: any case, and the last one counts."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__((name.casefold(), value) for name, value in pairs)


KEYS = st.sampled_from(
    ["model", "Model", "stream", "stre\\u0061m", "\u017ftream", "tools", "name", "function", "x"]
)
VALUES = st.recursive(
    st.sampled_from(
        ["true", "false", "null", "1", "1e400", "NaN", '"a"', '"b"', '"\\ud800"', "-0"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[" + ",".join(each) + "]"),
        st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f'"{k}":{v}' for k, v in pairs) + "}"
        ),
    ),
    max_leaves=8,
)
BODIES = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(
    lambda pairs: ("{" + ",".join(f'"{k}":{v}' for k, v in pairs) + "}").encode()
)


@settings(max_examples=200)
@given(BODIES)
def test_ACT_1_what_we_read_other_parsers_read_the_same(said: bytes) -> None:
    """A second opinion by Rust's parser (as in FastAPI's pydantic), one by Go's rules (Ollama)."""
    try:
        asked = read(OPENAI, said)
    except Malformed:
        return
    try:
        rust = pydantic_core.from_json(said, allow_inf_nan=False)
    except ValueError:
        rust = {"model": asked.model, "stream": asked.stream, "tools": asked.tools}  # refused
        assert b"ud800" in said
    go = json.loads(said, object_pairs_hook=AsGoReads)
    for other in (rust, go):
        assert (other.get("model") or "") == asked.model
        assert bool(other.get("stream")) is asked.stream
        assert (other.get("tools") is not None and list(other["tools"]) != []) is bool(asked.tools)
