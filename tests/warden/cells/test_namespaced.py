"""The third rung: a cell that is a set of namespaces, for a warden without root."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lowly import LowlyWarden, end_all_of
from offswitch.warden.cells.descendants import walk
from offswitch.warden.cells.namespaced import NamespaceCell
from offswitch.warden.cells.rung import ESCAPES, Rung
from offswitch.warden.observer.looks import NamespaceLook, look_for
from scale import runs
from stage import PYTHON, SABOTAGE, alive_as, until

PROGRAMS = (
    *("ignore_signals", "daemon", "hopper", "fork_bomb", "stopped"),
    *("namespaces", "memfd", "respawner", "pdeathsig"),
)


@pytest.fixture
def lowly(request: pytest.FixtureRequest) -> Iterator[LowlyWarden]:
    warden = LowlyWarden(request.param, rung="namespace")
    yield warden
    warden.close()


@pytest.mark.parametrize("program", PROGRAMS)
def test_SR_25_in_a_namespace_nothing_outlives_a_kill(program: str) -> None:
    """Those that get away on the rung below, too: the daemon, and the hopper."""
    for _run in range(runs(20)):
        lowly = LowlyWarden(program, rung="namespace")
        try:
            assert lowly.first["rung"] == "namespace"
            lowly.kill_all()
            assert lowly.ask("members") == []
            until(lambda: alive_as(lowly.uid) == [lowly.process.pid], "only the warden is left")  # noqa: B023
            assert lowly.ask("remove") is True
        finally:
            lowly.close()


@pytest.mark.parametrize("lowly", ["ignore_signals"], indirect=True)
def test_SR_25_a_namespace_is_frozen_by_signals_and_thawed(lowly: LowlyWarden) -> None:
    assert lowly.ask("frozen") is False
    lowly.ask("freeze")
    until(lambda: lowly.ask("frozen"), "all of it is stopped")
    before = lowly.acts
    assert lowly.ask("populated") is True
    assert lowly.acts == before
    lowly.ask("thaw")
    until(lambda: lowly.acts > before, "it goes on")
    lowly.ask("freeze")
    lowly.kill_all()
    assert lowly.ask("populated") is False


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_a_namespace_is_found_again_by_what_was_kept_of_it(lowly: LowlyWarden) -> None:
    """As by the next warden, the keeper, and the observer, which look for themselves."""
    facts = json.loads(json.dumps(lowly.ask("facts")))
    again = NamespaceCell.again(facts)
    look = look_for("process", facts, "kill")
    assert isinstance(look, NamespaceLook)
    assert again.populated() is True
    assert look.once().stands is False
    again.kill()
    until(lambda: look.once().stands, "its init is seen to be gone")
    assert again.populated() is False
    assert again.remove()
    again.close()
    later = NamespaceCell.again({**facts, "init_start": 1})
    assert later.populated() is False, "another process bears its number now"
    later.close()
    look.close()


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_a_namespace_ends_with_its_last_process(lowly: LowlyWarden) -> None:
    facts = lowly.ask("facts")
    [target] = [each.pid for each in walk().values() if each.parent == facts["leader"]]
    look = look_for("process", facts, "kill")
    assert look is not None
    assert look.once().stands is False
    os.kill(target, signal.SIGKILL)
    until(lambda: look.once().stands, "init ends by itself", 5)
    look.close()


def test_SR_25_SR_21_from_inside_a_namespace_nothing_of_ours_can_be_reached() -> None:
    script = """
import encodings.ascii, os, sys
from offswitch.control.place import Place
from offswitch.warden.cells import birth, cell, kernel, rung
from offswitch.warden.cells.limits import Limits
from offswitch.warden.page_writer import PageWriter
folder, inside, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
place = Place(folder + "/home", folder + "/run")
for path in (place.home, place.run, place.memory):
    os.makedirs(path, exist_ok=True)
page = PageWriter.take(place)
assert not page.forgeable
page.set(page.allot(), 1); page.renew()
made = cell.create(place, "c1", uid=uid, own_uid=False, limits=Limits(),
    here=rung.Standing(rung.Rung(sys.argv[4])), read_only=(folder + "/code",))
