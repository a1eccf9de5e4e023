"""The real Anthropic client through a real gateway: nothing changes; a stop is told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_answers import Script, Tool
from model_server import serving, silent, talking
from offswitch.gateway.plan.route import Fallback, Step, Tools
from peers.conftest import TARGET, Shop

pytestmark = pytest.mark.peers

WORDS = Script(
    pieces=("Hel", "lo"),
    thoughts=("h", "m"),
    tools=[Tool("look", ('{"at":', '"sky"}'), "toolu_1")],
)
CALLS = (
    "message",
    "message-stream",
    "message-tools",
    "message-tools-stream",
    "message-tools-gathered",
    "message-async",
    "count",
    "models",
)


def results(said: dict[str, Any]) -> dict[str, Any]:
    return {name: each.get("result", each) for name, each in said.items()}


def error_of(said: dict[str, Any]) -> dict[str, Any]:
    error = said["error"]
    assert "APIStatusError" in error["kinds"]
    assert error["body"]["error"]["code"] == "offswitch_stopped"
    assert "the duty desk" in error["message"]
    return dict(error)


@pytest.mark.parametrize("declared", [{}, {"hold_tools": True}, {"reassemble": False}])
def test_ACT_1_results_are_the_same_as_without_us(
    shop_of: Callable[..., Shop], declared: dict[str, Any]
) -> None:
    shop = shop_of(**declared)
    shop.upstream.script = serving(WORDS)
    ours = results(shop.calls("anthropic", *CALLS))
    assert ours == results(shop.calls("anthropic", *CALLS, straight=True))
    assert not [name for name, each in ours.items() if "error" in each]


@pytest.mark.parametrize("name", ["message-stream", "message-async", "message-tools-gathered"])
@pytest.mark.parametrize("script", [talking(), silent])
def test_ACT_4_a_stream_that_is_stopped_raises_the_documented_error_at_once(
    shop: Shop,
    name: str,
    script: Any,  # noqa: ANN401
) -> None:
    shop.upstream.script = script
    said, took = shop.stopped_midway("anthropic", name)
    error_of(said)
    assert took < 0.5
    assert len(shop.upstream.visits) == 1


def test_ACT_4_a_whole_answer_that_is_stopped_is_refused_once(shop: Shop) -> None:
    shop.upstream.script = talking()
    said, took = shop.stopped_midway("anthropic", "message")
    error = error_of(said)
    assert "InternalServerError" in error["kinds"]
    assert error["status"] == 503
    assert took < 0.5
    assert (said["asked"], len(shop.upstream.visits)) == (1, 1)


def test_ACT_1_after_a_stop_each_call_is_refused_once_and_none_is_tried_again(shop: Shop) -> None:
    shop.stop()
    for name, each in shop.calls("anthropic", *CALLS).items():
        assert error_of(each)["status"] == 503
        assert each["asked"] == (0 if name == "message-async" else 1), name
    assert shop.upstream.visits == []


def test_DEC_6_a_fixed_answer_is_one_that_the_client_takes(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(steps=frozenset({Step.MODEL}), fallback=Fallback(answer="Closed today."))
    shop.stop(target=f"{TARGET}/{Step.MODEL}")
    said = shop.calls("anthropic", "message", "message-stream", "message-tools-gathered")
    assert not [name for name, each in said.items() if "error" in each]
    assert said["message"]["result"]["content"][0]["text"] == "Closed today."
    assert said["message-tools-gathered"]["result"]["content"][0]["text"] == "Closed today."
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
    names = ("message-tools", "message-tools-stream", "message-tools-gathered")
    said = shop.calls("anthropic", *names)
    for name in names:
        assert "result" in said[name], said[name]
        assert "sky" not in str(said[name])
        assert "was not let through" in str(said[name])
    assert said["message-tools-gathered"]["result"]["stop_reason"] == "end_turn"
