"""A real llama.cpp server with a tiny random model (scripts/llama), and how to see what it does.

Nothing asks it: polling a llama.cpp server keeps it from noticing that a client has gone. What it
does is told by its own log, each line with the time at which it came here, and by the time that its
threads have run, which the kernel counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

__all__ = ["LlamaRouter", "LlamaServer", "chat", "missing"]

ROOT = Path(__file__).resolve().parents[2]
_PLACE = Path(os.environ.get("OFFSWITCH_PEERS") or ROOT / ".peers") / "llama"
_LAUNCH = re.compile(r"launch_slot_: id +(\d+) \| task (-?\d+) \| processing")
_RELEASE = re.compile(r"release: id +(\d+) \| task (-?\d+) \|")
_SETTLED_NS = 40_000_000
_QUIET_NS = 60_000
"""CPU time in a look that is no work: a log line, a socket that is closed."""
_CPU_CLOCK = 2


def missing() -> str:
    """Say what is missing here; empty: nothing."""
    there = (_PLACE / "llama-server").exists() and (_PLACE / "model.gguf").exists()
    return "" if there else "llama.cpp's server (scripts/llama builds it, in some twelve minutes)"


def chat(*, stream: bool, tokens: int = 60_000, prompt: str = "Is it open?") -> bytes:
    """Give the body of a chat that goes on for long."""
    said = [{"role": "user", "content": prompt}]
    asked = {"model": "m-7", "messages": said, "stream": stream, "max_tokens": tokens}
    return json.dumps(asked | {"ignore_eos": True}).encode()


class LlamaServer:
    """One server; `slots` requests are worked on at once."""

    def __init__(self, slots: int = 4) -> None:
        """Start it, and wait until it listens."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        self.lines: list[tuple[int, str]] = []
        """What it logged, and when that came (CLOCK_MONOTONIC, ns)."""
        argv = [str(_PLACE / "llama-server"), *self._models()]
        argv += ["--host", "127.0.0.1", "--port", str(self.port), "-np", str(slots)]
        argv += ["-c", str(65536 * slots), "-t", "1", "-tb", "1", "-b", "128", "--log-timestamps"]
        argv += ["--no-cache-prompt"]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.logged("listening on", 30)
        except BaseException:  # nobody else knows of it yet
            self.close()
            raise

    def _models(self) -> list[str]:
        return ["-m", str(_PLACE / "model.gguf")]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # closed
            for line in self.process.stdout:
                self.lines.append((time.monotonic_ns(), line.decode(errors="replace").rstrip()))

    def logged(self, what: str, seconds: float = 10.0) -> int:
        """Wait until a line with `what` has come; give when."""
        end = time.monotonic() + seconds
        while True:
            for at, line in list(self.lines):
                if what in line:
                    return at
            if time.monotonic() > end or self.process.poll() is not None:
                tail = "\n".join(line for _, line in self.lines[-15:])
                raise AssertionError(f"llama.cpp never said {what!r}: {tail}")
            time.sleep(0.001)

    def began(self, after: int, seconds: float = 10.0) -> int:
        """Give the task that was begun since so many lines; waits for it."""
        return self._task(_LAUNCH, after, None, seconds)[1]

    def ended(self, task: int, seconds: float) -> int | None:
        """Give when a task was given up or done (ns); None: not within so many seconds."""
        try:
            return self._task(_RELEASE, 0, task, seconds)[0]
        except TimeoutError:
            return None

    def _task(
        self, pattern: re.Pattern[str], after: int, task: int | None, seconds: float
    ) -> tuple[int, int]:
        end = time.monotonic() + seconds
        while True:
            for at, line in self.lines[after:]:
                found = pattern.search(line)
                if found and task in {None, int(found[2])}:
                    return at, int(found[2])
            if time.monotonic() > end:
                raise TimeoutError(f"{pattern.pattern}: {self.lines[-5:]}")
            time.sleep(0.0005)

    def ran_ns(self) -> int:
        """Give what its threads have run, all together."""
        return time.clock_gettime_ns(((~self.process.pid) << 3) | _CPU_CLOCK)

    def idle_at(self, seconds: float = 3.0) -> int | None:
        """Give when it last worked, once it has not for a while; None: it goes on working."""
        end = time.monotonic() + seconds
        worked, ran = time.monotonic_ns(), self.ran_ns()
        while time.monotonic() < end:
            time.sleep(0.0002)
            now, runs = time.monotonic_ns(), self.ran_ns()
            if runs - ran > _QUIET_NS:
                worked = now
            elif now - worked > _SETTLED_NS:
                return worked
            ran = runs
        return None

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


class LlamaRouter(LlamaServer):
    """One that has a process for each model, and one model: `tiny`."""

    def __init__(self, folder: Path, preset: str = "", *more: str) -> None:
        """Write what its model is into `folder`, with what `preset` adds, and start it."""
        self._preset = folder / "preset.ini"
        self._preset.write_text(f"[tiny]\nmodel = {_PLACE / 'model.gguf'}\n{preset}")
        self._more = more
        super().__init__()

    def _models(self) -> list[str]:
        return ["--models-preset", str(self._preset), *self._more]
