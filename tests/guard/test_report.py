"""A guard tells which steps its program takes, one way and never waiting (SR-6)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guard.written_page import SLOT, WrittenPage
from offswitch.control.page import RUN
from offswitch.guard import Guard, Stopped
from offswitch.guard.report import Report


class Pipe:
    """The pipe that a cell is born with: its reading end, and what the environment says."""

    def __init__(self, folder: Path) -> None:
        path = folder / "pipe"
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY)
        self.named = f"{self.writer}:{os.fstat(self.writer).st_ino}"

    def said(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in os.read(self.reader, 1 << 20).splitlines()]
        except BlockingIOError:
            return []


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    one = Pipe(tmp_path)
    yield one
    for fd in (one.reader, one.writer):
        try:
            os.close(fd)
        except OSError:
            continue


@pytest.fixture
def guard(page: WrittenPage, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.setenv("OFFSWITCH_PAGE", str(page.path))
    monkeypatch.setenv("OFFSWITCH_WORD", str(SLOT))
    monkeypatch.setenv("OFFSWITCH_REPORT", pipe.named)
    return Guard.from_env()


def test_SR_6_a_guard_reports_each_step_and_each_refusal(
    guard: Guard, page: WrittenPage, pipe: Pipe
) -> None:
    with guard.step("tool", "send_mail"), guard.step("model"):
        guard.check()
    page.set(RUN + 1)
    with (
        pytest.raises(Stopped, match="tool step 'send_mail' refused"),
        guard.step("tool", "send_mail"),
    ):
        pass
    with pytest.raises(Stopped):
        guard.check()
    assert pipe.said() == [
        {"step": "tool", "name": "send_mail"},
        {"step": "model", "name": ""},
        {"refused": "tool", "name": "send_mail"},
        {"refused": "check", "name": ""},
    ]


def test_SR_6_a_full_pipe_makes_nobody_wait_and_what_was_dropped_is_told(
    guard: Guard, pipe: Pipe
) -> None:
    steps = 5000
    os.set_blocking(pipe.writer, True)  # as a program may do that does not know it

    def work() -> None:
        for number in range(steps):
            with guard.step("tool", f"{number} {'x' * 200}"):
                continue

    working = threading.Thread(target=work, daemon=True)
    working.start()
    working.join(20)
    assert not working.is_alive(), "nothing waits"
    kept = pipe.said()
    assert 0 < len(kept) < steps
    with guard.step("tool", "after"):
        pass
    [told] = pipe.said()
    assert told == {"step": "tool", "name": "after", "dropped": steps - len(kept)}
    with guard.step("tool", "once"):
        pass
    assert "dropped" not in pipe.said()[0], "each loss is told once"


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.SIG_DFL])
def test_SR_6_a_program_outlives_whoever_read_its_reports(tmp_path: Path, how: int) -> None:
    """In a process of its own: SIGPIPE would end it."""
    program = """
import os, signal, sys
from offswitch.guard.report import Report
signal.signal(signal.SIGPIPE, signal.Handlers(int(sys.argv[2])))
os.mkfifo(sys.argv[1])
reader = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
writer = os.open(sys.argv[1], os.O_WRONLY)
report = Report(f"{writer}:{os.fstat(writer).st_ino}")
os.close(reader)
report.tell("step", "tool", "a")
assert report.dropped == 1
reader = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
report.tell("step", "tool", "b")
print(os.read(reader, 100).decode(), end="")
assert signal.getsignal(signal.SIGPIPE) == int(sys.argv[2])
assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""
    argv = [sys.executable, "-I", "-c", program, str(tmp_path / "p"), str(int(how))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"step": "tool", "name": "b", "dropped": 1}


def test_SR_6_what_took_the_pipes_number_never_finds_our_lines_in_it(
    guard: Guard, pipe: Pipe, tmp_path: Path
) -> None:
    other = os.open(tmp_path / "a file of the program's", os.O_RDWR | os.O_CREAT, 0o600)
    os.dup2(other, pipe.writer)
    with guard.step("tool", "a"):
        pass
    assert os.fstat(other).st_size == 0
    os.close(other)


@pytest.mark.parametrize("named", [None, "", "x", "3", "-1:2", "999:1", "3:x", "9999999999999:1"])
def test_SR_6_without_a_pipe_a_guard_works_all_the_same(named: str | None) -> None:
    Report(named).tell("step", "tool", "a")


def test_SR_6_a_step_tells_what_it_is_given_cut_short_and_never_fails_of_it(
    guard: Guard, pipe: Pipe
) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with guard.step("tool", "mail", {"to": "ann", "n": 3, "text": "x" * 500}):
        pass
    with guard.step("tool", "mail", {"to": Odd()}):
        pass
    with guard.step("tool", "mail", {str(n): "\N{SNOWMAN}" * 400 for n in range(50)}):
        pass
    first, second, third = pipe.said()
    assert first["args"] == {"to": "ann", "n": "3", "text": "x" * 200 + "…"}
    assert second["args"] == {"…": "could not be told"}
    assert third["args"] == {}
    assert third["cut"] is True
