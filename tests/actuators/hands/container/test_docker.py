"""Containers of a real Podman are killed through its Docker-compatible API, and looked at."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator

import pytest

from adopted_ground import tree
from container_engine import Engine, engine_in
from installation import until
from model_server_stubs import Stub
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.container.docker import Docker
from offswitch.actuators.hands.contract import CellFacts, Context, Role, Trouble
from offswitch.clock import SimulatedClock

Make = Callable[..., Docker]


def inspected(*, running: bool, policy: str = "no", restarts: int = 0) -> dict[str, object]:
    """Give what Docker says of a container (`GET /containers/ID/json`), as far as it is read."""
    state = {"Running": running, "Paused": False, "Restarting": False, "Pid": int(running)}
    host = {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}}
    status = "running" if running else "exited"
    said = {"Id": "f" * 64, "Name": "/web", "State": state | {"Status": status}, "HostConfig": host}
    return said | {"RestartCount": restarts}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_in(tmp_path_factory.mktemp("engine")) as made:
        made.serve()
        yield made


@pytest.fixture
def hand() -> Iterator[Make]:
    made: list[Docker] = []

    def make(role: Role = Role.ACT, **more: object) -> Docker:
        said = {"name": "box", "target": "web/agent", "kind": "docker"}
        one = Docker(Docker.Settings.model_validate(said | more), Context(role))
        made.append(one)
        one.prepare()
        return one

    yield make
    for one in made:
        one.close()


def test_VER_2_a_killed_container_stands_and_one_that_runs_or_is_paused_does_not(
    engine: Engine, hand: Make
) -> None:
    assert engine.run("--restart", "always").returncode == 0
    where = {"socket": engine.socket, "container": engine.name}
    act, look = hand(**where), hand(Role.LOOK, **where)
    assert act.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    [identity] = act._known
    act.cell = CellFacts(f"/sys/fs/cgroup/libpod-{identity}", 1)
    adopted = act.arm()
    old = "Podman 4" in adopted.detail
    assert adopted.state is (Ready.DEGRADED if old else Ready.READY), "the warden is faster"
    sight = look.look()
    assert sight.stands is False
    assert "running" in sight.detail
    assert engine("pause", engine.name).returncode == 0
    sight = look.look()
    assert sight.stands is False
    assert "paused: that is not stopped" in sight.detail
    told = act.trip("kill")
    assert not engine.running()
    assert engine.name in told.happened[0]
    look.clock = SimulatedClock()
    sight = look.look()
    assert sight.stands is None
    assert "may be about to start it again" in sight.detail
    look.clock.advance(1_200_000)
    assert look.look().stands is True
    act.trip("kill")
    assert look.look().stands is True, "once more does no harm"
    assert act.release().detail == "nothing is started"
    assert not engine.running(), "a release starts nothing"
    assert engine("start", engine.name).returncode == 0
    assert look.look().stands is False, "somebody did"


@pytest.mark.long
def test_VER_2_an_engine_that_calls_it_stopped_is_not_believed_while_a_process_is_left(
    engine: Engine, hand: Make
) -> None:
    assert engine.run().returncode == 0
    where = {"socket": engine.socket, "container": engine.name}
    look = hand(Role.LOOK, **where)
    look.arm()
    with Stub() as liar:
        said = inspected(running=False)
        liar.answer = lambda *_: (200, said)  # type: ignore[method-assign]
        lying = hand(Role.LOOK, url=liar.url, container=engine.name)
        lying._cgroups = look._cgroups
        sight = lying.look()
        assert sight.stands is False, sight
        assert "processes are left in" in sight.detail
        hand(**where).trip("kill")
        assert lying.look().stands is True


@pytest.mark.long
def test_SR_24_a_new_container_of_that_label_is_seen_and_killed(engine: Engine, hand: Make) -> None:
    where = {"socket": engine.socket, "label": "agent=shop"}
    act, look = hand(**where), hand(Role.LOOK, **where)
    assert "nothing is called that now" in act.arm().detail
    assert look.look().stands is True
    for _ in range(2):
        assert engine.run("--label", "agent=shop").returncode == 0
        assert look.look().stands is False
        act.trip("kill")
        assert look.look().stands is True


@pytest.mark.long
def test_SR_4_it_is_proven_by_a_kill_of_nobody_which_a_proxy_that_only_reads_refuses(
    engine: Engine, hand: Make
) -> None:
    with Stub() as proxy:
        proxy.answer = lambda method, *_: (403, b"no") if method == "POST" else (200, {})  # type: ignore[method-assign]
        with pytest.raises(Trouble, match="kill is answered 403"):
            hand(url=proxy.url, container="web").arm()
        calls = [each for each in proxy.state.calls if each.startswith("POST")]
        assert all("offswitch-canary-" in each for each in calls)
    act = hand(socket=engine.socket, container=engine.name)
    engine.hang_up()
    try:
        with pytest.raises(Trouble):
            act.arm()
    finally:
        engine.serve()
    act.open()
    assert act.arm().state is Ready.READY, "connected anew"


@pytest.mark.long
def test_VER_2_where_the_engine_does_not_answer_nothing_is_seen(engine: Engine, hand: Make) -> None:
    look = hand(Role.LOOK, socket=engine.socket, container=engine.name)
    assert engine._service is not None
    engine._service.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Trouble):
            look.look()
    finally:
        engine._service.send_signal(signal.SIGCONT)
    until(lambda: look.look().stands is not None, "it answers again")


def test_a_restart_policy_is_taken_away_and_given_back_where_the_engine_has_that_call(
    hand: Make,
) -> None:
    policies = ["unless-stopped"]

    def answer(
        method: str, path: str, query: object, body: bytes, bearer: str
    ) -> tuple[int, object]:
        if path.endswith("/update"):
            policies.append(json.loads(body)["RestartPolicy"]["Name"])
            return 200, {}
        if path.endswith("/kill"):
            return 204, b""
        return 200, inspected(running=True, policy=policies[-1])

    with Stub() as stub:
        stub.answer = answer  # type: ignore[method-assign]
        act = hand(url=stub.url, container="web")
        act.trip("kill")
        assert policies == ["unless-stopped", "no"]
        assert "unless-stopped" in act.release().detail
        assert policies[-1] == "unless-stopped"
        assert not any("/start" in call for call in stub.state.calls)
        with pytest.raises(Trouble, match="no freeze of containers"):
            act.trip("freeze")


def test_its_settings_name_one_thing() -> None:
    for wrong in ({}, {"container": "a", "label": "b"}, {"container": "a", "url": "unix:///x"}):
        with pytest.raises(ValueError, match=r"name either|begins with"):
            Docker.Settings.model_validate({"name": "b", "target": "t", "kind": "docker"} | wrong)


def test_VER_2_a_kill_that_is_refused_while_it_runs_is_no_kill(hand: Make) -> None:
    paused = [True]

    def answer(method: str, path: str, *_: object) -> tuple[int, object]:
        if path.endswith("/unpause"):
            paused[0] = False
        if path.endswith("/kill"):
            return (409, {"message": "Container f is paused"}) if paused[0] else (500, {})
        said = inspected(running=True)
        return 200, said | {"State": dict(said["State"]) | {"Paused": paused[0]}}  # type: ignore[call-overload]

    with Stub() as stub:
        stub.answer = answer  # type: ignore[method-assign]
        with pytest.raises(Trouble, match="kill is answered 500"):
            hand(url=stub.url, container="web").trip("kill")
        assert not paused[0], "Docker kills none that is paused: it was thawed to die"


def test_VER_3_one_that_its_engine_has_started_again_has_moved_though_it_is_never_seen_alive(
    hand: Make,
) -> None:
    restarts, clock = [0], SimulatedClock()
    with Stub() as stub:
        stub.answer = lambda *_: (  # type: ignore[method-assign]
            200,
            inspected(running=False, policy="always", restarts=restarts[0]),
        )
        look = hand(Role.LOOK, url=stub.url, container="web")
        look.clock = clock
        assert look.look().stands is None
        for count in (1, 2):
            restarts[0] = count
            clock.advance(1_200_000)
            sight = look.look()
            assert sight.stands is False
            assert f"starts it again, {count} times by now" in sight.detail
        assert look.look().stands is None, "it may be about to be once more"
        clock.advance(1_200_000)
        assert look.look().stands is True


def test_VER_2_that_none_was_started_again_during_an_earlier_stop_says_nothing_of_this_one(
    hand: Make,
) -> None:
    clock = SimulatedClock()
    with Stub() as stub:
        stub.answer = lambda *_: (200, inspected(running=False, policy="always"))  # type: ignore[method-assign]
        look = hand(Role.LOOK, url=stub.url, container="web")
        look.clock = clock
        assert look.look().stands is None
        clock.advance(1_200_000)
        assert look.look().stands is True
        clock.advance(60_000_000)
        assert look.look().stands is None, "nobody looked meanwhile"
        clock.advance(1_200_000)
        assert look.look().stands is True
        stub.answer = lambda method, *_: (  # type: ignore[method-assign]
            (404, {}) if method == "POST" else (200, inspected(running=False, policy="always"))
        )
        look.arm()
        assert look.look().stands is None, "it was reset in between"


def test_VER_3_what_cgroups_it_had_is_known_to_the_process_that_looks_next(hand: Make) -> None:
    with Stub() as stub:
        stub.answer = lambda *_: (200, inspected(running=False))  # type: ignore[method-assign]
        first = hand(Role.LOOK, url=stub.url, container="web")
        first._cgroups.learn(f"0{tree()}\n0/sys/fs/cgroup/nowhere-of-ours\n0/etc\n")
        assert first.look().stands is False, "the root of the tree is never empty"
        assert first.memory.startswith(f"0{tree()}\n")
        assert "/etc" not in first.memory
        settings = first.settings
        later = Docker(settings, Context(Role.LOOK, remembered=first.memory))
        assert later.look().stands is False
        later.close()
