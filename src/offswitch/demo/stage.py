"""An installation for the length of a demonstration, that leaves nothing behind.

Home, run folder and shop lie in one temporary folder with a random name. Everything of ours
bears that name in its arguments, so that what should have ended and has not can be found by
it, and by nothing wider.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Self

from offswitch.control.client import call
from offswitch.control.place import Place
from offswitch.errors import OffswitchError, Timeout

__all__ = ["Answer", "Stage"]

_READY_S = 30.0
_COMMAND_S = 30.0
_END_S = 8.0
_LINGER_S = 0.3
_CGROUP_ROOT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of our commands said."""

    code: int
    out: str
    err: str
    wall_ms: float

    def json(self) -> dict[str, Any]:
        """Give the object on stdout; an empty one if there is none."""
        try:
            said = json.loads(self.out)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


class Stage:
    """The temporary installation; a context manager that clears everything away."""

    def __init__(self) -> None:
        """Make the folder; nothing runs yet."""
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="offswitch-demo-"))
        os.chmod(self.folder, 0o711)  # noqa: S103 - cells pass through it to the shop
        self.shop = f"{self.folder}/shop"
        os.mkdir(self.shop)
        self.place = Place(f"{self.folder}/home", f"{self.folder}/run")
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith("OFFSWITCH_")
        }
        self.env |= {"OFFSWITCH_HOME": self.place.home, "OFFSWITCH_RUN": self.place.run}
        self._started: list[subprocess.Popen[str]] = []

    # --- running things -----------------------------------------------------------

    def offswitch(self, *words: str) -> Answer:
        """Run one of our commands, as a person would, and wait for it."""
        begin = time.perf_counter()
        done = subprocess.run(
            _ours(*words),
            cwd=self.shop,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        wall_ms = (time.perf_counter() - begin) * 1000
        return Answer(done.returncode, done.stdout, done.stderr, wall_ms)

    def spawn(self, command: list[str], log: str) -> subprocess.Popen[str]:
        """Start a program beside us, in a session of its own, its stderr in the file `log`."""
        with open(f"{self.folder}/{log}.err", "wb") as err:
            process = subprocess.Popen(
                command,
                cwd=self.shop,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def spawn_ours(self, *words: str) -> subprocess.Popen[str]:
        """Start one of our commands beside us."""
        return self.spawn(_ours(*words), words[0])

    def said(self, log: str) -> str:
        """Give what a started program wrote to stderr."""
        with open(f"{self.folder}/{log}.err", encoding="utf-8", errors="replace") as file:
            return file.read()

    def rows(self) -> dict[str, dict[str, Any]]:
        """Give what the warden says of each target now; nothing while it does not answer."""
        try:
            status = call(self.place, {"op": "status", "scope": None}, 2.0)
        except OffswitchError:
            return {}
        return {row["target"]: row for row in status["targets"]}

    def await_that(self, what: str, true: Any, patience_s: float = _READY_S) -> None:  # noqa: ANN401
        """Wait until `true()` is; `Timeout` names what did not come."""
        deadline = time.monotonic() + patience_s
        while not true():
            if time.monotonic() > deadline:
                raise Timeout(f"{what}: not within {patience_s:.0f} s", "offswitch doctor")
            time.sleep(0.01)

    # --- clearing away ------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Clear everything away; a second Ctrl-C does not leave half of it behind."""
        ignored = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        try:
            self._clear()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _clear(self) -> None:
        alive = [name for name, row in self.rows().items() if row["pids"]]
        if alive:
            try:
                self.offswitch("stop", "--all")
            except subprocess.TimeoutExpired:
                pass  # what still runs is found below
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._end_the_rest()
        self._remove_cgroups()
        shutil.rmtree(self.place.shadow, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_the_rest(self) -> None:
        """Wait for whatever bears our folder's name in its arguments, then kill it."""
        deadline = time.monotonic() + _LINGER_S
        while pids := self._ours_still():
            if time.monotonic() > deadline:
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            time.sleep(0.02)
            if time.monotonic() > deadline + _END_S:
                return

    def _ours_still(self) -> list[int]:
        name = os.fsencode(self.folder)
        pids = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if name in file.read() and int(entry) != os.getpid():
                        pids.append(int(entry))
            except OSError:
                continue
        return pids

    def _remove_cgroups(self) -> None:
        """Remove the installation's empty cgroup folders, in every tree in which it has one."""
        for parent, folders, _files in os.walk(_CGROUP_ROOT):
            depth = parent[len(_CGROUP_ROOT) :].count("/")
            if depth > 1:
                folders.clear()
                continue
            if self.place.cgroup in folders:
                _remove_tree(f"{parent}/{self.place.cgroup}")


def _remove_tree(folder: str) -> None:
    for parent, folders, _files in os.walk(folder, topdown=False):
        for name in folders:
            _rmdir(f"{parent}/{name}")
    _rmdir(folder)


def _rmdir(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass  # still populated: its processes were not ours to kill here


def _ours(*words: str) -> list[str]:
    return [sys.executable, "-I", "-m", "offswitch", *words]
