"""Units of a real systemd are stopped over its own socket, and looked at over the bus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hand_within import HandWithin
from host import Host, booted
from installation import until
from offswitch.actuators.hands.scheduler.systemd import Systemd

UNITS = {
    "llm.service": """
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'echo acted >>/var/llm; exec sleep 1000'
Restart=always
RestartSec=20ms
""",
    "llm.timer": "[Timer]\nOnActiveSec=1h\nOnUnitActiveSec=1h\n",
    "other.service": "[Service]\nExecStart=/bin/sleep 1000\n",
}
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with booted(state_on_disk=False) as made:
        for name, text in UNITS.items():
            (made.root / "etc/systemd/system" / name).write_text(text)
        made.sh("systemctl daemon-reload")
        yield made


@pytest.fixture
def hands(host: Host) -> Iterator[HandWithin]:
    host.sh("systemctl start llm.service llm.timer other.service")
    until(lambda: state(host, "llm.service") == "active", "the unit runs", PATIENCE_S)
    made = HandWithin(host)
    try:
        yield made
    finally:
        made.close()
        host.sh("rm -f /run/offswitch-units/*")
        host.sh("systemctl stop llm.timer llm.service other.service")


def state(host: Host, unit: str) -> str:
    return host.sh(f"systemctl show -P ActiveState {unit}")


def acted(host: Host) -> int:
    return (host.root / "var/llm").read_text().count("acted")


def make(hands: HandWithin, **more: Any) -> None:  # noqa: ANN401 - settings
    for who in ("act", "look"):
        assert hands.ask(who, "make", {"units": ["llm.service"]} | more) == {}


def test_SR_24_a_stopped_unit_is_started_by_nobody_and_by_nothing(
    host: Host, hands: HandWithin
) -> None:
    make(hands)
    assert hands.ask("act", "arm")["state"] == "ready", hands.ask("act", "arm")
    assert hands.ask("look", "arm")["state"] == "ready"
    assert state(host, "llm.service") == "active", "proving changes nothing"
    sight = hands.ask("look", "look")
    assert (sight["stands"], sight["detail"]) == (False, "llm.service active (running)")
    told = hands.ask("act", "trip", "kill")
    before = acted(host)
    until(lambda: hands.ask("look", "look")["stands"], "it stands", 2.0)
    assert "llm.timer stopped" in str(told["happened"])
    for attempt in ("start llm.service", "restart llm.service", "start llm.timer"):
        host.run(["systemctl", *attempt.split()])
        assert state(host, "llm.service") != "active", attempt
    assert acted(host) == before, "starts after the latch: none"
    assert state(host, "other.service") == "active", "and no other unit is touched"
    assert hands.ask("look", "look")["stands"] is False, "its timer runs again"
    assert "trouble" not in hands.ask("act", "trip", "kill"), "once more does no harm"
    until(lambda: hands.ask("look", "look")["stands"], "it stands", 2.0)
    released = hands.ask("act", "release")
    assert released["reissue"] == ["type: systemctl start llm.timer"]
    assert state(host, "llm.service") != "active", "a release starts nothing"
    host.sh("systemctl start llm.service")
    until(lambda: acted(host) == before + 1, "it may live")


@pytest.mark.long
def test_ACT_8_what_ignores_every_signal_but_one_is_gone_and_its_restart_policy_never_acts(
    host: Host, hands: HandWithin
) -> None:
    script = 'trap "" TERM INT HUP; (setsid sleep 1000 &) ; echo acted >>/var/llm; sleep 1000'
    (host.root / "run/systemd/system/llm.service.d").mkdir(parents=True, exist_ok=True)
    drop_in = host.root / "run/systemd/system/llm.service.d/10-stubborn.conf"
    drop_in.write_text(f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{script}'\n")
    host.sh("systemctl daemon-reload; systemctl restart llm.service")
    make(hands)
    hands.ask("look", "arm")
    hands.ask("act", "arm")
    before = acted(host)
    hands.ask("act", "trip", "kill")
    until(lambda: hands.ask("look", "look")["stands"], "it stands", 2.0)
    assert not (host.root / "sys/fs/cgroup/system.slice/llm.service/cgroup.procs").exists()
    assert acted(host) == before
    drop_in.unlink()
    host.sh("systemctl daemon-reload")


def test_VER_2_systemd_is_not_believed_where_a_process_is_left_and_nobody_refuses_a_start(
    host: Host, hands: HandWithin
) -> None:
    make(hands)
    hands.ask("act", "arm")
    hands.ask("look", "arm")
    hands.ask("act", "trip", "kill")
    until(lambda: hands.ask("look", "look")["stands"], "it stands", 2.0)
    host.sh("rm /run/offswitch-units/*")
    sight = hands.ask("look", "look")
    assert (sight["stands"], "nothing keeps" in sight["detail"]) == (False, True)
    hands.ask("act", "trip", "kill")
    assert hands.ask("look", "look")["stands"] is True
    folder = "/sys/fs/cgroup/system.slice/llm.service"
    host.sh(f"mkdir {folder}; sleep 1000 >/dev/null 2>&1 & echo $! >{folder}/cgroup.procs")
    sight = hands.ask("look", "look")
    assert (sight["stands"], "processes are left in" in sight["detail"]) == (False, True)
    host.sh(f"echo 1 >{folder}/cgroup.kill; sleep 0.05; rmdir {folder}")


def test_SR_4_it_acts_with_no_rights_by_what_it_opened_and_is_unproven_without(
    host: Host, hands: HandWithin
) -> None:
    make(hands)
    user = 1_899_999_965
    host.sh(f"chown {user} /run/offswitch-units")
    hands.ask("act", "become", user)
    assert hands.ask("act", "arm")["state"] == "ready", hands.ask("act", "arm")
    assert hands.ask("act", "trip", "kill")["detail"].endswith("; starts are refused")
    until(lambda: hands.ask("look", "look")["stands"], "it stands", 2.0)
    late = HandWithin(host)
    try:
        late.ask("look", "become", user)
        assert "Permission denied" in late.ask("act", "make", {"units": ["llm.service"]})["trouble"]
    finally:
        late.close()


@pytest.mark.long
def test_SR_4_it_is_degraded_where_systemd_does_not_heed_its_drop_in(
    host: Host, hands: HandWithin
) -> None:
    make(hands)
    host.sh("rm /run/systemd/system/llm.service.d/90-offswitch-stop.conf; systemctl daemon-reload")
    told = hands.ask("act", "arm")
    assert (told["state"], "does not heed" in told["detail"]) == ("degraded", True)
    make(hands, refuse_starts=False)
    assert "undone, not refused" in hands.ask("act", "arm")["detail"]
    assert "no freeze of units" in hands.ask("act", "trip", "freeze")["trouble"]
    make(hands, units=["nowhere.service"])
    assert hands.ask("act", "arm")["detail"] == "systemd knows no nowhere.service"
    assert "trouble" not in hands.ask("act", "trip", "kill")


@pytest.mark.long
def test_it_survives_a_systemd_that_begins_anew_and_says_that_it_was_cut_off(
    host: Host, hands: HandWithin
) -> None:
    make(hands)
    host.sh("systemctl daemon-reexec")
    until(lambda: hands.ask("act", "arm").get("state") == "ready", "connected anew", PATIENCE_S)
    hands.ask("act", "trip", "kill")
    until(lambda: hands.ask("look", "look").get("stands"), "it stands", 2.0)


def test_its_units_are_named_whole() -> None:
    for wrong in ([], ["llm"], ["../x.service"], ["a b.service"], ["x.service/../y.service"]):
        said = {"name": "u", "target": "t", "kind": "systemd", "units": wrong}
        with pytest.raises(ValueError, match="units"):
            Systemd.Settings.model_validate(said)
