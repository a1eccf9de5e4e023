"""One hostile program of tests/sabotage under the switch of a real installation."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installation import PYTHON, Installation, Running, until
from stage import SABOTAGE, alive_as

__all__ = ["QUIET_S", "Target", "acts_of", "hostile"]

QUIET_S = 0.05


def acts_of(installation: Installation) -> Path:
    """Give the folder of the targets' own folders: any user may pass, and it is in memory."""
    return Path(installation.run_folder + "-acts")


class Target:
    """One hostile program under the switch."""

    count = 0

    def __init__(
        self, installation: Installation, program: str, *args: str, user: str | None = None
    ) -> None:
        Target.count += 1
        self.installation = installation
        self.name = f"hostile/{program}-{Target.count}"
        self.folder = acts_of(installation) / str(Target.count)
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        shutil.copy(SABOTAGE / f"{program}.py", self.folder)
        (self.folder / "acts").touch()
        (self.folder / "acts").chmod(0o666 if user else 0o644)
        argv = [PYTHON, "-I", str(self.folder / f"{program}.py"), *args]
        self.running: Running = installation.run(
            *argv, target=self.name, user=user, cwd=str(self.folder)
        )
        os.set_blocking(self.running.out, False)
        self.uid = int(self.running.born["uid"])
        self.text = ""
        try:
            until(lambda: self.acts > 0, f"{program} acts", 10)
        except AssertionError as error:
            raise AssertionError(self.said()) from error

    @property
    def acts(self) -> int:
        return (self.folder / "acts").stat().st_size

    def said(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.running.out, 65536):
                self.text += data.decode(errors="replace")
        return self.text

    def told(self, word: str) -> str:
        """Wait for the line that it begins with a word; give the rest of it."""

        def line() -> str | None:
            lines = self.said().splitlines(keepends=True)
            return next(
                (each for each in lines if each.startswith(word) and each[-1] == "\n"), None
            )

        return str(until(line, f"it says {word}"))[len(word) :].strip()

    def stop(self, level: str = "kill") -> None:
        """Press; it must be confirmed by every layer."""
        answer = self.installation.stop(self.name, level=level)
        assert answer["confirmed"], answer
        layers = {each["layer"]: each["confirmed"] for each in answer["targets"][0]["layers"]}
        assert {layer for layer, seen in layers.items() if seen} >= {"process", "network"}

    def assert_dead(self) -> None:
        """Nothing lives as its user, and nothing acts."""
        before = self.acts
        assert alive_as(self.uid) == []
        time.sleep(QUIET_S)
        assert self.acts == before, "it acted after the stop"
        assert alive_as(self.uid) == []

    def kill_leader(self) -> None:
        """Kill its first process, if that is still the one that bears its pid."""
        pid = int(self.running.born["pid"])
        with contextlib.suppress(OSError):
            if str(self.running.born["cell"]) in Path(f"/proc/{pid}/cgroup").read_text():
                os.kill(pid, 9)

    def broker(self, program: str, *args: str) -> int:
        """Run a program as its user, outside of its cell, as cron and at do."""
        shutil.copy(SABOTAGE / f"{program}.py", self.folder)
        (self.folder / "acts").chmod(0o666)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                os.chdir(self.folder)
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
                os.closerange(0, 256)
                for _fd in range(3):
                    os.open(os.devnull, os.O_RDWR)
                os.execve(PYTHON, [PYTHON, "-I", f"{self.folder}/{program}.py", *args], {})
            finally:
                os._exit(1)
        return pid

    def close(self) -> None:
        self.running.close()
        self.installation._running.remove(self.running)
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def hostile(installation: Installation, program: str, *args: str, **more: Any) -> Iterator[Target]:  # noqa: ANN401
    target = Target(installation, program, *args, **more)
    try:
        yield target
    finally:
        target.close()
