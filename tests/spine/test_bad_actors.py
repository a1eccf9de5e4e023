"""Actuators that lie, supervisors that respawn, observers that see nothing: nobody says stopped."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from offswitch.errors import Latched, OffswitchError, Unconfirmed
from scripted import Scripted, scripted

HERE = Path(__file__).parent.parent


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "lying_warden")


def test_VER_1_an_actuator_that_lies_is_never_believed(lying: Scripted) -> None:
    """Every layer says done, the target lives: not confirmed, not stopped, not resettable."""
    lying.words = ("process,network,sweep",)
    lying.start()
    running = lying.run("sleep", "1000", target="a")
    answer = lying.stop("a")
    assert (answer["confirmed"], answer["exit"]) == (False, 4)
    [target] = answer["targets"]
    assert target["state"] == "stopping"
    by_layer = {layer["layer"]: layer for layer in target["layers"]}
    assert by_layer["process"]["commanded_ns"] > 0
    assert by_layer["process"]["effect_ns"] is None
    assert by_layer["process"]["detail"], "it says what may still act"
    row = lying.target("a")
    assert (row["state"], row["latched"], row["confirmed"], row["pids"]) == (
        "stopping", True, False, 1,
    )  # fmt: skip
    with pytest.raises(Unconfirmed):
        lying.reset("a")
    told = [entry["kind"] for entry in lying.entries()]
    assert told.count("moved") <= 1, "what goes on moving must not flood the record"
    assert told.count("receipt") <= 8
    os.kill(running.born["pid"], 9)
    until(lambda: lying.target("a")["confirmed"], "seen once it is really dead")
    assert lying.target("a")["state"] == "stopped"
    assert lying.reset("a")["state"] == "done"


def test_VER_2_one_layer_that_lies_is_told_by_the_others_and_by_name(lying: Scripted) -> None:
    """The kill does nothing, the sweep does its work: diverse layers cover for each other."""
    lying.words = ("process",)
    lying.start()
    lying.run("sleep", "1000", target="a")
    answer = lying.stop("a")
    assert answer["confirmed"] is True, "the sweep by user id caught it"
    lying.reset("a")
    lying.run("sleep", "1000", target="frozen")
    answer = lying.stop("frozen", level="freeze")
    assert answer["confirmed"] is False
    until(lambda: lying.target("frozen")["confirmed"], "a freeze that is not seen becomes a kill")
    assert lying.target("frozen")["level"] == "kill"


def test_ACT_8_a_respawner_inside_its_cell_ends_with_it(installation: Installation) -> None:
    shutil.copy(HERE / "sabotage" / "respawner.py", installation.work)
    acts = installation.work / "acts"
    acts.touch(mode=0o666)
    installation.run(PYTHON, "respawner.py", target="a")
    until(lambda: acts.stat().st_size > 50, "its workers act")
    assert installation.stop("a")["confirmed"] is True
    size = acts.stat().st_size
    time.sleep(0.1)
    assert acts.stat().st_size == size
    assert installation.target("a")["pids"] == 0


def test_ACT_8_a_supervisor_outside_cannot_bring_it_back_while_it_is_latched(
    installation: Installation,
) -> None:
    """It tries every few milliseconds, under its name and below it, by run and by start."""
    installation.run("true", target="shop/a").event("exited")
    ended = threading.Event()
    refused: list[str] = []
    begun: list[str] = []

    def supervise() -> None:
        while not ended.is_set():
            for name, op in (("shop/a", "start"), ("shop/a", "run"), ("shop/new", "run")):
                try:
                    installation.run("sleep", "1000", target=name, op=op).close()
                    begun.append(name)
                except Latched as error:
                    refused.append(error.kind)
                except OffswitchError:
                    continue
            time.sleep(0.005)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        until(lambda: begun, "it does bring it back, as long as nothing is latched")
        installation.stop("shop")
        until(lambda: len(refused) > 5, "it was told so")
        before = len(begun)
        until(lambda: len(refused) > 60, "it goes on trying")
        assert len(begun) == before, "started while latched"
        for row in installation.status("shop")["targets"]:
            assert (row["pids"], row["state"]) == (0, "stopped")
    finally:
        ended.set()
        supervisor.join()
