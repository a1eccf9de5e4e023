"""A press under each of the eight injected faults of ACT-5: it is obeyed, it holds, it is recorded.

It is pressed as a person presses: the command line, from outside. While the fault is there the
target dies and stays dead; once it is gone, the stop is latched, seen, durable and in the record.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from disk import freezable, mounted
from installation import Installation, until
from keeper_stage import gone
from needs import needs_root
from offswitch.errors import OffswitchError
from wall_clock import WallClock
from want import Box, without_descriptors

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
SLEEP = ("sleep", "100000")
Fault = Callable[[Path], AbstractContextManager[tuple[Installation, AbstractContextManager[None]]]]


@contextmanager
def a_full_disk(tmp_path: Path) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    with mounted(tmp_path / "home", "8m") as disk:

        @contextmanager
        def fault() -> Iterator[None]:
            disk.fill()
            yield
            disk.free()

        yield Installation(tmp_path), fault()


@contextmanager
def no_default_route(tmp_path: Path) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    """Not even a loopback that is up."""
    one = Installation(tmp_path)
    one.program = ["unshare", "--net", *one.program]
    yield one, ExitStack()


@contextmanager
def no_ledger(tmp_path: Path) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    """The recorder is killed, and cannot come back: where its ledger was is something else."""
    one = Installation(tmp_path)
    ledger, away = tmp_path / "home" / "ledger", tmp_path / "away"

    @contextmanager
    def fault() -> Iterator[None]:
        until(one.entries, "there is a ledger")
        ledger.rename(away)
        ledger.write_text("no ledger")
        os.kill(one.pids()["recorder"], signal.SIGKILL)
        yield
        ledger.unlink()
        away.rename(ledger)

    yield one, fault()


@contextmanager
def a_clock_that_jumped(
    tmp_path: Path,
) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    one, clock = Installation(tmp_path), WallClock(tmp_path)
    one.program = [*clock.under, *one.program]

    @contextmanager
    def fault() -> Iterator[None]:
        clock.jump(-86_400)
        yield
        clock.jump(86_400)

    yield one, fault()


@contextmanager
def a_face_without_memory(
    tmp_path: Path,
) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    """Whatever face a person looks at is killed for want of memory, watch and board included."""
    one = Installation(tmp_path)

    @contextmanager
    def fault() -> Iterator[None]:
        box = Box("memory", f"offswitch-face-{os.getpid()}")
        box.write("memory.limit_in_bytes", 3 << 20)
        faces = [[OFFSWITCH, "board"], [OFFSWITCH, "status"], [OFFSWITCH, "stop", "a"]]
        try:
            for face in faces:
                killed = subprocess.run(
                    [*box.under, *face], env=one.env, capture_output=True, check=False, timeout=60
                )
                assert killed.returncode == -signal.SIGKILL, killed
            yield
        finally:
            box.close()

    yield one, fault()


@contextmanager
def a_read_only_file_system(
    tmp_path: Path,
) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    """As the kernel makes one after an error of the disk."""
    with freezable(tmp_path / "home", tmp_path / "disk") as home:
        remount = ["mount", "-o", "remount,errors=remount-ro", str(home)]
        subprocess.run(remount, check=True)
        device = Path(os.path.realpath(f"/sys/dev/block/{_device(home)}")).name

        @contextmanager
        def fault() -> Iterator[None]:
            Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a bad day")
            with pytest.raises(OSError, match="Read-only"):
                (home / "x").touch()
            yield

        yield Installation(tmp_path), fault()


def _device(path: Path) -> str:
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


@contextmanager
def no_descriptors(tmp_path: Path) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    """A thousand connections that say nothing, and not one descriptor more for anybody."""
    one = Installation(tmp_path)

    @contextmanager
    def fault() -> Iterator[None]:
        pids = one.pids()
        script = (
            "import socket, sys\nheld = []\n"
            "for number in range(1000):\n"
            "    held.append(socket.socket(socket.AF_UNIX))\n"
            "    held[-1].setblocking(False)\n"
            "    try: held[-1].connect(sys.argv[1 + number % 2])\n"
            "    except OSError: pass\n"
            "print('held', flush=True)\nsys.stdin.read()\n"
        )
        sockets = [one.place.warden_socket, one.place.keeper_socket]
        argv = ["prlimit", "--nofile=2000:2000", "/usr/bin/python3", "-I", "-c", script, *sockets]
        holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        one.children.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with without_descriptors(pids["warden"], pids["keeper"]):
            yield
        holder.kill()
        holder.communicate()

    yield one, fault()


@contextmanager
def a_controller_that_stands_still(
    tmp_path: Path,
) -> Iterator[tuple[Installation, AbstractContextManager[None]]]:
    one = Installation(tmp_path)

    @contextmanager
    def fault() -> Iterator[None]:
        assert one.warden is not None
        one.warden.send_signal(signal.SIGSTOP)
        yield
        one.warden.send_signal(signal.SIGCONT)

    yield one, fault()


FAULTS: list[Fault] = [
    no_default_route,
    no_ledger,
    a_clock_that_jumped,
    a_face_without_memory,
    a_read_only_file_system,
    no_descriptors,
]
SHOWN_EVERY_DAY_ELSEWHERE: list[Fault] = [a_full_disk, a_controller_that_stands_still]
"""By `spine/test_bad_disks.py` and `cli/test_stop.py`."""


@pytest.mark.parametrize(
    "fault",
    [
        *FAULTS,
        *(pytest.param(fault, marks=pytest.mark.long) for fault in SHOWN_EVERY_DAY_ELSEWHERE),
    ],
    ids=lambda fault: fault.__name__,
)
def test_ACT_5_a_press_under_an_injected_fault_is_obeyed_and_holds(
    tmp_path: Path, fault: Fault
) -> None:
    needs_root()
    with fault(tmp_path) as (one, injected):
        try:
            one.start()
            born = one.run(*SLEEP, target="a").born["pid"]
            other = one.run(*SLEEP, target="b").born["pid"]
            with injected:
                done = one.cli("stop", "a", "--json")
                assert done.returncode in {0, 4}, done.stdout + done.stderr
                until(lambda: gone(born), "stopped under the fault")
                assert not gone(other), "and nobody else"
            until(lambda: one.target("a")["confirmed"], "latched, and seen")
            until(lambda: one.target("b")["state"] == "running", "who was not meant runs on")
            if fault is a_read_only_file_system:
                assert any("not yet durable" in note for note in one.status()["notes"])
                return
            until(lambda: one.stop("a")["recorded"] == "durable", "durable")
            [digest] = {live["digest"] for live in one.status()["latched"] if live["scope"] == "a"}
            if fault in {a_full_disk, no_ledger, a_clock_that_jumped}:
                until(lambda: digest in {e.get("digest") for e in one.entries()}, "in the record")
                assert one.cli("ledger", "verify").returncode == 6
            until(lambda: _reset(one), "a reset works again")
        finally:
            one.close()


def _reset(one: Installation) -> bool:
    try:
        return not one.status()["latched"] or one.reset("/")["exit"] == 0
    except OffswitchError as error:
        if error.kind not in {"storage", "unconfirmed"}:
            raise
        return False