init = str(made.facts().get("init", os.getpid()))
argv = ("/usr/bin/python3", "-I", inside, str(os.getpid()), init, place.page,
    place.home + "/latch", folder + "/code/ours.py")
birth.spawn(made, birth.Spec(argv=argv, cwd=folder, env={}, fds=(0, 1, 2), uid=uid, gid=uid,
    limits=Limits(), page=page.path, page_fd=page.sealed_fd, word=0))
sys.stdin.read()
made.kill()
"""
    with Folder() as folder:
        (folder / "code").mkdir()
        (folder / "code/ours.py").touch()
        os.chown(folder / "code/ours.py", 64_999, 64_999)
        for rung, reached in (
            ("namespace", []),
            ("subreaper", ["kill", "write"]),
        ):
            argv = [sys.executable, "-c", script, str(folder), str(folder / "inside.py")]
            with subprocess.Popen([*argv, "64999", rung], stdin=subprocess.PIPE) as warden:
                until((folder / "done").exists, "it tried it all")
                until(lambda: (folder / "done").read_text().endswith("\n"), "and told")
                done = (folder / "done").read_text()
                (folder / "done").unlink()
                for what in reached:  # the twin that fails: below, the same program reaches these
                    assert what in done, done
                if not reached:
                    assert done == "[]\n"
                assert "forge" not in done, "the page is sealed on either rung (SR-21)"
                warden.communicate()
            if reached:
                end_all_of(64_999)  # its warden was killed by it
            until(lambda: alive_as(64_999) == [], "nothing is left")


class Folder:
    """A folder in memory that everybody may use, with the program and its witness."""

    def __enter__(self) -> Path:
        self.path = Path("/dev/shm", f"offswitch-inside-{os.getpid()}")
        self.path.mkdir()
        self.path.chmod(0o777)
        (self.path / "inside.py").write_text((SABOTAGE / "inside.py").read_text())
        (self.path / "acts").touch()
        (self.path / "acts").chmod(0o666)
        return self.path

    def __exit__(self, *_: object) -> None:
        subprocess.run(["rm", "-rf", str(self.path)], check=True)


def escapes_named(words: str) -> bool:
    return any(words in each for each in ESCAPES[Rung.NAMESPACE])


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_a_brokers_job_gets_out_of_a_namespace_and_that_is_said(lowly: LowlyWarden) -> None:
    job = os.fork()
    if job == 0:
        os.chdir(lowly.folder)
        os.setsid()
        os.setresuid(lowly.uid, lowly.uid, lowly.uid)
        os.execve(PYTHON, [PYTHON, "-I", str(lowly.folder / "idle.py")], {})
    lowly.kill_all()
    before = lowly.acts
    until(lambda: lowly.acts > before, "the broker's job acts on")
    os.kill(job, 9)
    os.waitpid(job, 0)
    assert escapes_named("a job handed to a broker")


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_its_user_outside_may_thaw_a_namespace_and_that_is_said(lowly: LowlyWarden) -> None:
    lowly.ask("freeze")
    until(lambda: lowly.ask("frozen"), "all of it is stopped")
    before = lowly.acts
    [pid] = lowly.ask("pids")
    child = os.fork()
    if child == 0:
        os.setresuid(lowly.uid, lowly.uid, lowly.uid)
        os.kill(pid, signal.SIGCONT)
        os._exit(0)
    os.waitpid(child, 0)
    until(lambda: lowly.acts > before, "it goes on, until it is seen to move")
    assert escapes_named("a freeze is a SIGSTOP to each")


def test_SR_25_queued_bytes_leave_a_killed_namespace_and_that_is_said() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        lowly = LowlyWarden("stream", "127.0.0.1", port, rung="namespace")
        try:
            reader, _address = server.accept()
            before = lowly.acts
            until(lambda: lowly.acts > before + 5, "its buffers are full")
            lowly.kill_all()
            with reader:
                received = 0
                while data := reader.recv(1 << 16):
                    received += len(data)
            assert received > 1 << 16, "more than lay with the reader came after the end"
        finally:
            lowly.close()
    assert escapes_named("bytes already queued are delivered later")
