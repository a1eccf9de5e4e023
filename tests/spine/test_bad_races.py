"""Stops, starts and resets at the same instant, from several processes: stop wins."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, until
from offswitch.errors import Busy, NotFound, Unconfirmed
from racers import Racer
from scale import runs
from scripted import Scripted, scripted


def living(installation: Installation) -> int:
    """Count what lives in any cell, by our own reading."""
    count = 0
    for tree in installation.cgroups():
        for procs in Path(tree).glob("*/cgroup.procs"):
            count += len(procs.read_text().split())
    return count


def test_DEC_4_two_stops_and_a_start_race_across_processes_and_stop_wins(
    installation: Installation, rng: random.Random
) -> None:
    first = installation.run("sleep", "1000", target="a", user="root")
    first.close()
    until(lambda: installation.target("a")["pids"] == 0, "hung up")
    one, two, starter = (Racer(installation) for _ in range(3))
    began = refused = 0
    late = 0.02
    for _ in range(runs(1000)):
        one.go(installation.stop_message("a"), wait_s=rng.random() * late)
        two.go(installation.stop_message("a"), wait_s=rng.random() * late)
        starter.go({"op": "start", "target": "a"}, fds=True)
        started = starter.answer()
        began += "event" in started
        refused += "error" in started
        late *= 0.75 if "event" in started else 1.3  # where each is first as often as the other
        for stop in (one.answer(), two.answer()):
            assert stop["confirmed"] is True, stop
        row = installation.target("a")
        assert row["latched"], row
        until(lambda: installation.target("a")["state"] == "stopped", "stopped")
        assert living(installation) == 0
        installation.reset("a")
    assert began, "no start ever came first: this was no race"
    assert refused, "no stop ever came first: this was no race"


@pytest.fixture
def racing(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "racing_warden")


def test_DEC_4_10_000_stops_and_starts_race_in_one_process_and_stop_wins(
    racing: Scripted, rng: random.Random
) -> None:
    """The warden's own starter and stopper, in each order of their steps (racing_warden.py)."""
    pairs = runs(10_000)
    racing.words = (str(pairs), str(rng.random()))
    racing.start()
    raced = Path(racing.home, "raced")
    until(lambda: raced.exists() or "Error" in racing.said(), "the race is over", 3600)
    assert raced.exists(), racing.said()
    came = json.loads(raced.read_text())
    assert set(came) == {"refused at the door", "overtaken", "born and stopped"}
    assert sum(came.values()) == pairs


def test_DEC_4_a_start_that_waits_for_the_keeper_is_overtaken_by_a_stop(
    installation: Installation,
) -> None:
    """The slowest start there is: its cell is there, its program not yet let go."""
    keeper = installation.pids()["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    starter, other = Racer(installation), Racer(installation)
    run = {"op": "run", "target": "a", "argv": ["sleep", "1000"], "cwd": "/", "env": {}}
    starter.go({**run, "raw": True}, fds=True)
    until(lambda: [r for r in installation.status()["targets"] if r["target"] == "a"], "its cell")
    other.go({**run, "raw": True}, fds=True)
    assert other.answer()["error"]["kind"] == "busy", "a second one of its name has to wait"
    installation.stop("a")
    os.kill(keeper, signal.SIGCONT)
    assert starter.answer()["error"]["kind"] == "latched"
    assert living(installation) == 0
    assert installation.target("a")["state"] == "stopped"
    assert installation.reset("a")["state"] == "done"
    assert living(installation) == 0


def test_two_runs_of_one_name_at_once_make_one_target(installation: Installation) -> None:
    racers = [Racer(installation) for _ in range(3)]
    for number in range(runs(40)):
        run = {"op": "run", "target": f"a{number}", "argv": ["sleep", "1000"], "raw": True}
        for racer in racers:
            racer.go({**run, "cwd": "/", "env": {"PATH": "/bin"}}, fds=True)
        answers = [racer.answer() for racer in racers]
        assert sum("event" in answer for answer in answers) == 1, answers
        assert [a["error"]["kind"] for a in answers if "error" in a] == ["busy", "busy"]
        assert installation.target(f"a{number}")["pids"] == 1


@pytest.mark.parametrize("scopes", [["a", "a"], ["a", "shop", "/"]])
def test_presses_and_resets_at_once_lose_no_press(
    installation: Installation, rng: random.Random, scopes: list[str]
) -> None:
    """A press that is accepted after a reset was opened holds; one before it is cleared."""
    installation.run("sleep", "1000", target="a")
    presses = [Racer(installation) for _ in scopes]
    resets = [Racer(installation), Racer(installation)]
    for _ in range(runs(60)):
        installation.stop("a")
        for racer in resets:
            message = {"op": "reset", "scope": "/", "reason": "a race", "nonce": "n"}
            racer.go(message, wait_s=rng.random() * 0.01)
        for racer, scope in zip(presses, scopes, strict=True):
            racer.go(installation.stop_message(scope), wait_s=rng.random() * 0.02)
        cleared = {name for racer in resets for name in racer.answer().get("cleared", [])}
        pressed = {racer.answer()["order"] for racer in presses}
        live = {row["digest"] for row in installation.status()["latched"]}
        assert pressed <= live | cleared, "a press was lost"
        assert not cleared & live
        until(lambda: clear(installation), "all can be cleared in the end")


def clear(installation: Installation) -> bool:
    try:
        return not installation.status()["latched"] or installation.reset("/")["exit"] == 0
    except (Unconfirmed, NotFound):
        return False


def test_a_freeze_and_a_kill_at_once_end_in_a_kill_that_was_seen(
    installation: Installation, rng: random.Random
) -> None:
    """What was seen of the freeze is never taken for the kill."""
    freezer, killer = Racer(installation), Racer(installation)
    for _ in range(runs(60)):
        running = installation.run("sleep", "1000", target="a")
        freezer.go(installation.stop_message("a", level="freeze"), wait_s=rng.random() * 0.004)
        killer.go(installation.stop_message("a"), wait_s=rng.random() * 0.004)
        answer = killer.answer()
        assert answer["confirmed"] is True
        [target] = answer["targets"]
        assert target["state"] == "stopped"
        assert living(installation) == 0
        assert {layer["layer"] for layer in target["layers"]} >= {"process", "network", "sweep"}
        freezer.answer()
        assert installation.target("a")["level"] == "kill"
        installation.reset("a")
        running.close()


def test_a_name_that_is_busy_says_so(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    with pytest.raises(Busy):
        installation.run("sleep", "1000", target="a")
