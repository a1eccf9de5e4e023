"""A real installation for a test: its own folders, its own warden, and no trace afterwards."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.client import Conversation, call
from offswitch.control.page import PageReader
from offswitch.control.place import Place
from offswitch.errors import NotFound, OffswitchError, Storage
from offswitch.ledger.reader import reading

PYTHON = "/usr/bin/python3"
"""The system's: any user may run it."""
PATIENCE_S = 20.0


def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE_S) -> Any:  # noqa: ANN401
    """Wait until `what()` is true; fail with `why` when it never is."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            message = f"in vain: {why}"
            raise AssertionError(message)
        time.sleep(0.005)


def _lives(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


class Running:
    """One target that was run over the control socket, and the connection that relays it."""

    def __init__(self, conversation: Conversation, born: dict[str, Any], out: int) -> None:
        self.conversation = conversation
        self.born = born
        self.out = out

    @property
    def target(self) -> str:
        return str(self.born["target"])

    def event(self, name: str) -> dict[str, Any]:
        """Wait for one of the relay's events."""
        while True:
            message = self.conversation.receive()
            assert message is not None, f"the warden hung up before {name}"
            if message.get("event") == name:
                return message

    def read(self, size: int = 65536) -> bytes:
        return os.read(self.out, size)

    def line(self) -> str:
        """Read one line of the target's output."""
        text = b""
        while not text.endswith(b"\n"):
            byte = os.read(self.out, 1)
            if not byte:
                break
            text += byte
        return text.decode().strip()

    def close(self) -> None:
        self.conversation.close()
        out, self.out = self.out, -1
        if out >= 0:  # closed twice, a descriptor would be somebody else's
            os.close(out)


