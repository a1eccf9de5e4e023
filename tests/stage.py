"""A stage for cells: the real parts of a warden, put together by hand, without its daemon.

`Stage` makes cells, bears programs in them, stops them in the order of SR-8, and asks the
real observer. What it looks at itself to judge a stop comes from elsewhere: /proc, the
kernel's socket list by `ss`-like walks of its own, files and sockets that the programs
write to from inside.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offswitch.actuators.network import Network
from offswitch.actuators.process import Freeze, Kill
from offswitch.actuators.sockets import Sockets
from offswitch.actuators.sweep import Sweep
from offswitch.control.place import Place
from offswitch.warden.cells import birth, users
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.limits import Limits, default_limits
from offswitch.warden.observer_link import ObserverLink
from offswitch.warden.sweeper_link import SweeperLink

PYTHON = "/usr/bin/python3"
"""The system's: any user may run it."""
SABOTAGE = Path(__file__).parent / "sabotage"
PATIENCE_S = 10.0


def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE_S) -> Any:  # noqa: ANN401
    """Wait until `what()` is true, looking every 2 ms; fail with `why` when it never is."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            message = f"in vain: {why}"
            raise AssertionError(message)
        time.sleep(0.002)


def alive_as(uid: int) -> list[int]:
    """List living processes of a user, by this test's own reading of /proc."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{entry}/status").read_text(errors="replace")
            lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            ids = lines["Uid"].split()
            sweeper = ids[0].startswith("18999999")  # at work, it bears the id as its effective one
            dead = lines["State"].split()[0] in "ZX" and int(lines["Threads"]) <= 1
            if str(uid) in ids and not sweeper and not dead:
                found.append(int(entry))
    return found


def is_dead(pid: int) -> bool:
    """Whether a child of this test is dead, reaped or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


@dataclass
class Actor:
    """One program in its cell."""

    cell: Cell
    birth: birth.Birth
    out: int
    """Its stdout and stderr."""
    folder: Path
    status: int | None = None
    text: bytes = field(default=b"")

    @property
    def acts(self) -> int:
        """How often it, or anything that it begot, has acted: the size of its witness file."""
        return (self.folder / "acts").stat().st_size

    def said(self) -> str:
        """Read what it has written so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.out, 65536):
                self.text += data
        return self.text.decode(errors="replace")

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Wait for the leader's end; return its wait status."""
        if self.status is None:
            poll = select.poll()
            poll.register(self.birth.pidfd, select.POLLIN)
            assert poll.poll(seconds * 1000), f"it has not ended; it said: {self.said()}"
            self.status = os.waitpid(self.birth.pid, 0)[1]
        return self.status


