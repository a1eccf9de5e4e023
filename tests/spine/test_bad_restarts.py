"""The warden is lost, garbled, moved through time: what was latched is latched."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from offswitch.control.page import FIRST_WORD, RUN
from offswitch.errors import Latched, OffswitchError
from offswitch.model.level import Level
from reboot import wipe
from scale import runs


def test_RST_1_latched_after_kill_9_of_everything_and_a_reboot(
    installation: Installation,
) -> None:
    scopes = ["a", "tenant=acme", "shop/eu", "/"]
    installation.ask({"op": "declare", "targets": [{"name": "b", "labels": {"tenant": "acme"}}]})
    for number in range(runs(100)):
        scope = scopes[number % len(scopes)]
        name = {"a": "a", "tenant=acme": "b", "shop/eu": "shop/eu/c", "/": "a"}[scope]
        installation.run("sleep", "1000", target=name)
        order = installation.stop(scope)["order"]
        until(lambda: installation.status()["latched"][0]["durable"], "durable")
        installation.kill_everything()
        wipe(installation)
        installation.restart()
        [live] = installation.status()["latched"]
        assert (live["digest"], live["scope"]) == (order, scope)
        row = installation.target(name)
        assert (row["latched"], row["state"], row["pids"]) == (True, "stopped", 0)
        assert row["confirmed"] is True, "nothing of it can run, and that was looked at"
        for verb in ("run", "start"):
            with pytest.raises(Latched):
                installation.run("sleep", "1000", target=name, op=verb)
        assert installation.reset(scope)["state"] == "done"


def test_RST_1_what_was_accepted_an_instant_before_is_latched(
    installation: Installation, rng: random.Random
) -> None:
    """`kill -9` of everything as soon as the stop is accepted: no fsync has to have come."""
    for _ in range(runs(40)):
        installation.run("sleep", "1000", target="a")
        accepted = installation.press("a")
        time.sleep(rng.random() * 0.002)
        installation.kill_everything()
        installation.restart()
        live = installation.status()["latched"]
        assert accepted["order"] in {each["digest"] for each in live}
        until(lambda: installation.target("a")["confirmed"], "seen to stand still")
        installation.reset("a")


def test_SR_22_a_restarted_warden_finds_its_cells_and_goes_on(
    installation: Installation,
) -> None:
    script = "import time\nfor n in range(10**6): print(n, flush=True); time.sleep(0.01)"
    running = installation.run(PYTHON, "-c", script, target="shop/a")
    other = installation.run("sleep", "1000", target="shop/b")
    before = installation.target("shop/a")
    installation.kill_warden()
    installation.restart()
    after = installation.target("shop/a")
    assert after["state"] == "running"
    assert after["pids"] == before["pids"] == 1
    assert after["user"] == before["user"]
    running.line()
    until(lambda: int(running.line()) > 20, "it counts on")
    os.kill(other.born["pid"], 9)
    until(lambda: installation.target("shop/b")["state"] == "exited", "its end is seen")
    answer = installation.stop("shop/a")
    assert answer["confirmed"] is True
    assert {layer["layer"] for layer in answer["targets"][0]["layers"]} >= {"process", "sweep"}
    assert installation.target("shop/a")["pids"] == 0


def test_a_label_covers_after_a_restart_too(installation: Installation) -> None:
    """Seen: the labels were forgotten, and what was latched by its label could be started."""
    declared = [{"name": "idle", "labels": {"tenant": "acme"}}]
    installation.ask({"op": "declare", "targets": declared})
    installation.run("true", target="idle").event("exited")
    installation.stop("tenant=acme")
    installation.kill_everything()
    wipe(installation)
    installation.restart()
    assert installation.target("idle")["labels"] == {"tenant": "acme"}
    with pytest.raises(Latched):
        installation.run("true", target="idle", op="start")


def test_labels_that_cannot_be_read_are_all_labels(installation: Installation) -> None:
    installation.ask({"op": "declare", "targets": [{"name": "a", "labels": {"tenant": "acme"}}]})
    installation.stop("tenant=acme")
    installation.kill_everything()
    Path(installation.home, "declared.json").write_text('[{"name": "a", "labels": {"ten')
    installation.restart()
    scopes = {live["scope"] for live in installation.status()["latched"]}
    assert scopes == {"tenant=acme", "/"}
    with pytest.raises(Latched):
        installation.run("true", target="a")
    assert any("declared.json" in note for note in installation.status()["notes"])


def test_a_label_that_comes_under_a_stop_is_stopped_and_none_lets_go(
    installation: Installation,
) -> None:
    installation.run("sleep", "1000", target="a")
    installation.stop("tenant=acme")
    assert installation.target("a")["state"] == "running"
    installation.ask({"op": "declare", "targets": [{"name": "a", "labels": {"tenant": "acme"}}]})
    until(lambda: installation.target("a")["confirmed"], "it came under the stop")
    assert installation.target("a")["state"] == "stopped"
    installation.ask({"op": "declare", "targets": [{"name": "a", "labels": {}}]})
    until(lambda: installation.target("a")["state"] == "stopped", "held, and looked at again")
    assert installation.target("a")["latched"] is True
    with pytest.raises(Latched):
        installation.run("sleep", "1000", target="a")


def test_a_drain_ends_in_a_kill_though_the_warden_was_lost_meanwhile(
    installation: Installation,
) -> None:
    installation.ask({"op": "declare", "targets": [{"name": "a", "limits_s": {"drain": 0.4}}]})
    installation.run("sleep", "1000", target="a")
    installation.stop("a", level="drain")
    installation.kill_warden()
    installation.restart()
    assert installation.target("a")["state"] == "draining"
    until(lambda: installation.target("a")["confirmed"], "killed in the end")
    assert installation.target("a")["level"] == "kill"


def test_a_drain_ends_with_the_work_in_flight(installation: Installation) -> None:
    running = installation.run("sleep", "1000", target="a")
    installation.stop("a", level="drain")
    assert installation.target("a")["state"] == "draining"
    os.kill(running.born["pid"], 15)
    until(lambda: installation.target("a")["confirmed"], "it ended by itself")
    row = installation.target("a")
    assert (row["state"], row["level"]) == ("stopped", "kill")


@pytest.mark.parametrize("level", [Level.FREEZE, Level.KILL])
def test_a_word_without_an_order_is_an_order_that_was_lost(
    installation: Installation, level: Level
) -> None:
    """A warden that is killed between its commands and its record leaves only the page."""
    installation.run("sleep", "1000", target="a")
    kept = json.loads(Path(installation.place.memory, "cells.json").read_text())
    [slot] = [cell["slot"] for cell in kept["cells"] if cell["target"] == "a"]
    installation.kill_everything()
    with open(installation.place.page, "r+b") as page:
        page.seek((FIRST_WORD + slot) * 8)
        page.write(struct.pack("=Q", RUN + level))
    installation.restart()
    row = until(lambda: installation.target("a")["confirmed"] and installation.target("a"), "held")
    assert (row["latched"], row["level"]) == (True, level.label)
    [live] = installation.status()["latched"]
    assert live["by"] == "warden"
    assert installation.word("a") == RUN + level


def test_cells_that_nobody_can_name_are_stopped_while_anything_is_latched(
    installation: Installation,
) -> None:
    installation.stop("elsewhere")
    garbled = [b"", b"[]", b'{"cells": 7}', b'{"cells":[{"x":1},7]}']
    for number, garbage in enumerate(garbled[: runs(4 * 20)]):
        running = installation.run("sleep", "1000", target=f"shop/{number}")
        installation.kill_everything()
        Path(installation.place.memory, "cells.json").write_bytes(garbage)
        installation.restart()
        name = f"lost/{running.born['cell']}"
        until(lambda name=name: installation.target(name)["pids"] == 0, "killed")
        assert installation.target(name)["latched"] is True


def test_cells_that_nobody_can_name_run_on_where_nothing_is_latched(
    installation: Installation,
) -> None:
    installation.run("sleep", "1000", target="shop/a")
    installation.kill_everything()
    Path(installation.place.memory, "cells.json").unlink()
    installation.restart()
    [lost] = [row for row in installation.status()["targets"] if row["target"].startswith("lost/")]
    assert (lost["state"], lost["pids"]) == ("running", 1)
    answer = installation.stop("/")
    until(lambda: installation.target(lost["target"])["pids"] == 0, "stopped with everything")
    assert any(row["target"] == lost["target"] for row in answer["targets"])


# --- the latch's file -----------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "flipped":
        data[data.index(b'"kill"') + 2] ^= 1
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2 - 1])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "a folder":
        path.mkdir()
    else:
        assert how == "gone"


def test_SR_16_a_latch_that_cannot_be_trusted_means_that_everything_is_latched(
    installation: Installation,
) -> None:
    path = Path(installation.place.latch)
    for how in ("flipped", "cut", "gone", "emptied", "a folder")[: runs(60)]:
        installation.run("sleep", "1000", target="a")
        installation.run("sleep", "1000", target="b")
        installation.stop("a")
        until(lambda: installation.status()["latched"][0]["durable"], "durable")
        installation.kill_everything()
        damage(path, how)
        installation.restart()
        scopes = {live["scope"] for live in installation.status()["latched"]}
        assert "/" in scopes, how
        assert any(str(path) in note for note in installation.status()["notes"])
        until(lambda: installation.target("b")["confirmed"], "b is stopped, too")
        with pytest.raises(Latched):
            installation.run("true", target="c")
        if how != "a folder":
            assert installation.reset("/")["state"] == "done", "it is reset like any other"
            installation.run("true", target="c").event("exited")


# --- clocks and neighbours ------------------------------------------------------------


def test_ACT_5_a_wrong_clock_keeps_no_stop_and_no_reset(installation: Installation) -> None:
    """A message's time is evidence for people; nothing is decided by it."""
    for time_us in (1, 2**53 - 1, -1, 2**62, "yesterday", None):
        installation.run("sleep", "1000", target="a")
        assert installation.stop("a", time_us=time_us)["confirmed"] is True
        with pytest.raises(Latched):
            installation.run("true", target="a")
        assert installation.reset("a", time_us=time_us)["state"] == "done"
        assert installation.stop("a", time_us=time_us)["confirmed"] is True
        assert installation.target("a")["latched"] is True
        installation.reset("a")


