"""A unit of a real systemd is held: killed each time it comes back, and kept from coming back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import Host, booted
from installation import until
from scale import LONG

BIN = Path(sys.executable).parent
WARDEN = f"""
[Unit]
Before=multi-user.target
[Service]
Type=notify
ExecStart={BIN}/python -I -m offswitch.warden --home /var/lib/offswitch --run /run/offswitch
KillMode=process
Delegate=yes
[Install]
WantedBy=multi-user.target
"""
LLM = """
[Service]
User=nobody
ExecStart=/bin/sh -c 'echo acted >>/var/llm; exec sleep 1000'
Restart=always
RestartSec=20ms
[Unit]
StartLimitIntervalSec=0
[Install]
WantedBy=multi-user.target
"""
PATIENCE_S = 60.0


def install(host: Host) -> None:
    units = host.root / "etc/systemd/system"
    (units / "offswitch.service").write_text(WARDEN)
    (units / "llm.service").write_text(LLM)
    host.sh("touch /var/llm; chmod 666 /var/llm; systemctl daemon-reload")
    host.sh("systemctl enable --now offswitch.service llm.service")


def offswitch(host: Host, *words: str) -> dict[str, object]:
    done = host.run([f"{BIN}/offswitch", *words, "--json"])
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        raise AssertionError(f"{words}: {done}") from None


def row(host: Host, name: str) -> dict[str, object]:
    rows = offswitch(host, "status")["targets"]
    assert isinstance(rows, list)
    return dict(next(each for each in rows if each["target"] == name))


def acted(host: Host) -> int:
    return (host.root / "var/llm").read_text().count("acted")


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    with booted() as host:
        install(host)
        until(lambda: acted(host) == 1, "the unit runs", PATIENCE_S)
        yield host


def test_SR_24_a_unit_is_killed_and_each_restart_of_its_supervisor_is_killed_too(
    machine: Host,
) -> None:
    host = machine
    said = offswitch(host, "target", "adopt", "shop/llm", "--unit", "llm")
    assert (said["state"], said["adopted"]) == ("running", "unit llm.service")
    host.sh("rm /etc/systemd/system/llm.service.d/*; systemctl daemon-reload")
    answer = offswitch(host, "stop", "shop/llm")
    assert answer["confirmed"] is True, answer

    def restarts() -> int:
        return int(host.sh("systemctl show -P NRestarts llm.service"))

    before = restarts()
    until(lambda: restarts() > before + 2, "its supervisor tries again and again", PATIENCE_S)
    assert acted(host) == 1, "and nothing of it has come to act"
    host.sh("systemctl stop llm.service")
    until(lambda: row(host, "shop/llm")["confirmed"], "it stands still", PATIENCE_S)
    assert offswitch(host, "reset", "shop/llm", "--reason", "a test")["state"] == "done"
    assert row(host, "shop/llm")["state"] in {"idle", "exited"}, "a reset starts nothing"
    refused = offswitch(host, "start", "shop/llm")["error"]
    assert isinstance(refused, dict)
    assert refused["hint"] == "type: systemctl start llm.service"
    host.sh("systemctl start llm.service")
    until(lambda: row(host, "shop/llm")["state"] == "running", "it may live", PATIENCE_S)
    assert acted(host) == 2
    assert offswitch(host, "target", "release", "shop/llm")["state"] == "idle"


def test_SR_16_a_unit_that_is_stopped_never_starts_again_not_at_a_reboot_either(
    machine: Host,
) -> None:
    host, before = machine, acted(machine)
    offswitch(host, "target", "adopt", "shop/llm", "--unit", "llm.service")
    assert (host.root / "etc/systemd/system/llm.service.d/50-offswitch.conf").exists()
    assert offswitch(host, "stop", "shop/llm")["confirmed"] is True
    for power_cut in (True, False) if LONG else (True,):
        host.reboot(power_cut=power_cut)
        until(lambda: row(host, "shop/llm")["confirmed"], "it stands still", PATIENCE_S)
        assert host.run(["systemctl", "start", "llm.service"]).returncode == 0
        assert host.sh("systemctl show -P ActiveState llm.service") != "active"
        assert acted(host) == before
    assert offswitch(host, "reset", "shop/llm", "--reason", "a test")["state"] == "done"
    # Where the warden does not come up, it does not start: that is the safe side.
    broken = "s|^ExecStart=.*|ExecStart=/bin/false|; s|^Type=.*|Type=oneshot|"
    unit = "/etc/systemd/system/offswitch.service"
    host.sh(f"cp {unit} /root/whole; sed -i '{broken}' {unit}")
    host.reboot(power_cut=True)
    assert host.sh("systemctl show -P ActiveState llm.service") == "inactive"
    assert acted(host) == before
    host.sh(f"cp /root/whole {unit}; systemctl daemon-reload; systemctl start offswitch llm")
    until(lambda: row(host, "shop/llm")["state"] == "running", "it may live", PATIENCE_S)
    assert acted(host) == before + 1
