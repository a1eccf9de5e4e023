"""A unit of a real systemd, a real warden on a host of its own: declared, stopped, refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host import Host, booted
from installation import until

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
WARDEN = f"""
[Service]
Type=notify
ExecStart={BIN}/python -I -m offswitch.warden --home /var/lib/offswitch --run /run/offswitch
KillMode=process
Delegate=yes
"""
LLM = """
[Unit]
StartLimitIntervalSec=0
[Service]
User=nobody
ExecStart=/bin/sh -c 'echo acted >>/var/llm; exec sleep 1000'
Restart=always
RestartSec=20ms
"""
CONFIG = """
[[target]]
name = "shop/llm"
[target.stop]
kill = ["scheduler"]

[[actuator]]
name = "unit"
target = "shop/llm"
kind = "systemd"
units = ["llm.service"]
"""
DECLARE = """
from offswitch.cli.declare import declare
from offswitch.config.load import installed_kinds, load
from offswitch.control.client import call
from offswitch.control.place import Place
place = Place("/var/lib/offswitch", "/run/offswitch")
call(place, declare(load("/var/lib/offswitch/offswitch.toml", installed_kinds())))
"""
SHOW = """
import json
from offswitch.control.client import call
from offswitch.control.place import Place
told = call(Place("/var/lib/offswitch", "/run/offswitch"), {"op": "target", "name": "shop/llm"})
print(json.dumps(told["hands"][0]))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    with booted() as host:
        units = host.root / "etc/systemd/system"
        (units / "offswitch.service").write_text(WARDEN)
        (units / "llm.service").write_text(LLM)
        (host.root / "var/lib/offswitch/offswitch.toml").write_text(CONFIG)
        host.sh("touch /var/llm; chmod 666 /var/llm; systemctl daemon-reload")
        host.sh("systemctl start offswitch.service llm.service")
        python(host, DECLARE)
        until(lambda: hand(host)["state"] == "ready", "it is ready", PATIENCE_S)
        yield host


def python(host: Host, script: str) -> str:
    done = host.run([str(BIN / "python"), "-I", "-c", script])
    assert done.returncode == 0, done
    return done.stdout


def hand(host: Host) -> dict[str, Any]:
    return dict(json.loads(python(host, SHOW)))


def offswitch(host: Host, *words: str) -> dict[str, Any]:
    done = host.run([f"{BIN}/offswitch", *words, "--json"])
    return dict(json.loads(done.stdout))


def acted(host: Host) -> int:
    return (host.root / "var/llm").read_text().count("acted")


@pytest.mark.long
def test_SR_24_a_unit_is_stopped_and_confirmed_and_no_start_of_it_acts_while_it_is_latched(
    machine: Host,
) -> None:
    host = machine
    users = host.sh("ps -eo user:20,args | grep [h]ands").splitlines()
    assert len(users) == 2, users
    assert not any(line.startswith("root ") for line in users), users
    answer = offswitch(host, "stop", "shop/llm")
    assert answer["confirmed"] is True, answer
    before = acted(host)
    for _ in range(5):
        host.run(["systemctl", "start", "llm.service"])
    assert acted(host) == before, "starts after the latch: none"
    assert offswitch(host, "reset", "shop/llm", "--reason", "a test")["state"] == "done"
    until(lambda: not list((host.root / "run/offswitch-units").iterdir()), "starts are allowed")
    host.sh("systemctl start llm.service")
    until(lambda: acted(host) == before + 1, "it may live", PATIENCE_S)


@pytest.mark.long
def test_ACT_8_a_hand_whose_systemd_begins_anew_comes_back_and_acts(machine: Host) -> None:
    host = machine
    host.sh("systemctl restart llm.service")
    before = hand(host)
    host.sh("systemctl daemon-reexec")
    until(lambda: hand(host)["state"] == "ready", f"ready again after {before}", PATIENCE_S)
    answer = offswitch(host, "stop", "shop/llm")
    assert answer["confirmed"] is True, answer
    assert host.sh("systemctl show -P ActiveState llm.service") != "active"
    assert offswitch(host, "reset", "shop/llm", "--reason", "a test")["state"] == "done"
