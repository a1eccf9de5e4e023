"""Whoever gives the order: a process that is there already (hot), or a command line (cold)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stopbench.case import PROGRAMS

__all__ = ["Caller", "Cold", "Hot", "NotArmed", "Said", "Word"]

_PATIENCE_S = 20.0


class NotArmed(Exception):
    """A caller could not even get ready: the system is out of reach."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a system says of its stop, and when (CLOCK_MONOTONIC, ns)."""

    order_ns: int
    claim_ns: int | None
    """None: whoever would have said it is gone, or silent."""
    claim: str
    """`stopped`: the target has stopped. `not`: it could not, or does not know. `sent`: its part is
    done. `silent`: nothing came."""
    words: str


Word = tuple[str, str]
"""A claim and the words that it was made in."""


class Caller(Protocol):
    """Gives one order."""

    pid: int

    def go(self) -> None:
        """Give the order; wait for nothing."""

    def said(self) -> Said:
        """Wait for what the system says of it."""

    def close(self) -> None:
        """End it."""


class Hot:
    """A caller that runs: a program of `programs/`, armed when this is made."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        """`argv`: an interpreter, one of `programs/`, and its arguments."""
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._went_ns = 0
        if self._line(_PATIENCE_S) != "armed":
            self._process.kill()
            _out, said = self._process.communicate()
            raise NotArmed(said.strip().rpartition("\n")[2] or "it is silent")

    @staticmethod
    def program(python: str, name: str, *args: str) -> list[str]:
        """Give the command of a caller."""
        return [python, "-I", str(PROGRAMS / name), *args]

    def _line(self, patience_s: float) -> str:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], patience_s)
        return out.readline().strip() if ready else ""

    def go(self) -> None:
        assert self._process.stdin is not None
        self._went_ns = time.monotonic_ns()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def said(self) -> Said:
        line = self._line(_PATIENCE_S)
        if not line:
            return Said(self._went_ns, None, "silent", "")
        told = json.loads(line)
        return Said(told["order_ns"], told["claim_ns"], told["claim"], told["words"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Cold:
    """A command line, from its start."""

    def __init__(
        self,
        argv: list[str],
        read: Callable[[int, str], Word],
        env: dict[str, str] | None = None,
    ) -> None:
        """`read` makes a claim of the exit code and the output."""
        self._argv, self._read, self._env = argv, read, env
        self._process: subprocess.Popen[str] | None = None
        self._went_ns = 0
        self.pid = 0

    def go(self) -> None:
        self._went_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._env if self._env is not None else dict(os.environ),
        )
        self.pid = self._process.pid

    def said(self) -> Said:
        assert self._process is not None
        try:
            out, _ = self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.close()
            return Said(self._went_ns, None, "silent", "")
        now = time.monotonic_ns()
        claim, words = self._read(self._process.returncode, out)
        return Said(self._went_ns, now, claim, words)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
