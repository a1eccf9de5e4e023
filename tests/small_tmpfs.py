"""A tmpfs of a few pages, for tests of what happens when there is no room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_tmpfs(at: Path, size: int) -> Iterator[Path]:
    """Mount one at the folder `at` (made if need be), and take it away again."""
    at.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(folder: Path) -> Path:
    """Write until there is no room left in `folder`; give the file that took it."""
    path = folder / "ballast"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    size = 1 << 16
    while size:
        done = 0
        with contextlib.suppress(OSError):
            done = os.write(fd, b"x" * size)
        if done < size:
            size //= 2
    os.close(fd)
    assert os.statvfs(folder).f_bavail == 0
    return path
