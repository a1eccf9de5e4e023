"""From inside a cell no process, file or listener of ours can be reached by any way (SEC-3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostile import hostile
from installation import Installation, until
from stage import SABOTAGE

WATCHED = """
[[rule]]
name = "many"
target = "a"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "threshold", series = "processes.count", above = 300 }]
"""


@pytest.fixture
def watched(installation: Installation) -> Iterator[list[int]]:
    """Have the installation watched; gives every process of ours."""
    Path(installation.place.config).write_text(WATCHED)
    argv = [sys.executable, "-I", "-m", "offswitch.watch"]
    argv += ["--home", installation.home, "--run", installation.run_folder]
    with (
        open(f"{installation.home}/watch.log", "wb") as log,
        subprocess.Popen(argv, stderr=log, start_new_session=True) as watch,
    ):
        try:
            eyes = ["offswitch-eye", "offswitch-eyes", "offswitch-past"]
            until(lambda: sorted(map(name_of, below(watch.pid)))[:3] == eyes, "an eye looks")
            until(
                lambda: len(below(watch.pid)) == 4,
                "with its nursery, an eye and who keeps readings",
            )
            assert installation.warden is not None
            yield [*below(installation.warden.pid), *below(watch.pid)]
        finally:
            watch.terminate()


def below(pid: int) -> list[int]:
    """List a process and all of its children that are ours."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        todo += [int(one) for one in _of(at, f"task/{at}/children").split()]
    return [at for at in found if "offswitch." in _of(at, "cmdline")]


def _of(pid: int, file: str) -> str:
    """Read what /proc says of a process; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return ""


def name_of(pid: int) -> str:
    return _of(pid, "comm").strip()


def listeners(pids: list[int]) -> tuple[list[str], list[list[int]]]:
    """Give the Unix and the IP sockets on which processes listen, as the kernel lists them."""
    inodes = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:["))
            except OSError:
                continue
    inodes = {name.rstrip("]") for name in inodes}
    unix, inet = [], []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if words[6] in inodes and words[3] == "00010000":
            unix.append(words[7] if len(words) > 7 else "")
    for family, name in ((2, "tcp"), (10, "tcp6"), (2, "udp"), (10, "udp6")):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes:
                inet.append([family, int(words[1].rpartition(":")[2], 16)])
    return unix, inet


def asked_of(installation: Installation, pids: list[int], inet: list[list[int]]) -> dict[str, Any]:
    place = installation.place
    files = [
        place.ring,
        place.lock,
        place.live_latch,
        place.latch,
        f"{installation.home}/ledger/key",
    ]
    files += [f"{installation.home}/ledger/ledger.db", f"{installation.home}/warden.log"]
    files += [place.page, "/dev/shm/offswitch-users", place.warden_socket, place.keeper_socket]
    files += [place.recorder_socket, *(f"{place.reports}/{name}" for name in _names(place.reports))]
    return {"pids": pids, "files": files, "spool": place.spool, "inet": inet}


def _names(folder: str) -> list[str]:
    return os.listdir(folder)


def test_SEC_3_we_listen_on_paths_in_a_closed_folder_and_nowhere_else(
    installation: Installation, watched: list[int]
) -> None:
    unix, inet = listeners(watched)
    place = installation.place
    expected = {place.warden_socket, place.keeper_socket, place.recorder_socket}
    expected |= {f"{place.control}/watch"}
    assert {
        path.removesuffix(".new").partition(".")[0] if "control" in path else path for path in unix
    } <= {*expected}, "no abstract name, nothing elsewhere"
    assert inet == []
    assert os.stat(place.control).st_mode & 0o007 == 0


@pytest.mark.parametrize("user", [None, "nobody"])
def test_SEC_3_no_way_leads_from_a_cell_to_us(
    installation: Installation, watched: list[int], user: str | None
) -> None:
    before = installation.pids()
    asked = asked_of(installation, watched, listeners(watched)[1])
    with hostile(installation, "reach", json.dumps(asked), user=user) as target:
        said = until(
            lambda: next((x for x in target.said().splitlines() if x[:1] == "["), ""), "it reports"
        )
        assert json.loads(said) == []
        assert installation.pids() == before, "all of ours live"
        target.stop()


def test_SEC_3_the_same_program_reaches_whom_it_may_reach() -> None:
    """The twin that fails: a process of the same user, and a folder that is open to it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder, "acts").touch()
        Path(folder, "file").touch()
        with subprocess.Popen(["sleep", "100"]) as victim:
            asked = {"pids": [victim.pid], "files": [f"{folder}/file"], "spool": folder, "inet": []}
            argv = [sys.executable, "-I", str(SABOTAGE / "reach.py"), json.dumps(asked)]
            with subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True) as twin:
                assert twin.stdout is not None
                worked = {
                    one.removeprefix(f"{victim.pid} ") for one in json.loads(twin.stdout.readline())
                }
                twin.kill()
            victim.kill()
    wanted = {"reads mem", "reads environ", "writes mem", "root", "fd 0", "kcmp", "pidfd_getfd"}
    wanted |= {"ptrace 10", "signal 0", "pidfd signal 0", "limits", "priority", "affinity"}
    wanted |= {"readv", "own cgroup", "ns net", "spool", "oom_score_adj"}
    assert wanted - worked <= {"reads mem", "readv", "own cgroup"}, wanted - worked
