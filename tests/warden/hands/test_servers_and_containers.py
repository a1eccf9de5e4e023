"""Model servers and containers through a real warden: from the configuration to the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from container_engine import Engine, engine_in
from installation import Installation, until
from model_server_stubs import VllmStub
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


def up(home: Installation, text: str, layer: str) -> None:
    """Declare what a configuration says, as `up` does, and wait until its hand is ready."""
    path = Path(home.home, "offswitch.toml")
    path.write_text(f'[[target]]\nname = "{TARGET}"\n[target.stop]\nkill = ["{layer}"]\n{text}')
    home.ask(declare(load(str(path), installed_kinds())))
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


def test_ACT_8_a_container_is_killed_through_its_engine_each_time_it_is_run(
    installation: Installation, engine: Engine
) -> None:
    needs_root()
    assert engine.run("--restart", "always").returncode == 0
    text = f"""
[[actuator]]
name = "box"
target = "{TARGET}"
kind = "docker"
container = "{engine.name}"
socket = "{engine.socket}"
deadline = "3s"
"""
    up(installation, text, "container")
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True, answer
    assert not engine.running()
    assert engine.name in str(hand(installation)["happened"])
    engine.run()
    until(lambda: not engine.running(), "a new one of that name is killed, too", 15)
