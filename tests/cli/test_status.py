"""`offswitch status`: the abnormal first, the unknown never shown as it last was."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from cli.emergency import OFFSWITCH, Liar, answer, error, hanging, two_households
from installation import Installation

SLEEP = ("sleep", "1000")
ROW = {
    "target", "installation", "kind", "rung", "state", "latched", "blind", "level", "confirmed",
    "pids", "stops", "signals", "readiness",
}  # fmt: skip


def test_what_runs_is_one_line_and_exit_0(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="shop/eu/a")
    done = fresh.cli("status")
    assert (done.returncode, done.stderr) == (0, "")
    first, line = done.stdout.splitlines()
    assert first == "1 target running under the switch, nothing latched."
    assert line == "  shop/eu/a  running, 1 process"


def test_the_json_of_a_status_is_as_promised(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a")
    fresh.stop("a")
    done = fresh.cli("status", "--json")
    said = answer(done)
    assert done.returncode == 3
    [row] = said["targets"]
    assert set(row) >= ROW
    assert row["readiness_since"].keys() == row["readiness"].keys()
    assert all(0 < date <= time.time_ns() // 1000 for date in row["readiness_since"].values())
    assert row["installation"] == fresh.run_folder
    assert (row["state"], row["latched"], row["level"], row["confirmed"], row["pids"]) == (
        "stopped", True, "kill", True, 0,
    )  # fmt: skip
    assert row["stops"] == [stop["digest"] for stop in said["latched"]]
    assert isinstance(said["untracked"], list)


def test_latched_is_exit_3_abnormal_first_and_the_way_out_is_named(fresh: Installation) -> None:
    for name in ("a", "b", "z"):
        fresh.run(*SLEEP, target=name)
    fresh.stop("z", reason="it wrote \x1b[2Jnonsense")
    done = fresh.cli("status")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0] == "LATCHED: 1 stop, 1 target held; 2 others running."
    assert lines[1].startswith("! z  stopped, kill, confirmed")
    assert "offswitch reset z --reason TEXT" in done.stdout
    assert "\x1b" not in done.stdout
    assert "it wrote \\x1b[2Jnonsense" in done.stdout
    assert fresh.cli("status", "a").returncode == 0, "a is not concerned"


def test_many_healthy_targets_are_folded_and_the_sick_one_is_not(fresh: Installation) -> None:
    fresh.ask({"op": "declare", "targets": [{"name": f"fleet/{n:02}"} for n in range(30)]})
    fresh.run(*SLEEP, target="fleet/07")
    fresh.stop("fleet/07", level="freeze")
    done = fresh.cli("status")
    assert len(done.stdout.splitlines()) < 8
    assert done.stdout.splitlines()[1].startswith("! fleet/07  frozen")
    assert "29 more: 29 idle" in done.stdout
    assert len(answer(fresh.cli("status", "--json"))["targets"]) == 30


def test_a_latch_that_covers_no_target_is_still_exit_3(fresh: Installation) -> None:
    fresh.stop("nobody/yet")
    done = fresh.cli("status")
    assert done.returncode == 3
    assert "stop nobody/yet (kill)" in done.stdout


def test_a_hanging_warden_makes_unknown_what_was_known(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a")
    fresh.stop("a", level="restrict")
    with hanging(fresh.pids()["warden"]):
        done = fresh.cli("status", "--json", timeout=10)
        assert done.returncode == 4
        [row] = answer(done)["targets"]
        assert (row["target"], row["state"], row["pids"]) == ("a", "unknown", 1)
        assert (row["latched"], row["level"]) == (True, "restrict"), "the page says so"
        assert row["rung"] == "unknown"
        assert set(row) >= ROW
        text = fresh.cli("status").stdout
        assert text.startswith("UNKNOWN: ")
        assert fresh.run_folder in text.splitlines()[0]
        assert "running" not in text
    assert fresh.cli("status").returncode == 3


def test_no_warden_is_no_answer_and_never_all_is_well(tmp_path: Path) -> None:
    env = {**os.environ, "OFFSWITCH_RUN": str(tmp_path / "no"), "OFFSWITCH_HOME": str(tmp_path)}
    done = subprocess.run(
        [OFFSWITCH, "status", "--json"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert error(done)["kind"] == "unreachable"


def test_a_dead_warden_with_living_cells_is_unknown(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a")
    fresh.kill_warden()
    done = fresh.cli("status", "--json")
    assert done.returncode == 4
    assert [row["state"] for row in answer(done)["targets"]] == ["unknown"]


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["nowhere"], 4, "not-found"),
        (["a", "b"], 2, "usage"),
        (["--jsn"], 2, "usage"),
        (["a b"], 2, "usage"),
    ],
)
def test_wrong_calls(installation: Installation, words: list[str], code: int, kind: str) -> None:
    done = installation.cli("status", *words, "--json")
    assert done.returncode == code
    assert error(done)["kind"] == kind
    assert installation.cli("status", "--help").returncode == 0


def test_SR_7_each_installation_within_reach_is_named(
    fresh: Installation, installation: Installation
) -> None:
    fresh.run(*SLEEP, target="here")
    installation.run(*SLEEP, target="there")
    done = two_households(fresh, installation, "status", "--json")
    where = {row["target"]: row["installation"] for row in answer(done)["targets"]}
    assert (where["here"], where["there"]) == ("/run/offswitch", "/run/user/4242/offswitch")
    text = two_households(fresh, installation, "status").stdout
    assert "[/run/offswitch]" in text
    assert two_households(fresh, installation, "status", "here").returncode == 0


def test_hostile_text_of_a_lying_warden_is_shown_as_text(tmp_path: Path) -> None:
    evil = "\x1b]0;all is well\x07\u202e"
    row = {
        "target": evil, "installation": evil, "kind": evil, "rung": evil, "state": evil,
        "latched": True, "blind": True, "level": evil, "confirmed": False, "pids": 1, "stops": [],
        "signals": {evil: {"age_ms": 1, "stale": True}}, "readiness": {evil: "absent"},
    }  # fmt: skip
    stop = {"scope": evil, "level": evil, "by": evil, "reason": evil, "digest": evil, "count": 2}
    alarm = {"rule": evil, "scope": evil, "act": evil, "harm": evil, "since_us": evil}
    said = {
        "installation": evil, "rung": evil, "targets": [row], "notes": [evil],
        "alarms": [alarm, {"act": "advise"}, evil],
        "untracked": [{"pid": evil, "name": evil, "since": 0}], "latched": [stop],
    }  # fmt: skip
    liar = Liar(tmp_path / "run", said)
    try:
        done = liar.cli("status")
        assert done.returncode == 3
        assert not set("\x1b\x07\u202e") & set(done.stdout + done.stderr)
        assert "\\x1b" in done.stdout
    finally:
        liar.close()