class Stage:
    """Cells and what stops them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = Place(str(root / "home"), str(root / "run"))
        for folder in (self.place.home, self.place.run):
            os.makedirs(folder, mode=0o711)
        shutil.copytree(SABOTAGE, root / "sabotage")
        self.log = str(root / "log")
        self.sweeper = SweeperLink.start(self.log)
        self.observer = ObserverLink.start(self.log)
        self.network = Network()
        self.network.keep_warm(cells.ground(self.place))
        self.sockets = Sockets()
        self.sweep = Sweep(self.sweeper.ask, self.sweeper.alive)
        self.kill_steps = (self.network, Kill(), self.sockets, self.sweep)
        self.freeze_steps = (self.network, Freeze())
        self.actors: list[Actor] = []
        self.outsiders: list[int] = []
        self._number = 0

    def broker(self, actor: Actor, program: str, *args: str) -> int:
        """Do what cron, at and sshd do: outside every cell, become its user and run something."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                os.chdir(actor.folder)
                os.setgroups([])
                os.setresgid(actor.cell.uid, actor.cell.uid, actor.cell.uid)
                os.setresuid(actor.cell.uid, actor.cell.uid, actor.cell.uid)
                os.closerange(0, 256)
                for _fd in range(3):
                    os.open(os.devnull, os.O_RDWR)
                argv = [PYTHON, "-I", self.program(program), *args]
                os.execve(PYTHON, argv, {"PATH": "/usr/bin:/bin"})
            finally:
                os._exit(1)
        self.outsiders.append(pid)
        uid = actor.cell.uid
        until(lambda: pid in alive_as(uid) or is_dead(pid), "it has become the actor's user")
        return pid

    def program(self, name: str) -> str:
        """Give the path of a sabotage program, in a folder that every user may read."""
        return str(self.root / "sabotage" / f"{name}.py")

    def cell(self, *, uid: int | None = None, limits: Limits | None = None) -> Cell:
        """Make a cell, of an allotted user unless another is named."""
        self._number += 1
        own = uid is None
        return cells.create(
            self.place,
            f"t{self._number}",
            uid=users.allot(self.place) if uid is None else uid,
            own_uid=own,
            limits=default_limits() if limits is None else limits,
        )

    def folder(self) -> Path:
        """Make a folder that every user may write to, with an empty witness file."""
        path = Path(tempfile.mkdtemp(dir=self.root))
        path.chmod(0o777)
        (path / "acts").touch()
        (path / "acts").chmod(0o666)
        return path

    def bear(
        self,
        argv: Sequence[str],
        *,
        uid: int | None = None,
        limits: Limits | None = None,
        stdin: int | None = None,
        **spec: Any,  # noqa: ANN401
    ) -> Actor:
        """Bear a program; its working directory is a folder of its own unless `cwd` is given."""
        cell = self.cell(uid=uid, limits=limits)
        folder = self.folder()
        out, into = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(out, False)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        given: dict[str, Any] = {
            "cwd": str(folder),
            "env": {"PATH": "/usr/bin:/bin"},
            "fds": (null if stdin is None else stdin, into, into),
            "uid": cell.uid,
            "gid": cell.uid,
            "limits": default_limits() if limits is None else limits,
        }
        try:
            born = birth.spawn(cell, birth.Spec(argv=tuple(argv), **(given | spec)))
        finally:
            os.close(into)
            os.close(null)
        actor = Actor(cell, born, out, folder)
        self.actors.append(actor)
        return actor

    def play(self, program: str, *args: str, **options: Any) -> Actor:  # noqa: ANN401
        """Bear a program of tests/sabotage and wait until it acts."""
        actor = self.bear([PYTHON, "-I", self.program(program), *args], **options)
        until(lambda: actor.acts > 0, f"{program} acts; it said {actor.said()!r}")
        return actor

    def failure(self, actor: Actor) -> birth.BirthFailed | None:
        """Wait for the birth's report; None when the program was begun."""
        text = b""
        poll = select.poll()
        poll.register(actor.birth.report_fd, select.POLLIN)
        while True:
            assert poll.poll(PATIENCE_S * 1000)
            data = os.read(actor.birth.report_fd, 65536)
            if not data:
                return birth.failure(text)
            text += data

    def stop(self, actor: Actor, level: str = "kill") -> dict[str, bool]:
        """Stop in the order of SR-8; return what the observer saw, layer by layer."""
        steps = self.freeze_steps if level == "freeze" else self.kill_steps
        for step in steps:
            step.trip(actor.cell)
        layers = ["process", "network"]
        if actor.cell.own_uid and level != "freeze":
            layers.append("sweep")
        return self.look(actor, layers, level)

    def look(
        self, actor: Actor, layers: Sequence[str], level: str = "kill", deadline_ms: int = 2000
    ) -> dict[str, bool]:
        """Ask the observer; return layer → seen."""
        self._number += 1
        self.observer.look(self._number, actor.cell.facts(), layers, level, deadline_ms)
        seen: dict[str, bool] = {}
        end = time.monotonic() + deadline_ms / 1000 + PATIENCE_S
        while len(seen) < len(layers):
            assert time.monotonic() < end, f"no answer: {Path(self.log).read_text()}"
            for message in self.messages(1.0):
                if message.get("id") == self._number:
                    seen[message["layer"]] = message["seen"]
            if seen.get("process") and not seen.get("network"):
                self.sockets.trip(actor.cell)  # what was being opened at the kill appears now
        return seen

    def messages(self, seconds: float) -> list[dict[str, Any]]:
        """Wait for the observer's next messages."""
        select.select([self.observer], [], [], seconds)
        return self.observer.messages()

    def assert_nothing_acts(self, actor: Actor, seconds: float = 0.1) -> None:
        """Nothing of it lives, by our own reading, and nothing acts any more."""
        before = actor.acts
        if actor.cell.own_uid:
            assert alive_as(actor.cell.uid) == []
        assert actor.cell.pids() == []
        time.sleep(seconds)
        assert actor.acts == before, "it acted after the stop"

    def close(self) -> None:
        """End and remove everything."""
        for actor in self.actors:
            actor.cell.thaw()
            actor.cell.kill()
            if actor.cell.own_uid:
                self.sweeper.ask(actor.cell.uid)
        for pid in self.outsiders:
            os.kill(pid, signal.SIGKILL)
        for pid in self.outsiders:  # all dead before one is waited for: they may trace each other
            os.waitpid(pid, 0)
        for actor in self.actors:
            with contextlib.suppress(ChildProcessError):
                actor.wait()
            os.close(actor.birth.pidfd)
            os.close(actor.birth.report_fd)
            os.close(actor.out)
            until(lambda: _removed(self, actor.cell), f"{actor.cell.path} can be removed")  # noqa: B023
            actor.cell.close()
        self.sockets.close()
        self.network.close()
        for link in (self.sweeper, self.observer):
            link.close()
            os.waitpid(link.pid, 0)
        cells.clear_ground(self.place)


def _removed(stage: Stage, cell: Cell) -> bool:
    stage.sockets.trip(cell)
    return cell.remove()


@contextlib.contextmanager
def raised() -> Iterator[Stage]:
    """Give a stage in a folder that others may pass through, and take it down."""
    root = Path(tempfile.mkdtemp(prefix="offswitch-stage-"))
    root.chmod(0o711)
    stage = Stage(root)
    try:
        yield stage
    finally:
        stage.close()
        shutil.rmtree(root, ignore_errors=True)
