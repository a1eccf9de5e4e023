"""A pen: the cgroup that everything of one case is put into, so that nothing of it is left over.

It is the harness's, not the system's: no system that is measured is told of it, and it is killed
only when the figures have been taken.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

__all__ = ["NOBODY", "Pen", "unified"]

NOBODY = 65534
_PATIENCE_S = 10.0


def unified() -> Path:
    """Where the v2 tree is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    raise FileNotFoundError("there is no cgroup v2 tree")


class Pen:
    """One cgroup."""

    def __init__(self, name: str) -> None:
        self.path = unified() / name
        self.path.mkdir()
        self._started: list[subprocess.Popen[str]] = []

    def entering(self, argv: list[str], *, nobody: bool = False) -> list[str]:
        """Give `argv` so that it runs in here from its first instruction on."""
        into = f'echo 0 >{self.path}/cgroup.procs && exec "$@"'
        if nobody:
            ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            argv = ["setpriv", *ids, *argv]
        return ["/bin/sh", "-c", into, "sh", *argv]

    def spawn(
        self,
        argv: list[str],
        *,
        nobody: bool = False,
        talks: bool = False,
        env: dict[str, str] | None = None,
        errors: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program in here; with `talks` its stdin and stdout are ours."""
        pipe = subprocess.PIPE if talks else subprocess.DEVNULL
        with open(errors or os.devnull, "ab") as said:
            started = subprocess.Popen(
                self.entering(argv, nobody=nobody),
                stdin=pipe,
                stdout=pipe,
                stderr=said,
                text=True,
                cwd="/",
                env=env,
                start_new_session=True,
            )
        self._started.append(started)
        return started

    def close(self) -> None:
        """Kill whatever is left in here."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")
        for each in self._started:
            each.wait(_PATIENCE_S)
            for stream in (each.stdin, each.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        end = time.monotonic() + _PATIENCE_S
        while self.path.is_dir() and time.monotonic() < end:
            try:
                os.rmdir(self.path)
            except OSError:
                time.sleep(0.002)
