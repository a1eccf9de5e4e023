"""SGLang is paused and looked at, by a stand-in with its real words (model_server_stubs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from model_server_stubs import SglangStub
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.serving.sglang import Sglang
from offswitch.clock import SimulatedClock

Make = Callable[..., Sglang]


@pytest.fixture
def stub() -> Iterator[SglangStub]:
    with SglangStub() as one:
        yield one


@pytest.fixture
def hand() -> Iterator[Make]:
    made: list[Sglang] = []

    def make(stub: SglangStub, role: Role = Role.ACT, **more: object) -> Sglang:
        secrets = {"key_file": stub.key} if stub.key else {}
        said = {"name": "engine", "target": "shop/llm", "kind": "sglang", "url": stub.url}
        if stub.key:
            said["key_file"] = "/run/key"
        one = Sglang(Sglang.Settings.model_validate(said | more), Context(role, secrets))
        one.clock = SimulatedClock()
        made.append(one)
        one.open()
        return one

    yield make
    for one in made:
        one.close()


def test_VER_2_a_paused_server_stands_and_one_that_goes_on_does_not(
    stub: SglangStub, hand: Make
) -> None:
    stub.ask(3)
    act, look = hand(stub), hand(stub, Role.LOOK)
    assert look.look().stands is False
    assert act.trip("kill").detail == "aborted and paused (abort)"
    assert stub.state.running == 0
    assert look.look().stands is True
    stub.state.paused = ""
    assert look.look().stands is False, "nothing is in work, and the next request would be"


def test_VER_6_it_does_not_stand_while_it_writes_on_behind_clients_that_are_gone(
    stub: SglangStub, hand: Make
) -> None:
    stub.state.liar = True
    stub.ask(2)
    act, look = hand(stub), hand(stub, Role.LOOK)
    act.trip("kill")
    for _ in range(3):
        look.clock.advance(300_000)  # type: ignore[attr-defined]
        sight = look.look()
        assert sight.stands is False, sight


def test_VER_6_one_that_does_not_tell_whether_it_is_paused_is_unknown_unless_it_may_be_asked(
    hand: Make,
) -> None:
    with SglangStub(old=True) as stub:
        act, look = hand(stub, guarded=True), hand(stub, Role.LOOK)
        asking = hand(stub, Role.LOOK, guarded=True, probe=True)
        assert act.arm().state is Ready.DEGRADED
        assert asking.arm().state is Ready.READY
        assert asking.look().stands is False, "it gave the token that it was asked for"
        act.trip("kill")
        assert look.look().stands is None
        assert asking.look().stands is True
        assert asking.look().stands is True
        probes = [call for call in stub.state.calls if "/generate" in call]
        assert len(probes) == 2, "once a minute at the most"
        asking.clock.advance(61_000_000)  # type: ignore[attr-defined]
        stub.state.paused = ""
        assert asking.look().stands is False


def test_VER_2_that_an_earlier_stop_held_a_probe_says_nothing_of_the_next_one(hand: Make) -> None:
    with SglangStub(old=True) as stub:
        act = hand(stub, guarded=True)
        look = hand(stub, Role.LOOK, guarded=True, probe=True)
        act.trip("kill")
        assert look.look().stands is True
        act.release()
        look.arm()
        assert look.look().stands is False, "it goes on, though a minute has not passed"


def test_SR_4_it_is_ready_only_where_a_pause_is_there_and_its_key_guards_it(hand: Make) -> None:
    with SglangStub(key="k-1") as stub:
        assert hand(stub).arm().state is Ready.READY
        assert hand(stub, Role.LOOK).arm().state is Ready.DEGRADED
        one = hand(stub)
        stub.key = "k-2"
        for attempt in (one.arm, lambda: one.trip("kill"), one.release):
            with pytest.raises(Trouble, match="refuses") as caught:
                attempt()
            assert "k-1" not in str(caught.value)
    with SglangStub() as stub:
        told = hand(stub).arm()
        assert (told.state, "admin-api-key" in told.detail) == (Ready.DEGRADED, True)
        assert hand(stub, guarded=True).arm().state is Ready.READY
        aborts = [call for call in stub.state.calls if "/abort_request" in call]
        assert aborts
        assert all("offswitch-canary-" in call for call in aborts), "proving ends nobody's answer"
        stub.POSTS = frozenset()
        stub.calls = lambda *_: None if "pause" in _[0] else (200, [{"num_reqs": 0}])  # type: ignore[method-assign]
        assert "no /pause_generation" in hand(stub, guarded=True).arm().detail


def test_ACT_8_a_pause_that_is_answered_late_is_no_failure_and_no_success(
    stub: SglangStub, hand: Make
) -> None:
    stub.slow_s = 0.4
    stub.ask(1)
    act, look = hand(stub, deadline="300ms"), hand(stub, Role.LOOK)
    told = act.trip("kill")
    assert "it answers when the last one has ended" in told.detail
    assert look.look().stands is True, "what counts is what is seen"


def test_ACT_9_it_tells_how_many_were_aborted_and_a_drain_is_refused(
    stub: SglangStub, hand: Make
) -> None:
    act = hand(stub, guarded=True)
    stub.ask(5)
    act.arm()
    assert act.holds() == ("5 requests in work or waiting",)
    assert "5 requests were in work" in act.trip("kill").happened[0]
    with pytest.raises(Trouble, match="cannot refuse what is new"):
        act.trip("drain")


def test_a_release_takes_our_probes_back_and_lets_it_go_on(stub: SglangStub, hand: Make) -> None:
    act = hand(stub)
    act.trip("freeze")
    assert stub.state.paused == "in_place"
    act.release()
    assert stub.state.paused == ""
    assert any('"rid":"offswitch-probe-"' in call for call in stub.state.calls)
    assert not any('"abort_all":true' in call for call in stub.state.calls), "a freeze ends nothing"


def test_a_rank_that_does_not_tell_is_no_rank_without_work(stub: SglangStub, hand: Make) -> None:
    stub.calls = lambda *_: (
        200,
        {"loads": [{"num_running_reqs": 0, "num_waiting_reqs": 0}], "dp_rank_count": 2},
    )  # type: ignore[method-assign]
    with pytest.raises(Trouble, match="does not tell its load"):
        hand(stub, Role.LOOK).look()
