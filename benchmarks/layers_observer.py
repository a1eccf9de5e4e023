"""The part of `layers.py` about the verdict: order → the observer has seen processes and sockets.

A cell of forty processes, each with an open connection to a server outside, is killed. The verdict
is the later one of the layers *process* and *network*, as the stop's own answer says it. Beside it,
in the same run, what a bare program needs that writes `cgroup.kill` of such a cell by itself, reads
`cgroup.events` until it is empty, and looks at nothing else.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from figures import Figures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from installation import PYTHON, Installation, until

KEYS = ("observer",)
_PROCESSES = 40
_RUNS, _QUICK_RUNS = 40, 10
_AGENT = """
import os, socket, sys, time
for _ in range({processes} - 1):
    if os.fork() == 0:
        break
kept = socket.create_connection(("127.0.0.1", {port}))
kept.sendall(b"x")
while True:
    time.sleep(0.01)
"""


class _Server:
    """Takes every connection, counts them, and says nothing."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(one)

    def let_go(self) -> None:
        taken, self.taken = self.taken, []
        for each in taken:
            each.close()

    def close(self) -> None:
        self.listener.close()
        self.let_go()


def measure(figures: Figures, seconds: float | None) -> None:
    """Take the figure; `seconds` is how long it may take, None: as long as it takes."""
    if os.geteuid() != 0:
        figures.absent("observer", "without root there is no cell with a cgroup of its own")
        return
    runs = _RUNS if seconds is None else _QUICK_RUNS
    folder = Path(tempfile.mkdtemp(prefix="offswitch-layers-"))
    server = _Server()
    stage = Installation(folder)
    ours: list[float] = []
    bare: list[float] = []
    try:
        stage.start()
        for number in range(runs):
            ours.append(_verdict(stage, server, number))
            bare.append(_bare(stage, server, number))
    finally:
        stage.close()
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    what = f"order → the observer's verdict on {_PROCESSES} processes and their sockets"
    figures.value("observer", ours, "ms", target="≤ 100 ms", what=what)
    spare = sorted(bare)[len(bare) // 2]
    print(f"layers: a bare cgroup.kill was seen empty after {spare:.3g} ms", file=sys.stderr)


def _agent(stage: Installation, server: _Server, name: str) -> str:
    """Start one, and give its cell's folder once all of it is at work."""
    text = _AGENT.format(processes=_PROCESSES, port=server.port)
    stage.run(PYTHON, "-c", text, target=name, user="root")
    until(lambda: len(server.taken) >= _PROCESSES, "all of it has connected")
    return str(stage.ask({"op": "target", "name": name})["cell"]["path"])


def _verdict(stage: Installation, server: _Server, number: int) -> float:
    name = f"bench/ours-{number}"
    _agent(stage, server, name)
    answer = stage.stop(name)
    [target] = answer["targets"]
    seen = {layer["layer"]: layer["effect_ns"] for layer in target["layers"]}
    server.let_go()
    if seen["process"] is None or seen["network"] is None:
        raise AssertionError(f"not confirmed: {target}")
    return float(max(seen["process"], seen["network"])) / 1e6


def _bare(stage: Installation, server: _Server, number: int) -> float:
    path = _agent(stage, server, f"bench/bare-{number}")
    kill = os.open(f"{path}/cgroup.kill", os.O_WRONLY)
    events = os.open(f"{path}/cgroup.events", os.O_RDONLY)
    began = time.monotonic_ns()
    os.write(kill, b"1")
    try:
        while b"populated 0" not in os.pread(events, 256, 0):
            time.sleep(0.0001)
    except OSError:
        pass  # the warden saw it, too, and has taken the folder away
    took = (time.monotonic_ns() - began) / 1e6
    os.close(kill)
    os.close(events)
    server.let_go()
    return took