class Installation:
    """One installation: folders, a warden, and what a test asks of it."""

    def __init__(self, folder: Path, run: str | None = None, gid: int = 0) -> None:
        self.folder = folder
        self.gid = gid
        self.children: list[subprocess.Popen[str]] = []
        self.home = str(folder / "home")
        self.run_folder = run or tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm")
        if gid:
            os.chown(self.run_folder, 0, gid)
            os.chmod(self.run_folder, 0o711)
        self.place = Place(self.home, self.run_folder)
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.program = [sys.executable, "-I", "-m", "offswitch.warden"]
        """How the warden is started; a test may put it into surroundings of its own."""
        self.warden: subprocess.Popen[bytes] | None = None
        self._running: list[Running] = []
        self._helpers: set[int] = set()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the command line means this installation."""
        env = dict(os.environ)
        env.update(OFFSWITCH_HOME=self.home, OFFSWITCH_RUN=self.run_folder)
        env.pop("OFFSWITCH_CONFIG", None)
        return env

    # --- the warden ---------------------------------------------------------------

    def launch(self, *options: str) -> None:
        """Start a warden, and wait for nothing."""
        os.makedirs(self.home, exist_ok=True)
        argv = [*self.program, "--home", self.home, "--run", self.run_folder, *options]
        with open(f"{self.home}/stderr", "ab") as errors:
            self.warden = subprocess.Popen(argv, stderr=errors, start_new_session=True)

    def start(self, *options: str) -> Installation:
        self.launch(*options)
        until(self.answers, f"the warden answers: {self.said()}")
        self._note_helpers()
        return self

    def answers(self) -> bool:
        assert self.warden is not None
        assert self.warden.poll() is None, self.said()
        try:
            return bool(self.ask({"op": "ping"})["pid"] == self.warden.pid)
        except OffswitchError:
            return False

    def said(self) -> str:
        text = ""
        for name in ("stderr", "warden.log"):
            with contextlib.suppress(OSError):
                text += Path(self.home, name).read_text(errors="replace")[-4000:]
        return text

    def pids(self) -> dict[str, int]:
        return dict(self.ask({"op": "health"})["pids"])

    def _note_helpers(self) -> None:
        with contextlib.suppress(OffswitchError):
            self._helpers.update(pid for pid in self.pids().values() if pid)

    def kill_warden(self) -> None:
        """`kill -9` the warden alone."""
        assert self.warden is not None
        self._note_helpers()
        self.warden.kill()
        self.warden.wait()

    def kill_everything(self) -> None:
        """`kill -9` every process of ours."""
        assert self.warden is not None
        pids = self.pids()
        self._helpers.update(pid for pid in pids.values() if pid)
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.warden.wait()

    def restart(self) -> None:
        self.start()

    # --- asking -------------------------------------------------------------------

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        return call(self.place, message)

    def stop(self, *scopes: str, level: str = "kill", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Press, and give the final answer."""
        with Conversation(self.place.warden_socket, 30.0) as conversation:
            accepted = conversation.ask(self.stop_message(*scopes, level=level, **more))
            assert accepted["accepted"] is True
            final = conversation.receive()
            assert final is not None
            return final

    def press(self, *scopes: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Press, and give the first answer; hang up before the final one."""
        return self.ask(self.stop_message(*scopes, **more))

    @staticmethod
    def stop_message(*scopes: str, level: str = "kill", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "op": "stop",
            "scopes": list(scopes),
            "level": level,
            "nonce": new_nonce(),
            "time_us": time.time_ns() // 1000,
            "channel": "cli",
            **more,
        }

    def reset(self, scope: str, reason: str = "a test", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        message = {"op": "reset", "scope": scope, "reason": reason, "nonce": new_nonce()}
        return self.ask({**message, "time_us": time.time_ns() // 1000, **more})

    def status(self, scope: str | None = None) -> dict[str, Any]:
        return self.ask({"op": "status", "scope": scope})

    def target(self, name: str) -> dict[str, Any]:
        """Give the status of one target."""
        found = [row for row in self.status()["targets"] if row["target"] == name]
        assert found, f"{name} is not in status"
        return dict(found[0])

    def run(
        self,
        *argv: str,
        target: str | None = None,
        user: str | None = None,
        cwd: str | None = None,
        op: str = "run",
    ) -> Running:
        """Run a program in a cell; its stdout and stderr are readable at `Running.out`."""
        conversation = Conversation(self.place.warden_socket, 30.0)
        out, into = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        message = {
            "op": op,
            "target": target,
            "argv": list(argv),
            "cwd": cwd or str(self.work),
            "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            "user": user,
            "tty": False,
            "raw": True,
        }
        try:
            born = conversation.ask(message, (null, into, into))
        except BaseException:
            conversation.close()
            os.close(out)
            raise
        finally:
            os.close(null)
            os.close(into)
        running = Running(conversation, born, out)
        self._running.append(running)
        return running

    def entries(self) -> list[dict[str, Any]]:
        """Read the ledger's entries as `offswitch ledger show --all --json` does.

        What the recorder has not entered yet is waited for, though not for ever.
        """
        end = time.monotonic() + 1
        with contextlib.suppress(OffswitchError):
            while self.ask({"op": "health"})["journal"]["behind"] and time.monotonic() < end:
                time.sleep(0.005)
        try:
            with reading(self.home) as reader:
                shown = list(reader.shown(0, reader.head.size))
        except (NotFound, Storage):  # the recorder has not begun it yet
            return []
        return [{**entry.sealed, **entry.public, "index": entry.index} for entry in shown]

    def cli(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Run the command line against this installation."""
        argv = [f"{os.path.dirname(sys.executable)}/offswitch", *args]
        more.setdefault("timeout", 60)
        return subprocess.run(
            argv, env=self.env, capture_output=True, text=True, check=False, **more
        )

    def slot(self, name: str) -> int:
        """Give the number of a target's word in the page."""
        kept = json.loads(Path(self.place.memory, "cells.json").read_text())
        return {str(cell["target"]): int(cell["slot"]) for cell in kept["cells"]}[name]

    def word(self, name: str) -> int:
        """Read a target's word in the page, as its guard would."""
        page = PageReader(self.place.page)
        try:
            return page.word(self.slot(name))
        finally:
            page.close()

    # --- the end ------------------------------------------------------------------

    def close(self) -> None:
        """End everything of this installation, cells first; leave no trace."""
        for running in self._running:
            with contextlib.suppress(OSError):
                running.close()
        for child in self.children:
            child.kill()
            child.communicate()
        self._note_helpers()
        for path in self.cgroups():
            with contextlib.suppress(OSError):
                Path(path, "cgroup.kill").write_text("1")
        if self.warden is not None and self.warden.poll() is None:
            self.warden.send_signal(signal.SIGCONT)
            self.warden.terminate()
            try:
                self.warden.wait(5)
            except subprocess.TimeoutExpired:
                self.warden.kill()
                self.warden.wait()
        for pid in self._helpers:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(_lives, self._helpers)), "our processes end", 5)
        for path in self.cgroups():
            for folder, _folders, _files in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    until(lambda at=folder: not Path(at, "cgroup.procs").read_text(), "empty", 5)
                    os.rmdir(folder)
        shutil.rmtree(self.run_folder, ignore_errors=True)
        if self.place.memory != self.run_folder:
            shutil.rmtree(self.place.memory, ignore_errors=True)

    def cgroups(self) -> Iterator[str]:
        """List this installation's folders in every cgroup tree."""
        for tree in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            if os.path.isfile(f"{tree}/cgroup.procs") and os.path.isdir(
                f"{tree}/{self.place.cgroup}"
            ):
                yield f"{tree}/{self.place.cgroup}"
        for controller in ("pids", "memory"):
            for base, folders, _files in os.walk(f"/sys/fs/cgroup/{controller}"):
                if self.place.cgroup in folders:
                    yield f"{base}/{self.place.cgroup}"
