"""Podman with folders of its own, and its Docker-compatible API, for tests that need containers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from installation import until
from needs import needs_program, needs_root

__all__ = ["Engine", "engine_in"]


class Engine:
    """Podman with folders of its own, and one kind of container: busybox, asleep."""

    def __init__(self, base: Path) -> None:
        self.podman = needs_program("podman")
        needs_program("runc")
        self.rootfs = base / "rootfs"
        (self.rootfs / "bin").mkdir(parents=True)
        shutil.copy(needs_program("busybox"), self.rootfs / "bin/busybox")
        (self.rootfs / "bin/sleep").symlink_to("busybox")
        # Not below pytest's own folder: a mount that a killed run leaves would be in its way.
        self.store = Path(tempfile.mkdtemp(prefix="engine-", dir="/var/tmp"))
        self.run_root = tempfile.mkdtemp(prefix="engine-", dir="/dev/shm")
        self.words = [self.podman, "--root", str(self.store), "--runroot", self.run_root]
        self.words += ["--cgroup-manager=cgroupfs", "--runtime", "runc"]
        self.socket = f"{self.run_root}/api.sock"
        self._service: subprocess.Popen[bytes] | None = None
        self.name = f"adopted-{uuid.uuid4().hex[:8]}"

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.words, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def serve(self) -> str:
        """Have its API listen, anew if it does already; give the socket's path."""
        self.hang_up()
        words = [*self.words, "system", "service", "--time", "0", f"unix://{self.socket}"]
        self._service = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: os.path.exists(self.socket), "the engine listens")
        return self.socket

    def hang_up(self) -> None:
        """End the API."""
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the container anew; a new one has a new id."""
        self("rm", "-f", "-t0", self.name)
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        words = ("run", "-d", "--name", self.name, *limits, "--network=none")
        return self(*words, *more, "--rootfs", str(self.rootfs), "/bin/sleep", "1000")

    def running(self) -> bool:
        return self("inspect", "-f", "{{.State.Running}}", self.name).stdout.strip() == "true"


@contextlib.contextmanager
def engine_in(base: Path) -> Iterator[Engine]:
    """Give an engine, and leave no trace of it."""
    needs_root()
    made = Engine(base)
    try:
        yield made
    finally:
        made("rm", "-f", "-t0", made.name)
        made.hang_up()
        until(lambda: not at_work(made), "what it started to clean up has ended")
        words = ["umount", "-l", f"{made.store}/overlay"]
        while subprocess.run(words, check=False, capture_output=True).returncode == 0:
            pass  # each of its commands may have mounted it over again
        for folder in (made.run_root, made.store):
            shutil.rmtree(folder, ignore_errors=True)


def at_work(engine: Engine) -> bool:
    """Whether a process of it is left: where a container ended, others are begun that clean up."""
    mark = str(engine.store).encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False
