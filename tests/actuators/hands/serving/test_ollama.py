"""Ollama is cut off and unloaded; and never called stopped, since it refuses nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_server_stubs import OllamaStub
from needs import needs_root
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.serving.ollama import Ollama


@pytest.fixture
def stub() -> Iterator[OllamaStub]:
    with OllamaStub() as one:
        yield one


@pytest.fixture
def hands(stub: OllamaStub) -> Iterator[tuple[Ollama, Ollama]]:
    needs_root()
    said = {"name": "engine", "target": "shop/llm", "kind": "ollama", "url": stub.url}
    settings = Ollama.Settings.model_validate(said)
    made = Ollama(settings, Context(Role.ACT)), Ollama(settings, Context(Role.LOOK))
    for one in made:
        one.prepare()
        one.open()
    yield made
    for one in made:
        one.close()


def test_VER_2_it_does_not_stand_while_a_model_is_loaded_and_is_unknown_when_none_is(
    stub: OllamaStub, hands: tuple[Ollama, Ollama]
) -> None:
    act, look = hands
    told = act.arm()
    assert (told.state, "refuses nobody" in told.detail) == (Ready.DEGRADED, True)
    assert act.holds() == ("m-7:latest is loaded",)
    stub.ask(1)
    assert act.trip("kill").detail.startswith("cut off ")
    assert look.look().stands is False, "the answer goes on, so it is not unloaded"
    stub.state.running = 0
    assert "unloads m-7:latest" in act.trip("kill").detail
    assert look.look().stands is None
    stub.close()
    assert look.look().stands is True, "nobody listens"


def test_SR_4_elsewhere_it_ends_no_answer_and_says_so(
    stub: OllamaStub, hands: tuple[Ollama, Ollama]
) -> None:
    act, _look = hands
    act._callers.here = lambda _line: False  # type: ignore[method-assign]
    assert "an answer in work is not ended" in act.arm().detail
    assert "ended no answer" in act.trip("kill").detail
    assert act.release().detail.startswith("nothing is loaded")
    with pytest.raises(Trouble, match="knows no drain"):
        act.trip("drain")
    stub.answer = lambda *_: (200, {"models": ["x"]})  # type: ignore[method-assign]
    with pytest.raises(Trouble, match="/api/ps answers 200"):
        act.arm()
