"""The disk is full, or memory is: a stop works, a reset does not, and nobody is told otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disk import Disk, freezable, frozen, mounted
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.control.client import Conversation
from offswitch.control.page import PageReader
from offswitch.errors import Storage
from scale import runs


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Installation, Disk]]:
    """Give an installation whose home lies on a disk of 8 MiB."""
    needs_root()
    with mounted(tmp_path / "home", "8m") as disk:
        one = Installation(tmp_path)
        try:
            yield one.start(), disk
        finally:
            one.close()


def test_ACT_5_with_the_disk_full_a_stop_works_and_a_reset_does_not(
    small: tuple[Installation, Disk],
) -> None:
    installation, disk = small
    for name in ("a", "b"):
        installation.run("sleep", "1000", target=name)
    disk.fill()
    answer = installation.stop("a")
    assert answer["confirmed"] is True
    for number in range(150):  # until even the room that was set aside is used up
        installation.press(f"nobody/{number}", reason="x" * 2000)
    answer = installation.stop("b")
    assert answer["confirmed"] is True
    assert answer["recorded"] == "pending", "latched, not yet durable"
    notes = installation.status()["notes"]
    assert any("not yet durable" in note and "No space" in note for note in notes)
    with pytest.raises(Storage, match="evidence"):
        installation.reset("b")
    assert installation.target("b")["latched"] is True
    installation.kill_everything()
    installation.restart()
    latched = {live["scope"] for live in installation.status()["latched"]}
    assert latched >= {"a", "b", "nobody/0"}, "no crash loses what no disk has"
    disk.free()
    until(lambda: installation.stop("b")["recorded"] == "durable", "durable once there is room")
    assert not any("not yet durable" in note for note in installation.status()["notes"])
    until(lambda: installation.reset("/")["state"] == "done", "a reset works again")
    installation.run("true", target="b").event("exited")
    verdict = installation.cli("ledger", "verify")
    assert verdict.returncode == 6, verdict.stdout + verdict.stderr


@pytest.mark.long
def test_SR_16_a_reset_that_the_latchs_file_does_not_take_is_none(tmp_path: Path) -> None:
    """The ledger has a disk of its own, so the evidence is sealed; the latch's disk is full."""
    needs_root()
    with mounted(tmp_path / "home", "8m") as disk:
        (tmp_path / "home" / "ledger").mkdir()
        with mounted(tmp_path / "home" / "ledger", "32m"):
            one = Installation(tmp_path)
            try:
                one.start().run("sleep", "1000", target="a")
                disk.fill()
                for number in range(150):
                    one.press(f"nobody/{number}", reason="x" * 2000)
                first = one.stop("a")["order"]
                reset = {"op": "reset", "scope": "a", "reason": "x", "nonce": "n"}
                with Conversation(one.place.warden_socket, 30.0) as patient:
                    patient.send(reset)
                    with pytest.raises(Storage, match="nothing is reset"):
                        patient.receive()
                stops = one.target("a")["stops"]
                assert first in stops
                assert len(stops) == 2, "should the disk take it yet, the same stop stands anew"
                disk.free()
                until(lambda: one.stop("a")["recorded"] == "durable", "there is room again")
                one.kill_everything()
                one.restart()
                assert one.target("a")["latched"] is True
                assert one.reset("a")["state"] == "done"
                assert one.target("a")["latched"] is False
            finally:
                one.close()


def test_with_the_disk_full_a_run_is_answered_and_says_what_is_missing(
    small: tuple[Installation, Disk],
) -> None:
    installation, disk = small
    installation.run("true", target="a").event("exited")
    disk.fill()
    running = installation.run("sleep", "1000", target="a")
    assert any("the disk takes nothing" in note for note in running.born["notes"])
    assert installation.stop("a")["confirmed"] is True


