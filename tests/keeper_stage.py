"""A stage for the keeper: an installation's folders, cgroups, and an understudy of a warden.

The understudy is a process of its own (tests/understudy.py), so it can be frozen and killed
like the warden. The cells are plain cgroups with a program of the system in them; what a
test judges by is the kernel's: `cgroup.events`, exit statuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installation import until
from offswitch.clock import new_nonce
from offswitch.control.client import Conversation
from offswitch.control.page import RUN, PageReader
from offswitch.control.place import Place
from offswitch.model.order import Stop
from offswitch.warden import installation
from offswitch.warden.door import spool
from offswitch.warden.keeper.left import left_orders
from offswitch.warden.keeper_link import KILL_AFTER_S

UNDERSTUDY = str(Path(__file__).parent / "understudy.py")


class Cast:
    """One understudy process and the keeper that it started."""

    def __init__(self, place: Place) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", UNDERSTUDY, place.home, place.run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.facts: dict[str, Any] = self("facts")

    def __call__(self, method: str, *args: Any) -> Any:  # noqa: ANN401
        """Have the understudy do something; give its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([method, *args]).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the understudy ended at {method}"
        return json.loads(answer)

    @property
    def keeper(self) -> int:
        return int(self.facts["keeper"])

    def keep(self, kill_after_s: float = KILL_AFTER_S) -> None:
        self.facts = self("keep", kill_after_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


class Cell:
    """A cgroup with a program in it."""

    def __init__(self, path: Path, argv: tuple[str, ...]) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.programs: list[subprocess.Popen[bytes]] = []
        self.enter(argv)

    def enter(self, argv: tuple[str, ...]) -> None:
        """Run a program that is in the cell from its first instruction on."""
        into = f'echo 0 > {self.path}/cgroup.procs && exec "$@"'
        self.programs.append(subprocess.Popen(["/bin/sh", "-c", into, "sh", *argv]))
        until(self.populated, "a program is in its cell")

    def event(self, name: str) -> bool:
        lines = (self.path / "cgroup.events").read_text().splitlines()
        return dict(line.split() for line in lines)[name] == "1"

    def populated(self) -> bool:
        return self.event("populated")

    def frozen(self) -> bool:
        return self.event("frozen")

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for the program's end; give the signal that ended it, or its exit code."""
        return abs(self.programs[0].wait(seconds))

    def close(self) -> None:
        (self.path / "cgroup.freeze").write_text("0")
        (self.path / "cgroup.kill").write_text("1")
        for program in self.programs:
            program.wait(10)
        until(lambda: not self.populated(), "a cell is empty at the end")
        self.path.rmdir()


class KeeperStage:
    """Folders, cells, understudies; no trace afterwards."""

    def __init__(self, folder: Path, run: str = "") -> None:
        run = run or tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm")
        self.place = Place(str(folder / "home"), run)
        gid = installation.prepare(self.place)
        self.id = installation.installation_id(self.place.home)
        spool.prepare(self.place, gid)
        self.ground = Path(f"{unified()}/{self.place.cgroup}")
        self.cells: list[Cell] = []
        self.casts: list[Cast] = []

    def cast(
        self, *, lease_s: float = 3.0, keeper: bool = True, kill_after_s: float = KILL_AFTER_S
    ) -> Cast:
        """Bring up an understudy with its keeper and a lease."""
        cast = Cast(self.place)
        self.casts.append(cast)
        cast("renew", 3600.0, lease_s)
        if keeper:
            before = self._socket()
            cast.keep(kill_after_s)
            until(lambda: self._socket() not in {0, before}, "the keeper listens")
        return cast

    def _socket(self) -> int:
        """Tell the keepers' sockets apart; 0: there is none."""
        try:
            return os.stat(self.place.keeper_socket).st_ino
        except FileNotFoundError:
            return 0

    def cell(self, *argv: str) -> Cell:
        """Make a cell in which a program runs."""
        cell = Cell(self.ground / f"k{len(self.cells)}", argv or ("sleep", "1000"))
        self.cells.append(cell)
        return cell

    def hand(self, cast: Cast, cell: Cell, target: str, word: int = RUN, **labels: str) -> int:
        """Hand a cell to the keeper; give its slot in the page."""
        return int(cast("hand", cell.path.name, str(cell.path), target, labels, word))

    def press(self, *scopes: str, level: str = "kill", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Stop through the keeper's own socket."""
        message = {
            "op": "stop",
            "scopes": list(scopes),
            "level": level,
            "nonce": new_nonce(),
            "time_us": time.time_ns() // 1000,
            "channel": "cli",
        }
        with Conversation(self.place.keeper_socket, 10.0) as conversation:
            return conversation.ask({**message, **more})

    def left(self) -> list[Stop]:
        """Give what the next warden would find of the keepers' own orders."""
        return left_orders(self.place.memory, self.place.home)

    def page(self) -> PageReader:
        return PageReader(self.place.page)

    def close(self) -> None:
        keepers = [cast.keeper for cast in self.casts]
        for cast in self.casts:
            cast.close()
        for pid in filter(None, keepers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: gone(pid), "a keeper is gone at the end")
        for cell in self.cells:
            cell.close()
        if self.ground.is_dir():
            self.ground.rmdir()
        shutil.rmtree(self.place.run, ignore_errors=True)


def unified() -> str:
    """Where the v2 tree is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return fields[4]
    raise AssertionError("there is no cgroup v2 tree")


@contextlib.contextmanager
def keeper_stage(folder: Path, run: str = "") -> Iterator[KeeperStage]:
    """Put a stage up and take it down."""
    stage = KeeperStage(folder, run)
    try:
        yield stage
    finally:
        stage.close()


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
