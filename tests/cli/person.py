"""An ordinary person on this machine: no root, a home of their own, nothing below /root.

The interpreter of a developer may lie below a closed home. In a mount namespace of the
person's own it is shown at its path, and nothing else of that home.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import offswitch

PERSON = 61_234
"""A user id that nobody has."""


def _closed_above(path: str) -> str | None:
    """Give the topmost folder on the way to `path` that others cannot pass."""
    for folder in [*reversed(Path(path).parents), Path(path)]:
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return str(folder)
    return None


def _needed() -> list[str]:
    paths = {sys.base_prefix, sys.prefix, os.path.dirname(os.path.dirname(offswitch.__file__))}
    return sorted(os.path.realpath(path) for path in paths)


def _opened() -> str:
    """Give shell lines that show what is needed below closed folders, and nothing else there."""
    lines, shown = [], set()
    for number, path in enumerate(_needed()):
        closed = _closed_above(path)
        if closed is None:
            continue
        if closed not in shown:
            shown.add(closed)
            hidden = " ".join(
                f"mkdir -p $T/{n}; mount --bind {shlex.quote(p)} $T/{n};"
                for n, p in enumerate(_needed())
                if _closed_above(p) == closed
            )
            lines.append(f"{hidden} mount -t tmpfs -o mode=0755 none {shlex.quote(closed)}")
        lines.append(f"mkdir -p {shlex.quote(path)}; mount --bind $T/{number} {shlex.quote(path)}")
    return "\n".join(lines)


class Person:
    """Somebody with a home; runs commands as themselves, and leaves nothing behind."""

    def __init__(self) -> None:
        self.home = tempfile.mkdtemp(prefix="offswitch-person-")
        self.env = {
            "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
            "HOME": self.home,
            "LANG": "C.UTF-8",
            "OFFSWITCH_HOME": f"{self.home}/state",
            "OFFSWITCH_RUN": f"{self.home}/run",
        }
        os.chown(self.home, PERSON, PERSON)

    def command(self, *argv: str) -> list[str]:
        """Give the command line that runs `argv` as this person."""
        script = (
            f"set -e; T=$(mktemp -d); mount -t tmpfs none $T\n{_opened()}\n"
            f'exec setpriv --reuid {PERSON} --regid {PERSON} --clear-groups "$@"'
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *argv]

    def run(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[bytes]:  # noqa: ANN401
        more.setdefault("timeout", 60)
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            self.command(*argv),
            env=self.env,
            cwd=self.home,
            capture_output=True,
            check=False,
            **more,
        )

    def spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*argv),
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End every process of this person; nobody else has their id."""
        end = time.monotonic() + 5
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
            assert time.monotonic() < end, f"{pids} do not end"
        for folder in Path("/dev/shm").glob("offswitch-*"):
            if folder.stat().st_uid == PERSON:
                shutil.rmtree(folder)
        shutil.rmtree(self.home)

    @staticmethod
    def pids() -> list[int]:
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and os.stat(f"/proc/{entry}").st_uid == PERSON:
                    found.append(int(entry))
            except OSError:
                continue
        return found
