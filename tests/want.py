"""Want of something: processes without a descriptor, a box without memory or processes left."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from installation import until
from needs import needs, needs_root

__all__ = ["Box", "without_descriptors"]


@contextmanager
def without_descriptors(*pids: int) -> Iterator[None]:
    """Leave some processes not one descriptor more than they hold."""
    before = {}
    for pid in pids:
        most = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        held = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        lowest = next(number for number in range(most + 1) if number not in held)
        before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[pid][1]))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


class Box:
    """A v1 cgroup that an installation is started in, and everything that it starts."""

    def __init__(self, controller: str, name: str) -> None:
        needs_root()
        base = Path("/sys/fs/cgroup", controller)
        needs((base / "cgroup.procs").exists(), f"a v1 tree of {controller}")
        self.path = base / name
        self.path.mkdir()
        script = f'echo $$ > {self.path}/cgroup.procs && exec "$@"'
        self.under = ["/bin/sh", "-c", script, "sh"]

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def write(self, name: str, value: object) -> None:
        (self.path / name).write_text(f"{value}\n")

    def close(self) -> None:
        for folder, _folders, _files in os.walk(self.path, topdown=False):
            until(lambda at=folder: not Path(at, "cgroup.procs").read_text(), "empty")
            os.rmdir(folder)
