"""The real OpenAI client through a real gateway: nothing changes; a stop is told once, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_answers import Script, Tool
from model_server import serving, silent, talking
from offswitch.gateway.plan.route import Fallback, Step, Tools
from peers.conftest import TARGET, Shop

pytestmark = pytest.mark.peers

WORDS = Script(pieces=("Hel", "lo ", "wörld"), tools=[Tool("look", ('{"at":', '"sky"}'), "call_1")])
CALLS = (
    "chat",
    "chat-many",
    "chat-stream",
    "chat-usage",
    "chat-tools",
    "chat-tools-stream",
    "chat-tools-gathered",
    "chat-async",
    "completion",
    "completion-stream",
    "response",
    "response-stream",
    "response-gathered",
    "embeddings",
    "models",
)


def results(said: dict[str, Any]) -> dict[str, Any]:
    return {name: each.get("result", each) for name, each in said.items()}


def error_of(said: dict[str, Any]) -> dict[str, Any]:
    error = said["error"]
    assert "APIError" in error["kinds"]
    assert "APIConnectionError" not in error["kinds"]
    return dict(error)


@pytest.mark.parametrize("declared", [{}, {"hold_tools": True}, {"reassemble": False}])
def test_ACT_1_results_are_the_same_as_without_us(
    shop_of: Callable[..., Shop], declared: dict[str, Any]
) -> None:
    shop = shop_of(**declared)
    shop.upstream.script = serving(WORDS)
    ours = results(shop.calls("openai", *CALLS))
    streams = [
        b'"stream": true' in v.body or b'"stream":true' in v.body for v in shop.upstream.visits
    ]
    straight = results(shop.calls("openai", *CALLS, straight=True))
    assert ours == straight
    assert sum(streams) == (13 if declared.get("reassemble", True) else 8)


@pytest.mark.parametrize(
    "name", ["chat-stream", "completion-stream", "response-stream", "chat-async"]
)
def test_ACT_4_a_stream_that_is_stopped_raises_the_documented_error_at_once(
    shop: Shop, name: str
) -> None:
    shop.upstream.script = talking()
    said, took = shop.stopped_midway("openai", name)
    error = error_of(said)
    assert error["code"] == "offswitch_stopped"
    assert "the duty desk" in error["message"]
    assert took < 0.5
    assert len(shop.upstream.visits) == 1
    assert said["asked"] == (0 if name == "chat-async" else 1)


def test_ACT_4_a_silent_stream_is_told_too(shop: Shop) -> None:
    shop.upstream.script = silent
    said, took = shop.stopped_midway("openai", "chat-stream")
    assert error_of(said)["code"] == "offswitch_stopped"
    assert took < 0.5


@pytest.mark.parametrize("name", ["chat", "completion", "response", "chat-tools"])
def test_ACT_4_a_whole_answer_that_is_stopped_is_refused_once(shop: Shop, name: str) -> None:
    shop.upstream.script = talking()
    said, took = shop.stopped_midway("openai", name)
    error = error_of(said)
    assert "InternalServerError" in error["kinds"]
    assert (error["status"], error["code"]) == (503, "offswitch_stopped")
    assert took < 0.5
    assert (said["asked"], len(shop.upstream.visits)) == (1, 1)


def test_ACT_1_after_a_stop_each_call_is_refused_once_and_none_is_tried_again(shop: Shop) -> None:
    shop.stop()
    said = shop.calls("openai", *CALLS)
    for name, each in said.items():
        error = error_of(each)
        assert "InternalServerError" in error["kinds"], name
        assert (error["status"], error["code"]) == (503, "offswitch_stopped")
        assert each["asked"] == (0 if name == "chat-async" else 1), name
    assert shop.upstream.visits == []


def test_ACT_1_a_reset_needs_no_new_client_and_no_restart(shop: Shop) -> None:
    shop.upstream.script = serving(WORDS)
    shop.stop()
    assert "error" in shop.calls("openai", "chat")["chat"]
    shop.gate.release(TARGET)
    assert "result" in shop.calls("openai", "chat")["chat"]


def test_DEC_6_four_measures_are_entered_and_left_with_a_real_client(
    shop_of: Callable[..., Shop],
) -> None:
    shop = shop_of(
        steps=frozenset(Step),
        tools=Tools(writes=("look",)),
        fallback=Fallback(answer="Closed today."),
    )
    shop.upstream.script = serving(WORDS)

    def tools() -> bool:
        said = shop.calls("openai", "chat-tools")["chat-tools"]["result"]
        return bool(said["choices"][0]["message"]["tool_calls"])

    def begins() -> bool:
        return "result" in shop.calls("openai", "chat-new")["chat-new"]

    def words() -> str:
        said = shop.calls("openai", "chat-stream")["chat-stream"]["result"]
        return "".join(c["choices"][0]["delta"]["content"] or "" for c in said)

    for step in (Step.WRITES, Step.TOOLS):
        assert tools()
        shop.stop(target=f"{TARGET}/{step}")
        assert not tools()
        shop.gate.release(f"{TARGET}/{step}")
        assert tools()
    assert begins()
    shop.stop(target=f"{TARGET}/{Step.SESSIONS}")
    assert not begins()
    assert words() == WORDS.text
    shop.gate.release(f"{TARGET}/{Step.SESSIONS}")
    assert begins()
    shop.stop(target=f"{TARGET}/{Step.MODEL}")
    assert words() == "Closed today."
    shop.gate.release(f"{TARGET}/{Step.MODEL}")
    assert words() == WORDS.text


def test_DEC_6_a_fixed_answer_is_one_that_the_client_takes(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(steps=frozenset({Step.MODEL}), fallback=Fallback(answer="Closed today."))
    shop.stop(target=f"{TARGET}/{Step.MODEL}")
    names = [name for name in CALLS if name not in ("embeddings", "models")]
    said = shop.calls("openai", *names)
    assert not [name for name, each in said.items() if "error" in each]
    assert said["chat"]["result"]["choices"][0]["message"]["content"] == "Closed today."
    gathered = said["response-gathered"]["result"]["output"][0]
    assert gathered["content"][0]["text"] == "Closed today."
    assert shop.upstream.visits == []


def test_ACT_9_a_call_that_is_not_allowed_never_reaches_the_client(
    shop_of: Callable[..., Shop],
) -> None:
    shop = shop_of(tools=Tools(allow=("other",)))
    offered = serving(WORDS)

    def stubborn(visit: Any) -> None:  # noqa: ANN401 - it calls though nothing is offered
        visit.body = visit.body.rstrip()[:-1] + b',"tools":[1]}'
        offered(visit)

    shop.upstream.script = stubborn
    names = ("chat-tools", "chat-tools-stream", "chat-tools-gathered", "response-gathered")
    said = shop.calls("openai", *names)
    for name in names:
        assert "result" in said[name], said[name]
        assert "sky" not in str(said[name])
        assert "was not let through" in str(said[name])
    assert said["chat-tools-gathered"]["result"]["choices"][0]["finish_reason"] == "stop"
