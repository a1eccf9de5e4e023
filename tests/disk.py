"""A small disk of its own for a test: mounted, filled or frozen, unmounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from needs import needs, needs_program, needs_root


class Disk:
    """A tmpfs that can be filled to the last byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Take every block that is free; inodes, too."""
        with open(self._ballast, "ab") as file, suppress(OSError):
            size = 1 << 20
            while size:
                try:
                    os.write(file.fileno(), bytes(size))
                except OSError:
                    size //= 2
        with suppress(OSError):
            for number in range(100_000):
                (self.path / f"ballast-{number}").touch()

    def free(self) -> None:
        for file in self.path.glob("ballast*"):
            file.unlink()


@contextmanager
def mounted(path: Path, size: str) -> Iterator[Disk]:
    """Mount a tmpfs of `size` at `path`."""
    path.mkdir(exist_ok=True)
    options = f"size={size},nr_inodes=200,mode=0711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "test", str(path)], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def freezable(path: Path, image: Path) -> Iterator[Path]:
    """Mount a real file system of 16 MiB, kept in `image`, at `path`; it can be `frozen`."""
    needs_root()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run([needs_program("mkfs.ext4"), "-q", str(image)], check=True)
    path.mkdir(exist_ok=True)
    command = ["mount", "-o", "loop", str(image), str(path)]
    needs(subprocess.run(command, check=False).returncode == 0, "loop devices")
    os.chmod(path, 0o711)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def frozen(path: Path) -> Iterator[None]:
    """Freeze the file system at `path`: every write to it blocks in the kernel."""
    subprocess.run([needs_program("fsfreeze"), "-f", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run([needs_program("fsfreeze"), "-u", str(path)], check=True)
