"""Each question of the doctor has a bad state in which it says no, and what to do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.emergency import OFFSWITCH, hanging
from disk import mounted
from installation import Installation
from needs import needs_program, needs_root
from offswitch.cli import checks
from offswitch.cli.checks import CHECKS, Check, Facts
from offswitch.control.place import Place


def examined(installation: Installation, *before: str) -> dict[str, dict[str, Any]]:
    """Give what `offswitch doctor` answers to each question; at least one is a no."""
    command = [*before, OFFSWITCH, "doctor", "--json"]
    done = subprocess.run(
        command, env=installation.env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stdout
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def refused(installation: Installation, name: str, *before: str) -> str:
    """Give why the doctor says no to one question; it must name the next step."""
    answer = examined(installation, *before)[name]
    assert not answer["ok"], answer
    assert answer["hint"]
    return str(answer["detail"])


def asked(installation: Installation, name: str) -> Check:
    """Give one answer, what a healthy warden says of itself being known."""
    place = installation.place
    said = [installation.ask({"op": op, "scope": None}) for op in ("ping", "health", "status")]
    [check] = [check for check in CHECKS if check.__name__ == f"_{name}"]
    return check(Facts(place, *said))


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Give an installation whose disk and whose memory are full."""
    needs_root()
    folder = tmp_path_factory.mktemp("cramped")
    with mounted(folder / "home", "8m") as disk, mounted(folder / "run", "24m") as memory:
        made = Installation(folder, run=str(folder / "run"))
        try:
            made.start()
            disk.fill()
            memory.fill()
            for number in range(150):  # until even the room that was set aside is used up
                made.press(f"nobody/{number}", reason="x" * 2000)
            yield made
        finally:
            made.close()


def test_a_latch_and_a_journal_without_room(cramped: Installation) -> None:
    answers = examined(cramped)
    for name, why in (("latch", "not yet durable"), ("journal", "MiB are free on its tmpfs")):
        assert not answers[name]["ok"]
        assert why in answers[name]["detail"]
        assert answers[name]["hint"]


def test_a_page_that_others_can_write(installation: Installation) -> None:
    page = Path(installation.place.page)
    page.chmod(0o666)
    try:
        assert "can be written by others" in refused(installation, "page")
    finally:
        page.chmod(0o444)


def test_a_door_that_is_open_to_everybody(installation: Installation) -> None:
    control = Path(installation.place.control)
    mode = control.stat().st_mode & 0o777
    for wide in (0o757, 0o705):
        control.chmod(wide)
        try:
            assert "open to everybody" in refused(installation, "group")
        finally:
            control.chmod(mode)


def test_a_ledger_that_two_processes_write(installation: Installation) -> None:
    with open(f"{installation.home}/ledger/ledger.db", "r+b"):
        assert str(os.getpid()) in refused(installation, "sqlite")


def test_a_layer_that_cuts_nothing(installation: Installation) -> None:
    """As root, but without the right to load a filter: what it would say of itself is no proof."""
    dropped = "-net_admin,-sys_admin,-bpf"
    bounded = [needs_program("setpriv"), f"--bounding-set={dropped}", f"--inh-caps={dropped}"]
    assert "network" in refused(installation, "canary", *bounded)


def test_SR_21_a_lease_that_nobody_renews(installation: Installation) -> None:
    place = installation.place
    said = [installation.ask({"op": op, "scope": None}) for op in ("ping", "health", "status")]
    [lease] = [check for check in CHECKS if check.__name__ == "_lease"]
    assert lease(Facts(place, *said)).ok
    with hanging(installation.pids()["warden"]):
        answer = lease(Facts(place, *said))
    assert not answer.ok
    assert "not renewed" in answer.detail
    assert answer.hint


def test_a_clock_that_stands_in_the_past(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Our own code cannot be younger than the present."""
    young = tmp_path / "checks.py"
    young.touch()
    os.utime(young, times=(time.time() + 3 * 86_400,) * 2)
    assert asked(installation, "clock").ok
    monkeypatch.setattr(checks, "__file__", str(young))
    answer = asked(installation, "clock")
    assert not answer.ok
    assert "timedatectl" in answer.hint


@pytest.mark.parametrize("state", ["running", "restricted", "draining"])
def test_SR_26_what_can_go_round_its_gateway_is_a_no_where_it_runs_here_and_told_where_not(
    state: str,
) -> None:
    row = {
        "target": "shop/agent", "state": state, "pids": 0, "blind": False, "confirmed": False,
        "level": None if state == "running" else "restrict",
        "readiness": {"guard": "ready", "gateway": "degraded", "process": "ready"},
    }  # fmt: skip

    def judged(**changed: object) -> Check:
        rows = [row | changed]
        return checks._targets(Facts(Place("/h", "/r"), {}, {}, {"targets": rows}))

    told = judged()
    assert told.ok, told
    assert "1 run elsewhere, and could go round their gateway" in told.detail
    assert not judged(pids=1).ok
    assert not judged(readiness=row["readiness"] | {"gateway": "absent"}).ok
    assert not judged(readiness=row["readiness"] | {"process": "unproven"}).ok


@pytest.mark.parametrize("state", ["idle", "running"])
def test_HMI_3_a_declared_layer_that_cannot_act_is_a_no_with_its_name_and_age(state: str) -> None:
    row = {
        "target": "shop/agent", "state": state, "pids": 0, "blind": False, "confirmed": False,
        "level": None, "readiness": {"guard": "ready", "process": "ready", "data": "unproven"},
        "readiness_since": {"data": time.time_ns() // 1000 - 7_200_000_000},
    }  # fmt: skip

    def judged(**changed: object) -> Check:
        rows = [row | changed]
        return checks._targets(Facts(Place("/h", "/r"), {}, {}, {"targets": rows}))

    told = judged()
    assert (told.ok, told.detail) == (False, "shop/agent: data unproven for 2 h")
    assert told.hint == "offswitch target show shop/agent"
    assert not judged(readiness={"guard": "ready", "data": "absent"}).ok
    less = judged(readiness={"guard": "ready", "data": "degraded"})
    assert less.ok
    assert "data degraded" in less.detail, "what is less than it should be is named"
    assert judged(readiness={"guard": "ready", "data": "ready"}).ok
