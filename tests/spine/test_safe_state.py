"""A stop creates no new hazard: what an agent moved ends in its declared state (ACT-10)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import KEY
from installation import PYTHON, Installation, until
from offswitch.cli.declare import declare
from offswitch.config.lints import target_lints
from offswitch.config.load import installed_kinds, load

MOVES = """\
import itertools, json, sys, time, urllib.request
for opening in itertools.cycle(range(100)):
    data = json.dumps({"opening": opening}).encode()
    request = urllib.request.Request(sys.argv[1] + "/move", data, method="POST")
    try:
        urllib.request.urlopen(request, timeout=1).close()
    except OSError:
        pass
    time.sleep(0.002)
"""
CONFIG = """\
[[target]]
name = "plant/agent"
kind = "robot-arm"
safe_state = "STATE: so it was declared"
command = ["sleep", "1"]
[[actuator]]
name = "valve"
target = "plant/agent"
kind = "webhook"
as_layer = "relay"
safe_state = "STATE"
url = "URL/hook"
key_file = "KEY"
look_url = "URL/state"
"""


class Plant:
    """The valve, a process outside of every cell."""

    def __init__(self, key: Path) -> None:
        argv = [sys.executable, str(Path(__file__).parents[1] / "valve.py"), str(key)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/state", timeout=5) as answer:
            return dict(json.load(answer))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


@pytest.fixture
def plant(key: Path) -> Iterator[Plant]:
    one = Plant(key)
    yield one
    one.close()


@pytest.mark.parametrize("state", ["hold last", pytest.param("drain", marks=pytest.mark.long)])
def test_ACT_10_what_an_agent_moved_ends_in_its_declared_safe_state(
    installation: Installation, plant: Plant, key: Path, state: str
) -> None:
    text = CONFIG.replace("STATE", state).replace("URL", plant.url).replace("KEY", str(key))
    config = Path(installation.home, "offswitch.toml")
    config.write_text(text)
    config.chmod(0o600)
    loaded = load(str(config), installed_kinds())
    assert target_lints(loaded.config) == []
    installation.ask(declare(loaded))

    def ready() -> bool:
        return bool(installation.target("plant/agent")["readiness"].get("relay") == "ready")

    until(ready, "the relay is proven")
    program = [PYTHON, "-c", MOVES, plant.url]
    installation.run(*program, target="plant/agent")
    until(lambda: plant.state()["opening"] > 3, "it moves the valve")
    answer = installation.stop("plant/agent")
    assert answer["confirmed"] is True, answer
    [relay] = [one for one in answer["targets"][0]["layers"] if one["layer"] == "relay"]
    assert (relay["confirmed"], state in relay["detail"]) == (True, True)
    found = plant.state()
    assert found["state"] == state
    assert (found["opening"], found["level"]) == (100, 0) if state == "drain" else True
    time.sleep(0.05)
    assert plant.state() == found, "nothing moves any more"
