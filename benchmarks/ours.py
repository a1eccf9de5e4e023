"""Our gateway as it is installed, for figures: `benchmarks/gateway.py` and `benchmarks/llama.py`.

A real warden, and in front of the benchmark's server the gateway with one worker, sensing and all,
declared in a configuration of its own. What is stopped once stays latched, so each run has a target
of its own: whatever is asked below `/run-N/` (or, `by_header`, with `x-run: N`, for a server that
knows no such paths) belongs to `bench/run-N`, all else to `bench/usual`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fronting import Missing, cpu_ns, family, free_port, pinned, wait_for

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import Installation, until  # noqa: E402 - the tests' own stage
from offswitch.control import frames  # noqa: E402
from offswitch.control.client import Conversation  # noqa: E402

__all__ = ["Ours", "confirmed"]

_PATIENCE_S = 15.0
EVERYWHERE = frozenset(os.sched_getaffinity(0))
USUAL = "bench/usual"


class Ours:
    """One worker on the core of the gateway under test."""

    name = "ours"

    def __init__(
        self,
        folder: Path,
        upstream: int,
        *,
        runs: int = 120,
        more: str = "",
        by_header: bool = False,
        workers: int = 1,
    ) -> None:
        """Stand in front of a server; `more` is further configuration of each route."""
        if os.geteuid() != 0:
            raise Missing(
                "ours: its sockets are destroyed and its workers have rights as root only"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._run = 0
        self._asked: Conversation | None = None
        self._workers = workers
        self.installation = Installation(folder)
        self._configure(upstream, runs, more, by_header=by_header)
        here = os.sched_getaffinity(0)
        os.sched_setaffinity(0, EVERYWHERE)  # the warden is bound to no core
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.installation.start()
            os.sched_setaffinity(0, here)
            self._start(folder / "said")
        except BaseException:  # nobody else knows of it yet
            self.close()
            raise

    def _start(self, said: Path) -> None:
        place = self.installation.place
        argv = [sys.executable, "-I", "-m", "offswitch.gateway"]
        argv = pinned([*argv, "--home", place.home, "--run", place.run])
        with said.open("wb") as out:
            self.process = subprocess.Popen(argv, stderr=out, stdin=subprocess.DEVNULL)
        wait_for(self.port, self.process, said, _PATIENCE_S)
        until(lambda: len(self._family) > 2, "its worker runs")

    def _configure(self, upstream: int, runs: int, more: str, *, by_header: bool) -> None:
        text = f"""[[gateway]]
name = "models"
listen = ["127.0.0.1:{self.port}"]
upstream = "http://127.0.0.1:{upstream}"
workers = {self._workers}
limits = {{ connections = 8192 }}
"""
        usual = f'[[gateway.route]]\ntarget = "{USUAL}"\npath = "/v1/"\n{more}\n'
        single = [
            f'[[gateway.route]]\ntarget = "bench/run-{number}"\n'
            + (
                f'header = {{ x-run = "{number}" }}\n'
                if by_header
                else f'path = "/run-{number}/"\n'
            )
            + f"{more}\n"
            for number in range(runs)
        ]
        routes = [*single, usual] if by_header else [usual, *single]
        path = Path(self.installation.home, "offswitch.toml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "".join(routes))
        path.chmod(0o600)

    @property
    def prefix(self) -> str:
        """What stands before the path of whatever belongs to the target that is stopped next."""
        return f"/run-{self._run}"

    @property
    def header(self) -> str:
        """The header line of whatever belongs to it, where headers tell."""
        return f"x-run: {self._run}\r\n"

    @property
    def _family(self) -> list[int]:
        return family(self.process.pid) if self.process is not None else []

    @property
    def worker(self) -> int:
        """The worker's pid."""
        return self._family[-1]

    def cpu_ns(self) -> int:
        """Give what its processes have run, all together."""
        return cpu_ns(self._family)

    def prepare(self) -> None:
        """Open the connection of the next order: nothing is left but to send it."""
        message = self.installation.stop_message(f"bench/run-{self._run}")
        self._asked = Conversation(self.installation.place.warden_socket, 10.0)
        self._order = frames.encode(message)

    def order(self) -> None:
        """Stop what flows below `prefix`."""
        assert self._asked is not None
        self._asked.sock.sendall(self._order)

    def answer(self) -> dict[str, object]:
        """Give the stop's final answer, and go on to the next run."""
        assert self._asked is not None
        with contextlib.closing(self._asked) as asked:
            asked.receive()
            final = asked.receive()
        self._asked = None
        self._run += 1
        return dict(final or {})

    def ready(self) -> None:
        """Have the order answered; the next run has a target that nobody stopped."""
        if self._asked is not None:
            self.answer()

    def stall(self) -> None:
        """Stop the worker itself: from here on it does nothing."""
        os.kill(self.worker, signal.SIGSTOP)
        time.sleep(0.005)

    def close(self) -> None:
        """End it, and its warden."""
        try:
            if self.process is not None:
                self._end(self.process)
        finally:
            self.installation.close()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            process.wait()

    def _signal(self, number: int) -> None:
        for pid in reversed(self._family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def confirmed(answer: dict[str, object]) -> str:
    """Say what the warden's answer says of the gateway's layer."""
    targets = answer.get("targets")
    rows = targets if isinstance(targets, list) else []
    layers = [layer for row in rows for layer in row["layers"] if layer["layer"] == "gateway"]
    return "; ".join(f"{each['confirmed']}: {each['detail']}" for each in layers)
