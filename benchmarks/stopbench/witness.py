"""The harness's end of the witness (programs/eyewitness.py)."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stopbench.case import PROGRAMS, PYTHON

__all__ = ["Seen", "Witness"]

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one actor; times are CLOCK_MONOTONIC, in nanoseconds."""

    acts: int
    first_ns: int
    last_ns: int
    lag_ns: int
    """By how much an act was ever taken in later than the actor's own clock said."""


class Witness:
    """A process of its own, asked over a pipe."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "witness")
        self._process = subprocess.Popen(
            [PYTHON, "-I", "-S", str(PROGRAMS / "eyewitness.py"), self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "up\n":
            raise RuntimeError("the witness does not come up")

    def seen(self, key: str) -> dict[str, Seen]:
        """Give what was seen of each actor of a case so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{key}\n")
        self._process.stdin.flush()
        return {
            who: Seen(*acts) for who, acts in json.loads(self._process.stdout.readline()).items()
        }

    def wait_for(self, key: str, actors: frozenset[str]) -> None:
        """Wait until all of `actors` act."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            seen = self.seen(key)
            now = time.monotonic_ns()
            if all(who in seen and seen[who].last_ns > now - 50_000_000 for who in actors):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"{key}: only {sorted(seen)} of {sorted(actors)} act")
            time.sleep(0.01)

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
