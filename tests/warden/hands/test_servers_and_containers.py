"""Model servers and containers through a real warden: from the configuration to the verdict."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from container_engine import Engine, engine_in
from installation import Installation, until
from model_server_stubs import LlamaStub, VllmStub
from needs import needs_root
from offswitch.cli.declare import declare
from offswitch.config.load import installed_kinds, load

TARGET = "shop/llm"


@pytest.fixture
def stub() -> Iterator[VllmStub]:
    with VllmStub() as one:
        yield one


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_in(tmp_path_factory.mktemp("engine")) as made:
        made.serve()
        yield made


def declared(home: Installation, text: str, layer: str) -> None:
    """Declare what a configuration says, as `up` does."""
    path = Path(home.home, "offswitch.toml")
    path.write_text(f'[[target]]\nname = "{TARGET}"\n[target.stop]\nkill = ["{layer}"]\n{text}')
    home.ask(declare(load(str(path), installed_kinds())))


def up(home: Installation, text: str, layer: str) -> None:
    """Declare, and wait until its hand is ready."""
    declared(home, text, layer)
    until(lambda: hand(home)["state"] == "ready", f"ready: {hand(home)}")


def hand(home: Installation) -> dict[str, Any]:
    [one] = home.ask({"op": "target", "name": TARGET})["hands"]
    return dict(one)


def layer_of(answer: dict[str, Any], name: str) -> dict[str, Any]:
    [target] = answer["targets"]
    return next(each for each in target["layers"] if each["layer"] == name)


def serving(url: str) -> str:
    return f"""
[[actuator]]
name = "engine"
target = "{TARGET}"
kind = "vllm"
url = "{url}"
guarded = true
"""


def container(engine: Engine) -> str:
    return f"""
[[actuator]]
name = "box"
target = "{TARGET}"
kind = "docker"
container = "{engine.name}"
socket = "{engine.socket}"
deadline = "3s"
prove = "1s"
"""


def test_ACT_9_a_server_of_vllm_is_paused_and_looked_at_by_a_process_of_its_own(
    installation: Installation, stub: VllmStub
) -> None:
    up(installation, serving(stub.url), "serving")
    stub.ask(4)
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True, answer
    assert stub.state.running == 0
    assert any("4 answers were ended" in each for each in hand(installation)["happened"])
    stub.state.paused, stub.state.stale = "", None
    until(lambda: stub.state.paused, "resumed behind our back, it is paused again")
    assert installation.reset(TARGET)["state"] == "done"
    until(lambda: not stub.state.paused, "a reset lets it go on")


@pytest.mark.long
def test_VER_6_a_server_that_writes_on_behind_its_clients_is_never_confirmed(
    installation: Installation, stub: VllmStub
) -> None:
    stub.state.liar = True
    up(installation, serving(stub.url), "serving")
    stub.ask(2)
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is False
    assert "still in work" in layer_of(answer, "serving")["detail"]
    stub.state.liar = False
    until(lambda: installation.target(TARGET)["confirmed"], "seen later, it is said later")


@pytest.mark.long
def test_ACT_8_a_container_is_killed_through_its_engine_each_time_it_is_run(
    installation: Installation, engine: Engine
) -> None:
    needs_root()
    assert engine.run("--restart", "always").returncode == 0
    up(installation, container(engine), "container")
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True, answer
    assert not engine.running()
    until(lambda: engine.name in str(hand(installation)["happened"]), "it tells what it was")
    engine.run()
    until(lambda: not engine.running(), "a new one of that name is killed, too", 15)


@pytest.mark.long
def test_SR_4_hands_that_gave_root_away_reach_an_engine_that_was_started_anew(
    installation: Installation, engine: Engine
) -> None:
    needs_root()
    assert engine.run().returncode == 0
    up(installation, container(engine), "container")
    engine.serve()
    answered = "answers; 1 of 1 alive"
    until(lambda: hand(installation)["state"] != "ready", "what it was proven by is gone")
    until(lambda: hand(installation)["state"] == "ready", f"again: {hand(installation)}", 20)
    assert answered in hand(installation)["detail"]
    assert installation.stop(TARGET)["confirmed"] is True
    assert not engine.running()


@pytest.mark.long
def test_VER_6_callers_are_cut_off_by_a_hand_without_root_and_the_stop_is_not_confirmed(
    installation: Installation,
) -> None:
    needs_root()
    with LlamaStub() as stub:
        stub.router = False
        text = serving(stub.url).replace("vllm", "llama_cpp").replace("guarded = true", "")
        declared(installation, text, "serving")
        until(lambda: hand(installation)["state"] == "degraded", "it says what it cannot")
        with socket.create_connection(("127.0.0.1", int(stub.url.rpartition(":")[2]))) as caller:
            caller.settimeout(5)
            stub.ask(1)
            answer = installation.stop(TARGET)
            with pytest.raises(ConnectionError):
                caller.recv(1)
        assert answer["confirmed"] is False
        assert "tokens written" in layer_of(answer, "serving")["detail"]


@pytest.mark.long
def test_ACT_8_an_adopted_container_that_restarts_by_itself_is_down_for_good_by_both_ways(
    installation: Installation, engine: Engine
) -> None:
    needs_root()
    assert engine.run("--restart", "always").returncode == 0
    installation.ask({"op": "adopt", "target": TARGET, "as": {"container": engine.name}})
    declared(installation, container(engine), "container")
    until(lambda: hand(installation)["holds"], f"it is known to it: {hand(installation)}")
    answer = installation.stop(TARGET)
    until(lambda: installation.target(TARGET)["confirmed"], f"by both: {answer}", 15)
    restarts = engine("inspect", "-f", "{{.RestartCount}}", engine.name).stdout
    assert not engine.running()
    until(lambda: hand(installation)["happened"], "it tells what it was", 15)
    assert engine("inspect", "-f", "{{.RestartCount}}", engine.name).stdout == restarts
    assert installation.target(TARGET)["pids"] == 0
