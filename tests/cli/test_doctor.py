"""`offswitch doctor`, the bare `offswitch`, and `target`: is everything stoppable right now?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cli.person import Person
from installation import Installation, until
from needs import needs_root
from offswitch.cli import overview


def examined(installation: Installation) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
    done = installation.cli("doctor", "--json")
    answer = json.loads(done.stdout)
    assert set(answer) == {"ok", "rung", "checks"}
    assert all(set(check) == {"name", "ok", "detail", "hint"} for check in answer["checks"])
    assert answer["ok"] == all(check["ok"] for check in answer["checks"])
    assert done.returncode == (0 if answer["ok"] else 1)
    return done.returncode, answer, {check["name"]: check for check in answer["checks"]}


def test_a_sound_installation_can_stop_everything(installation: Installation) -> None:
    code, answer, checks = examined(installation)
    assert (code, answer["rung"]) == (0, "root-cgroup"), answer
    wanted = {"rung", "privileges", "keeper", "page", "lease", "clock", "sqlite", "journal"}
    assert wanted <= set(checks)
    done = installation.cli("doctor")
    assert done.stdout.splitlines()[0] == "Can stop everything: YES"


def test_SR_16_what_could_start_before_us_at_boot_is_named(installation: Installation) -> None:
    _code, _answer, checks = examined(installation)
    detail = checks["boot"]["detail"]
    assert "nothing of ours starts at boot" in detail
    assert ("cron" in detail) == os.path.isdir("/var/spool/cron")
    assert ("systemd" in detail) == os.path.isdir("/run/systemd/system")
    assert "until a warden does" in checks["boot"]["hint"]


def test_a_lost_keeper_is_a_no_with_its_reason(installation: Installation) -> None:
    until(lambda: os.path.exists(installation.place.keeper_socket), "the keeper is up")
    keeper = installation.pids()["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    try:
        assert installation.warden is not None
        os.unlink(installation.place.keeper_socket)
        code, _answer, checks = examined(installation)
        assert code == 1
        assert not checks["keeper"]["ok"]
        first = installation.cli("doctor").stdout.splitlines()[0]
        assert first.startswith("Can stop everything: NO, because keeper: ")
    finally:
        os.kill(keeper, signal.SIGKILL)
    until(lambda: examined(installation)[0] == 0, "a new keeper makes it sound again")


def test_a_hung_warden_is_a_no(installation: Installation) -> None:
    assert installation.warden is not None
    os.kill(installation.warden.pid, signal.SIGSTOP)
    try:
        done = installation.cli("doctor", "--json")
    finally:
        os.kill(installation.warden.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "did not answer" in json.loads(done.stdout)["checks"][0]["detail"]


def test_SR_1_what_others_could_write_is_a_no(installation: Installation) -> None:
    config = Path(installation.place.config)
    config.write_text("")
    config.chmod(0o666)
    try:
        _code, _answer, checks = examined(installation)
        assert not checks["trust"]["ok"]
        assert str(config) in checks["trust"]["detail"]
    finally:
        config.unlink()


def test_SR_16_state_that_no_reboot_survives_is_a_no(tmp_path: Path) -> None:
    needs_root()
    folder = Path(tempfile.mkdtemp(prefix="offswitch-doctor-", dir="/dev/shm"))
    made = Installation(folder)
    try:
        made.start()
        _code, _answer, checks = examined(made)
        assert not checks["state"]["ok"]
        assert "tmpfs" in checks["state"]["detail"]
        assert "OFFSWITCH_HOME" in checks["state"]["hint"]
    finally:
        made.close()
        shutil.rmtree(folder)


def test_a_stop_that_was_not_confirmed_is_a_no_until_it_is(installation: Installation) -> None:
    running = installation.run("sleep", "600", target="watched")
    assert examined(installation)[2]["targets"]["ok"]
    os.kill(installation.pids()["observer"], signal.SIGSTOP)
    try:
        installation.ask(installation.stop_message("watched"))
        assert not examined(installation)[2]["targets"]["ok"]
    finally:
        os.kill(installation.pids()["observer"], signal.SIGCONT)
    assert running.event("exited")["signal"] == signal.SIGKILL
    until(lambda: installation.target("watched")["confirmed"], "it is seen after all")
    assert installation.reset("watched")["state"] == "done"


@pytest.mark.long
def test_an_ordinary_person_is_told_no_and_what_would_help() -> None:
    needs_root()
    with Person() as person:
        done = person.run("offswitch", "doctor")
        assert done.returncode == 1
        first = done.stdout.decode().splitlines()[0]
        assert first.startswith("Can stop everything: NO, because rung: degraded: subreaper")


# --- the bare command -------------------------------------------------------------


def test_DEC_3_the_bare_command_names_a_tool_call_that_waits_for_leave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = {"target": "shop/a", "tool": "rm\x1b[2J", "left_ms": 61_500}
    monkeypatch.setattr(overview, "ask_all", lambda _message: [])
    monkeypatch.setattr(overview, "ask_watch", lambda *_: {"leaves": [evil] * 7})
    overview.show()
    said = capsys.readouterr().out
    assert "A tool call waits: may shop/a call rm" in said
    assert "It is not called in 61 s unless you answer\n" in said
    assert "A tool call waits: 2 more\n" in said
    assert "\x1b" not in said
    assert "Next:\n  offswitch decision list" in said


def test_the_bare_command_says_what_is_and_what_to_type_next(installation: Installation) -> None:
    quiet = installation.cli()
    assert quiet.returncode == 0
    assert quiet.stdout.startswith("Nothing runs under the switch here.\n")
    assert "offswitch demo" in quiet.stdout
    running = installation.run("sleep", "600", target="shop/eu/checkout")
    busy = installation.cli()
    assert busy.stdout.splitlines()[0] == "1 target running under the switch, 0 latched."
    assert "Can stop everything: YES." in busy.stdout
    assert "  offswitch stop shop/eu/checkout\n  offswitch stop --all\n" in busy.stdout
    installation.stop("shop")
    running.event("exited")
    latched = installation.cli()
    assert latched.returncode == 3
    assert latched.stdout.startswith("0 targets running under the switch, 1 latched by 1 stop.")
    assert "offswitch reset shop --reason TEXT     (starts nothing)" in latched.stdout
    assert installation.reset("shop")["state"] == "done"


def test_a_warden_that_does_not_answer_is_never_shown_as_it_was_last_seen(
    installation: Installation,
) -> None:
    assert installation.warden is not None
    os.kill(installation.warden.pid, signal.SIGSTOP)
    try:
        done = installation.cli()
    finally:
        os.kill(installation.warden.pid, signal.SIGCONT)
    assert done.returncode == 4
    assert done.stdout.startswith(f"NO ANSWER from {installation.run_folder}")


def test_a_poweroff_that_was_not_confirmed_is_named(fresh: Installation) -> None:
    fresh.run("sleep", "600", target="off")
    fresh.stop("off", level="poweroff")
    bare = fresh.cli().stdout
    assert "NOT CONFIRMED: off" in bare
    shown = "offswitch target show off"
    assert shown in bare
    assert f"what may still act: {shown}" in fresh.cli("status").stdout
    lines = fresh.cli("doctor").stdout.splitlines()
    assert lines[2].startswith("NO  targets"), "what is wrong comes first"


def test_ACT_10_a_declared_safe_state_and_a_plan_are_shown_before_a_stop(
    installation: Installation,
) -> None:
    plan = {
        "kill": ["process", "data"],
        "sequence": ["data", "container"],
        "escalate": [{"after": 500_000, "layers": ["relay"]}],
        "deadlines": {"data": 250_000},
        "dependents": [{"target": "safe/b", "level": "drain", "first": True}],
        "tell": [{"who": "the shift"}],
    }
    impact = {"who": "buyers", "harm": "orders queue up", "bearable": "1h", "told_by": "support"}
    state = "hold last: prices stay as they are"
    target = {"name": "safe/a", "safe_state": state, "stop": plan, "stop_impact": impact}
    installation.ask({"op": "declare", "targets": [target]})
    text = " ".join(installation.cli("target", "show", "safe/a").stdout.split())
    assert state in text
    assert "kill: guard, network, process, sweep, data" in text, "a plan only adds"
    off = "data then container; relay after 500 ms if not all is seen; data must be seen within 250"
    assert off in text
    assert "safe/b (drain, first); tell the shift" in text
    ready = installation.cli("stop").stdout
    assert f"buyers: orders queue up, bearable for 1h; safe state: {state}" in ready


def test_help_lists_every_verb_that_there_is(installation: Installation) -> None:
    shown = installation.cli("--help").stdout
    for verb in ("stop", "status", "reset", "run", "start", "up", "demo", "board", "doctor"):
        assert f" {verb} " in shown, verb
    for noun in ("target", "rule", "config", "ledger"):
        assert f" {noun} " in shown, noun
    assert installation.cli("no-such-verb").returncode == 2
    refused = installation.cli("targte", "list", "--json")
    assert json.loads(refused.stdout)["error"]["kind"] == "usage"


# --- target -----------------------------------------------------------------------


def test_target_list_and_show(installation: Installation) -> None:
    installation.run("sleep", "600", target="shop/us/checkout")
    listed = json.loads(installation.cli("target", "list", "--json").stdout)["targets"]
    row = next(row for row in listed if row["target"] == "shop/us/checkout")
    assert (row["state"], row["pids"]) == ("running", 1)
    assert "shop/us/checkout" in installation.cli("target", "list").stdout
    shown = json.loads(installation.cli("target", "show", "shop/us/checkout", "--json").stdout)
    assert shown["cell"]["rung"] == "root-cgroup"
    text = installation.cli("target", "show", "shop/us/checkout").stdout
    assert "layer process" in text
    assert "kill: guard, network, process, sweep" in text
    missed = installation.cli("target", "show", "shop/us/chekout", "--json")
    assert missed.returncode == 4
    error = json.loads(missed.stdout)["error"]
    assert error["kind"] == "not-found"
    assert "shop/us/checkout" in error["hint"]
    installation.stop("shop/us/checkout")
    stopped = installation.cli("target", "show", "shop/us/checkout").stdout
    assert "stop: process" in stopped
    assert "kill, confirmed" in stopped
    assert installation.reset("shop/us/checkout")["state"] == "done"