def test_REC_3_on_a_disk_that_hangs_the_warden_goes_on_serving(tmp_path: Path) -> None:
    """A stop is confirmed, a run is answered, and the lease is renewed all the while."""
    with freezable(tmp_path / "home", tmp_path / "disk") as home:
        one = Installation(tmp_path)
        try:
            one.start()
            for name in ("a", "b"):
                one.run("sleep", "1000", target=name)
            page = PageReader(one.place.page)
            left = []
            with frozen(home):
                assert one.stop("a")["confirmed"] is True
                running = one.run("sleep", "1000", target="c")
                assert any("the disk takes nothing" in note for note in running.born["notes"])
                declared = {"op": "declare", "targets": [{"name": "d"}]}
                with pytest.raises(Storage, match="not kept for the next warden"):
                    one.ask(declared)
                for _ in range(20):
                    left.append(page.lease_left_ns())
                    time.sleep(0.02)
                answer = one.stop("/")
                assert answer["confirmed"] is True
                assert answer["recorded"] == "pending", "latched, not yet durable"
                with pytest.raises(Storage, match="evidence"):
                    one.reset("/")
            assert min(left) > 1_500_000_000, "the loop never waited for the disk"
            page.close()
            until(lambda: one.stop("/")["recorded"] == "durable", "durable once the disk answers")
            until(lambda: one.reset("/")["state"] == "done", "a reset works again")
        finally:
            one.close()


def test_SR_21_memory_that_is_full_takes_no_page_away(tmp_path: Path) -> None:
    """The page and the journal are preallocated: nobody dies of SIGBUS, and a stop shows."""
    needs_root()
    with mounted(tmp_path / "run", "24m") as disk:
        one = Installation(tmp_path, run=str(tmp_path / "run"))
        try:
            one.start()
            inode = os.stat(one.place.page).st_ino
            assert one.place.page.startswith(one.run_folder)
            one.run("sleep", "1000", target="a")
            script = (
                "import sys\nfrom offswitch.guard import Guard\nguard = Guard.from_env()\n"
                "print(guard.allowed(), flush=True)\nsys.stdin.read()\n"
            )
            argv = [sys.executable, "-I", "-c", script]
            env = {"OFFSWITCH_PAGE": one.place.page, "OFFSWITCH_WORD": "0"}
            disk.fill()
            guarded = subprocess.Popen(
                argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            one.children.append(guarded)
            assert guarded.stdout is not None
            assert guarded.stdout.readline() == "True\n"
            reader = PageReader(one.place.page)
            assert sum(reader.words[8:]) > 0, "every word can be read"
            assert one.stop("a")["confirmed"] is True
            assert one.word("a") == 5
            one.kill_everything()
            one.restart()
            assert one.target("a")["latched"] is True
            assert reader.word(0) == 5, "a guard still looks at the same page"
            info = os.stat(one.place.page)
            assert (info.st_ino, info.st_size) == (inode, 1 << 20)
            reader.close()
        finally:
            one.close()


def test_SR_21_without_room_for_a_page_nothing_is_served(tmp_path: Path) -> None:
    needs_root()
    with mounted(tmp_path / "run", "1m") as disk:
        disk.fill()
        disk.free()
        (tmp_path / "run" / "ballast").write_bytes(bytes(700_000))
        argv = [sys.executable, "-I", "-m", "offswitch.warden"]
        argv += ["--home", str(tmp_path / "home"), "--run", str(tmp_path / "run")]
        came = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert came.returncode == 1
        assert str(tmp_path / "run") in came.stderr
        assert "Traceback" not in came.stderr
        assert "next:" in came.stderr


def test_SR_21_the_page_is_one_inode_through_every_restart(installation: Installation) -> None:
    installation.run(PYTHON, "-c", "import time; time.sleep(1000)", target="a")
    before = os.stat(installation.place.page)
    for number in range(runs(40)):
        installation.kill_warden()
        installation.restart()
        after = os.stat(installation.place.page)
        assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
        assert installation.ask({"op": "ping"})["epoch"] == number + 2
        assert installation.word("a") == 1
