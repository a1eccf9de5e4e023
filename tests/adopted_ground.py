"""Cgroups that are not ours, as a supervisor makes them: for tests of adoption."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from installation import until

PATIENCE_S = 30.0


def tree() -> str:
    """Give where the v2 tree of this machine is."""
    for folder in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.isfile(f"{folder}/cgroup.procs"):
            return folder
    raise AssertionError("no cgroup v2 tree")


class Ground:
    """A folder of the tree; everything in it is killed and removed at the end."""

    def __init__(self) -> None:
        self.path = f"/ground-{uuid.uuid4().hex[:12]}"
        self.folder = tree() + self.path
        os.mkdir(self.folder)
        self.children: list[subprocess.Popen[bytes]] = []

    def make(self, name: str) -> str:
        """Make a cgroup (the folders above it, too) and give its path from the tree's root."""
        os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        return f"{self.path}/{name}"

    def remove(self, name: str) -> None:
        """Remove one, as a supervisor does when it is empty."""
        until(lambda: not self.members(name), f"{name} is empty", PATIENCE_S)
        os.rmdir(f"{self.folder}/{name}")

    def members(self, name: str) -> list[int]:
        text = Path(f"{self.folder}/{name}/cgroup.procs").read_text()
        return [int(line) for line in text.split()]

    def born(self, name: str, *argv: str, **more: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
        """Start a program there: it puts itself in, then execs."""
        into = f"{self.folder}/{name}/cgroup.procs"
        words = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', into, *argv]
        more.setdefault("stdin", subprocess.DEVNULL)
        child = subprocess.Popen(words, **more)
        self.children.append(child)
        return child

    def close(self) -> None:
        """Leave no trace."""
        for child in self.children:
            with contextlib.suppress(OSError):
                child.send_signal(signal.SIGKILL)
        end = time.monotonic() + PATIENCE_S
        with contextlib.suppress(OSError):
            Path(self.folder, "cgroup.freeze").write_text("0")
            Path(self.folder, "cgroup.kill").write_text("1")
        for child in self.children:
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
        while os.path.isdir(self.folder) and time.monotonic() < end:
            for folder, _folders, _files in os.walk(self.folder, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            time.sleep(0.01)
