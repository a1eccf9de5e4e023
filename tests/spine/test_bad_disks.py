"""The disk is full, or memory is: a stop works, a reset does not, and nobody is told otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from disk import Disk, freezable, frozen, mounted
from installation import PYTHON, Installation, until
from needs import needs, needs_program, needs_root
from offswitch.control.client import Conversation
from offswitch.control.page import PageReader
from offswitch.decide.authority import add_person
from offswitch.decide.secret import set_secret
from offswitch.decide.totp import code_at, read_secret
from offswitch.errors import Storage
from offswitch.warden.keeper.left import left_orders
from people import Person
from raw import Raw
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
    Path(installation.home, "latch.spare").unlink()  # with it the stops would be merged (SR-17)
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


def test_SR_15_a_full_disk_keeps_nobody_observing(small: tuple[Installation, Disk]) -> None:
    """Told to act again, the next warden acts, though the disk takes nothing."""
    installation, disk = small
    for mode in ("observe", "act"):
        installation.ask({"op": "declare", "targets": [], "mode": mode})
        until(lambda m=mode: Path(installation.home, "mode").exists() == (m == "observe"), mode)
        disk.fill()
    installation.kill_everything()
    installation.restart()
    assert not any("OBSERVE MODE" in note for note in installation.status()["notes"])


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
    """A stop is confirmed, everything is answered, and the lease is renewed all the while."""
    with freezable(tmp_path / "home", tmp_path / "disk") as home:
        one = Installation(tmp_path)
        try:
            set_secret(one.start().home, "correct horse")
            for name in ("a", "b"):
                one.run("sleep", "1000", target=name)
            page = PageReader(one.place.page)
            left = []
            with frozen(home):
                assert one.stop("a")["confirmed"] is True
                running = one.run("sleep", "1000", target="c")
                assert any("the disk takes nothing" in note for note in running.born["notes"])
                declared = {"op": "declare", "targets": [{"name": "d"}]}
                with Raw(one).say(declared) as first, ExitStack() as others:
                    out = os.open(os.devnull, os.O_RDWR)
                    start = others.enter_context(Raw(one)).say(
                        {"op": "start", "target": "b"}, (out, out, out)
                    )
                    os.close(out)
                    plain, typed = (
                        others.enter_context(Raw(one)).say(
                            {"op": "reset", "scope": "/", "reason": "x", **secret}
                        )
                        for secret in ({}, {"secret": "correct horse"})
                    )
                    for _ in range(20):
                        left.append(page.lease_left_ns())
                        assert one.status()["latched"]
                        time.sleep(0.02)
                    for peer, why in (
                        (first, "not kept for the next warden"),
                        (start, "cannot be read: the disk does not answer"),
                        (plain, "cannot be looked up: the disk does not answer"),
                        (typed, "cannot be looked up: the disk does not answer"),
                    ):
                        answer = peer.answer()
                        assert answer is not None
                        assert why in answer["error"]["message"]
                _press_the_keeper_alone(one)
                left.append(page.lease_left_ns())
                answer = one.stop("/")
                assert answer["confirmed"] is True
                assert answer["recorded"] == "pending", "latched, not yet durable"
            assert min(left) > 1_500_000_000, "the loop never waited for the disk"
            page.close()
            until(lambda: one.stop("/")["recorded"] == "durable", "durable once the disk answers")
            until(lambda: not _kept_by_keepers(one), "and the keeper's own order is forgotten")
            until(lambda: _reset_or_not(one) == "done", "a reset works again")
        finally:
            one.close()


def _press_the_keeper_alone(one: Installation) -> None:
    """Have the keeper act for a warden that hangs, and wait until that one has taken it in."""
    assert one.warden is not None
    one.warden.send_signal(signal.SIGSTOP)
    with Conversation(one.place.keeper_socket, 10.0) as conversation:
        answer = conversation.ask(one.stop_message("left"))
    assert answer["by"] == "keeper"
    one.warden.send_signal(signal.SIGCONT)
    until(lambda: "left" in {live["scope"] for live in one.status()["latched"]}, "joined")


def _kept_by_keepers(one: Installation) -> list[str]:
    return [stop.digest for stop in left_orders(one.place.memory, one.place.home)]


def _reset_or_not(one: Installation) -> str:
    try:
        return str(one.reset("/")["state"])
    except Storage as error:
        return error.message


_DISK_CALLS = "%file,read,write,pread64,pwrite64,fsync,fdatasync,fallocate,ftruncate"


def test_REC_3_the_loops_of_warden_and_keeper_touch_nothing_in_the_state_folder(
    tmp_path: Path,
) -> None:
    """Seen from the kernel, over everything that can be asked: no call, be it only to look."""
    one = Installation(tmp_path)
    try:
        one.start()
        set_secret(one.home, "correct horse")
        for name, totp in CODES.items():
            add_person(one.home, name, uid=None, keys=[], totp=totp)
        one.run("true", target="a").event("exited")  # both have come up
        pids = one.pids()
        with (
            _traced(pids["warden"], tmp_path / "warden") as warden,
            _traced(pids["keeper"], tmp_path / "keeper") as keeper,
        ):
            _everything(one)
        for seen in (warden, keeper):
            lines = seen.read_text().splitlines()
            assert any("read(" in line for line in lines), "it was looked at"
            assert not [line for line in lines if one.home in line or "sync(" in line]
    finally:
        one.close()


CODES = {"ada": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "bob": "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"}


def _everything(one: Installation) -> None:
    one.run("true", target="a", op="start").event("exited")
    one.run("sleep", "1000", target="a")
    one.run("sleep", "1000", target="b", user="daemon", cwd="/")
    one.ask({"op": "declare", "targets": [{"name": "a", "command": ["true"]}]})
    one.stop("a")
    one.status()
    one.ask({"op": "target", "name": "a"})
    pending = one.reset("a", secret="correct horse")
    assert pending["state"] == "pending"
    step = time.time_ns() // 30_000_000_000
    proofs = [f"code {name} {code_at(read_secret(key), step)}" for name, key in CODES.items()]
    assert one.reset("a", digest=pending["reset"], proofs=proofs)["state"] == "done"
    _press_the_keeper_alone(one)
    one.stop("/")
    until(lambda: not _kept_by_keepers(one), "the keeper's own order is forgotten")
    os.kill(one.pids()["observer"], signal.SIGKILL)
    until(lambda: one.ask({"op": "health"})["observer"], "another observer is there")


@contextmanager
def _traced(pid: int, into: Path) -> Iterator[Path]:
    """Have the kernel tell what the first thread of a process asks it about files."""
    argv = [needs_program("strace"), "-y", "-p", str(pid), "-o", str(into), "-e", _DISK_CALLS]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        needs("attached" in said, f"a process that can be traced: {said}")
        try:
            yield into
        finally:
            strace.terminate()


def test_ACT_5_a_name_service_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    """Whoever asks who a user is waits for ever here: /etc/passwd is a pipe that nobody fills."""
    needs_root()
    one = Installation(tmp_path, gid=4200)
    os.mkfifo(tmp_path / "passwd")
    script = f'mount --bind {tmp_path}/passwd /etc/passwd && exec "$@"'
    one.program = ["unshare", "-m", "/bin/sh", "-c", script, "sh", *one.program]
    try:
        one.start()
        page = PageReader(one.place.page)
        out = os.open(os.devnull, os.O_RDWR)
        asked = {"op": "run", "target": "b", "argv": ["true"], "cwd": "/", "env": {}}
        with Raw(one).say(asked, (out, out, out)) as root:
            os.close(out)
            born = Person(one).ask({"op": "run", "target": "a", "argv": ["sleep", "9"]}, fds=True)
            assert born.get("user") == "4242", born
            answer = root.answer()
            assert answer is not None
            assert "the name service does not answer" in answer["error"]["message"]
        assert page.lease_left_ns() > 1_500_000_000
        page.close()
        assert one.stop("/")["confirmed"] is True
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
