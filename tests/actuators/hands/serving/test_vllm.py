"""vLLM is paused and looked at, by a stand-in with its real words (model_server_stubs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from model_server_stubs import VllmStub
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.serving.vllm import Vllm
from offswitch.clock import SimulatedClock


@pytest.fixture
def stub() -> Iterator[VllmStub]:
    with VllmStub() as one:
        yield one


Make = Callable[..., Vllm]


@pytest.fixture
def hand() -> Iterator[Make]:
    made: list[Vllm] = []

    def make(stub: VllmStub, role: Role = Role.ACT, **more: object) -> Vllm:
        secrets = {"key_file": stub.key} if stub.key else {}
        said = {"name": "engine", "target": "shop/llm", "kind": "vllm", "url": stub.url}
        if stub.key:
            said["key_file"] = "/run/key"
        one = Vllm(Vllm.Settings.model_validate(said | more), Context(role, secrets))
        one.clock = SimulatedClock()
        made.append(one)
        one.open()
        return one

    yield make
    for one in made:
        one.close()


def wait(one: Vllm, us: int = 300_000) -> None:
    assert isinstance(one.clock, SimulatedClock)
    one.clock.advance(us)


def test_VER_2_a_paused_server_stands_and_one_that_was_resumed_behind_our_back_does_not(
    stub: VllmStub, hand: Make
) -> None:
    stub.ask(3)
    act, look = hand(stub), hand(stub, Role.LOOK)
    assert look.look().stands is False
    act.trip("kill")
    assert (stub.state.running, stub.state.paused) == (0, "abort")
    look.look()
    wait(look)
    assert look.look().stands is True
    stub.state.paused, stub.state.stale = "", None
    assert look.look().stands is False, "whoever reaches its port can do that"


def test_VER_6_it_does_not_stand_while_it_writes_on_behind_clients_that_are_gone(
    stub: VllmStub, hand: Make
) -> None:
    stub.state.liar = True
    stub.ask(2)
    act, look = hand(stub), hand(stub, Role.LOOK)
    assert act.trip("kill").detail == "paused (abort)", "it says so"
    for _ in range(4):
        wait(look)
        sight = look.look()
        assert sight.stands is False, sight
    stub.state.liar = False
    look.look()
    wait(look)
    assert look.look().stands is True, "its gauge says two to this day; no token comes"


def test_VER_6_an_old_gauge_is_believed_only_when_no_token_has_come_for_a_while(
    stub: VllmStub, hand: Make
) -> None:
    stub.ask(2)
    act, look = hand(stub), hand(stub, Role.LOOK)
    act.trip("kill")
    assert stub.state.stale == 2
    assert look.look().stands is False, "it may be work"
    wait(look, 100_000)
    assert look.look().stands is False
    wait(look, 200_000)
    assert look.look().stands is True


def test_SR_4_it_is_ready_only_where_its_engine_answers_and_nobody_else_reaches_it(
    stub: VllmStub, hand: Make
) -> None:
    assert hand(stub, guarded=True).arm().state is Ready.READY
    told = hand(stub).arm()
    assert (told.state, "can resume it" in told.detail) == (Ready.DEGRADED, True)
    assert stub.state.paused == "", "proving changes nothing"
    assert not any('request_ids":[]' in call for call in stub.state.calls), stub.state.calls
    stub.dev_mode = False
    with pytest.raises(Trouble, match="no /pause"):
        hand(stub, guarded=True).arm()
    stub.close()
    with pytest.raises(Trouble, match="refused"):
        hand(stub)


def test_SR_4_its_own_key_guards_no_pause_and_a_proxy_that_asks_for_one_everywhere_does(
    hand: Make,
) -> None:
    with VllmStub(key="k-1") as own:
        assert hand(own).arm().state is Ready.DEGRADED
    with VllmStub(key="k-1", guarded=True) as fronted:
        assert hand(fronted).arm().state is Ready.READY
        assert hand(fronted, Role.LOOK).arm().detail.startswith("looks by the credential that acts")
        one = hand(fronted)
        fronted.key = "k-2"
        for attempt in (one.arm, lambda: one.trip("kill"), one.look, one.release):
            with pytest.raises(Trouble, match="refuses") as caught:
                attempt()
            assert "k-1" not in str(caught.value)


def test_ACT_9_it_tells_what_was_ended_in_the_middle_and_what_waits(
    stub: VllmStub, hand: Make
) -> None:
    act = hand(stub, guarded=True)
    stub.ask(5)
    act.arm()
    stub.ask(2)
    told = act.trip("kill").happened
    assert "5 answers were in work" in told[0]
    assert "7 answers were ended in the middle" in told[1]
    stub.ask(4)
    assert "4 requests wait, held" in act.trip("freeze").happened[-1]
    stub.state.stale = None
    assert act.holds() == ("0 answers in work", "4 requests wait")
    act.trip("kill")
    assert stub.state.waiting == 0, "a second stop drops what waits"


def test_ACT_8_what_came_during_a_pause_is_dropped_before_it_is_resumed(
    stub: VllmStub, hand: Make
) -> None:
    act, look = hand(stub), hand(stub, Role.LOOK)
    act.trip("kill")
    stub.ask(3)
    wait(look)
    sight = look.look()
    assert sight.stands is True, sight
    assert "3 wait, held" in sight.detail
    assert act.release().detail == "resumed; dropped before: 3"
    assert (stub.state.running, stub.state.paused) == (0, "")


def test_an_older_one_has_one_way_to_pause_and_says_that_what_waited_goes_on(hand: Make) -> None:
    with VllmStub(old=True) as stub:
        act = hand(stub, guarded=True)
        assert (act.arm().state, "goes on" in act.arm().detail) == (Ready.READY, True)
        stub.ask(1)
        act.trip("freeze")
        assert stub.state.running == 0
        stub.ask(1)
        assert act.release().detail == "resumed; what waited during the pause goes on"
        assert stub.state.running == 1


def test_a_freeze_keeps_what_is_in_work_and_a_second_trip_does_no_harm(
    stub: VllmStub, hand: Make
) -> None:
    stub.ask(2)
    act, look = hand(stub), hand(stub, Role.LOOK)
    assert act.trip("freeze").detail == act.trip("freeze").detail == "paused (keep)"
    assert stub.state.running == 2
    look.look()
    wait(look)
    assert look.look().stands is True
    act.release()
    assert stub.state.running == 0, "a release starts nothing"


def test_a_server_that_is_gone_stands_where_it_was_seen_before_and_nowhere_else(
    stub: VllmStub, hand: Make
) -> None:
    look, fresh = hand(stub, Role.LOOK), hand(stub, Role.LOOK)
    look.arm()
    stub.close()
    sight = look.look()
    assert sight.stands is True, sight
    assert "nobody listens" in sight.detail
    with pytest.raises(Trouble):
        fresh.look()


def test_what_it_says_is_shown_bounded_and_harmless(stub: VllmStub, hand: Make) -> None:
    stub.POSTS = frozenset()
    act = hand(stub, guarded=True)
    stub.answer = lambda *_: (500, b"\x1b[2J" * 5000)  # type: ignore[method-assign]
    with pytest.raises(Trouble) as caught:
        act.trip("kill")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_VER_3_a_look_that_comes_in_the_place_of_another_knows_that_it_had_answered(
    stub: VllmStub, hand: Make
) -> None:
    first = hand(stub, Role.LOOK)
    first.look()
    stub.close()
    later = Vllm(first.settings, Context(Role.LOOK, remembered=first.memory))
    later.open()
    assert later.look().stands is True
