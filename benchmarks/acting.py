"""A target that acts all the time, so that its last act can be seen: ten processes write the clock.

Each has a slot of eight bytes in a file that the benchmark maps; CLOCK_MONOTONIC, nanoseconds.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import PYTHON, Installation, until  # noqa: E402 - the tests' own stage

__all__ = ["Acting"]

_SLOTS = 10
_PATIENCE_NS = 20_000_000_000
_STILL_S = 0.2
_WRITERS = """
import mmap, os, struct, time
fd = os.open('acts', os.O_RDWR)
acts = mmap.mmap(fd, 4096)
slot = 0
for n in range(1, 10):
    if os.fork() == 0:
        slot = n
        break
else:
    print('born', flush=True)
put, now = struct.Struct('<q').pack_into, time.monotonic_ns
while True: put(acts, 8 * slot, now())
"""


class Acting:
    """Such a target; it runs when this is made."""

    def __init__(self, installation: Installation, name: str) -> None:
        """Run it as target `name`, and wait until all ten have written."""
        folder = installation.work / name.replace("/", "-")
        folder.mkdir()
        path = folder / "acts"
        path.write_bytes(bytes(4096))
        folder.chmod(0o777)
        path.chmod(0o666)
        self.name = name
        argv = (PYTHON, "-I", "-S", "-c", _WRITERS)
        self._running = installation.run(*argv, target=name, cwd=str(folder))
        assert self._running.line() == "born"
        with path.open("rb") as file:
            self._seen = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
        until(lambda: all(self.times()), "all ten write")

    def times(self) -> tuple[int, ...]:
        """Give when each of them wrote last."""
        return struct.unpack_from(f"<{_SLOTS}q", self._seen)

    def await_act(self) -> None:
        """Wait for a moment in which one of them writes: to stop sleepers would prove nothing."""
        while max(self.times()) < time.monotonic_ns() - 20_000:
            time.sleep(0.0002)

    def last_act(self) -> int:
        """Wait until nobody has written for a while; give the last time."""
        end = time.monotonic_ns() + _PATIENCE_NS
        while time.monotonic_ns() < end:
            before = max(self.times())
            time.sleep(_STILL_S)
            if max(self.times()) == before:
                return before
        raise TimeoutError(f"{self.name} goes on acting")

    def close(self) -> None:
        """Let go of it."""
        self._running.close()
        self._seen.close()
