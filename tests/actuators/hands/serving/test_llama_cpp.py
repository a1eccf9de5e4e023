"""llama.cpp: routers unload, single servers cannot; tests/peers does the same to a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from model_server_stubs import LlamaStub
from needs import needs_root
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.serving.llama_cpp import LlamaCpp
from offswitch.clock import SimulatedClock

Make = Callable[..., LlamaCpp]


@pytest.fixture
def stub() -> Iterator[LlamaStub]:
    with LlamaStub() as one:
        yield one


@pytest.fixture
def hand() -> Iterator[Make]:
    made: list[LlamaCpp] = []

    def make(stub: LlamaStub, role: Role = Role.ACT, **more: object) -> LlamaCpp:
        said = {"name": "engine", "target": "shop/llm", "kind": "llama_cpp", "url": stub.url}
        one = LlamaCpp(LlamaCpp.Settings.model_validate(said | more), Context(role))
        one.clock = SimulatedClock(100_000_000)
        made.append(one)
        one.prepare()
        one.open()
        return one

    yield make
    for one in made:
        one.close()


def test_VER_2_a_router_stands_when_its_models_have_no_process_and_not_while_one_has(
    stub: LlamaStub, hand: Make
) -> None:
    act, look = hand(stub), hand(stub, Role.LOOK)
    stub.ask(1)
    assert act.arm().state is Ready.READY
    assert look.look().stands is False
    stub.state.liar = True
    assert act.trip("kill").detail == "unloads tiny"
    assert look.look().stands is False, "its router said so, and it is loaded still"
    stub.state.liar = False
    act.trip("kill")
    assert look.look().stands is True
    assert act.trip("kill").detail == "unloads nothing: nothing is loaded"
    stub.status = "loading"
    assert look.look().stands is False, "somebody loads it again"
    assert act.release().reissue == ("load tiny again: POST /models/load",)


def test_ACT_9_it_tells_how_far_each_answer_had_come(stub: LlamaStub, hand: Make) -> None:
    stub.ask(1)
    act = hand(stub)
    act.arm()
    assert act.holds() == ("tiny task 3: 21 tokens written",)
    assert act.trip("kill").happened == act.holds()


def test_SR_4_what_lets_a_model_live_on_or_come_back_is_told_beforehand(
    stub: LlamaStub, hand: Make
) -> None:
    stub.preset = ""
    told = hand(stub).arm()
    assert (told.state, "stop-timeout = 0" in told.detail) == (Ready.DEGRADED, True)
    stub.autoload = True
    assert "--no-models-autoload" in hand(stub).arm().detail
    look = hand(stub, Role.LOOK)
    stub.status = "unloaded"
    assert look.look().stands is None
    with pytest.raises(Trouble, match="no model other"):
        hand(stub, models=["other"]).arm()
    assert all("offswitch-canary-" in call for call in stub.state.calls if "POST" in call)


def test_VER_6_a_server_of_one_model_is_asked_seldom_and_never_called_stopped(
    stub: LlamaStub, hand: Make
) -> None:
    stub.router = False
    look = hand(stub, Role.LOOK)
    look.arm()
    stub.ask(1)
    asked = sum("/slots" in call for call in stub.state.calls)
    seen = []
    for _ in range(100):
        look.clock.advance(20_000)  # type: ignore[attr-defined]
        seen.append(look.look().stands)
    assert sum("/slots" in call for call in stub.state.calls) - asked == 2, "twice in two seconds"
    assert (seen[0], seen[-1]) == (None, False)
    stub.state.running = 0
    look.clock.advance(1_200_000)  # type: ignore[attr-defined]
    assert look.look().stands is None, "idle, and it would serve whoever asks"
    stub.close()
    look.clock.advance(1_200_000)  # type: ignore[attr-defined]
    assert look.look().stands is True, "nobody listens any more"


def test_callers_of_a_server_here_are_cut_off_and_one_elsewhere_is_absent(
    stub: LlamaStub, hand: Make
) -> None:
    needs_root()
    stub.router = False
    act, caller = hand(stub), hand(stub)
    assert act.arm().state is Ready.DEGRADED
    caller.get("/props")
    assert "cut off 1 callers" in act.trip("kill").detail
    with pytest.raises(ConnectionError):
        caller.line._connection.sock.recv(1)  # type: ignore[union-attr]
    act._callers.here = lambda _line: False  # type: ignore[method-assign]
    assert act.arm().state is Ready.ABSENT