def test_SR_19_the_same_press_again_after_its_reset_is_a_new_stop(
    installation: Installation,
) -> None:
    message = installation.stop_message("a")
    first = installation.stop("a", nonce=message["nonce"], time_us=message["time_us"])
    installation.reset("a")
    again = installation.stop("a", nonce=message["nonce"], time_us=message["time_us"])
    assert first["order"] != again["order"]
    assert installation.status()["latched"][0]["digest"] == again["order"]


def test_a_second_warden_for_the_same_run_folder_refuses(installation: Installation) -> None:
    running = installation.run("sleep", "1000", target="a")
    argv = [sys.executable, "-I", "-m", "offswitch.warden"]
    argv += ["--home", installation.home, "--run", installation.run_folder]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another warden serves" in second.stderr
    assert installation.target("a")["state"] == "running"
    assert installation.ask({"op": "ping"})["pid"] == installation.warden.pid  # type: ignore[union-attr]
    installation.stop("a")
    assert running.event("exited")["signal"] == 9


def test_two_installations_never_touch_each_other(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Installation(tmp_path_factory.mktemp("other")).start()
    try:
        for one in (installation, other):
            one.run("sleep", "1000", target="a")
        installation.stop("/")
        assert other.target("a")["state"] == "running"
        assert other.status()["latched"] == []
        with pytest.raises(OffswitchError):
            other.reset("/")
        assert installation.target("a")["latched"] is True
    finally:
        other.close()
