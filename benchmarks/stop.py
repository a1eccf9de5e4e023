"""How fast a stop is, counted from when the warden accepted the order (CLOCK_MONOTONIC).

    benchmarks/stop.py [--quick] [--json] [--data DIR]

last-act    a tree of ten processes writes the clock in a loop; the order is accepted; the last
            time that any of them wrote, counted from there (0: none did any more). Beside it
            the same tree under a bare write to its `cgroup.kill`.
empty-N     order accepted → cell empty, against a bare write to `cgroup.kill` of a cell that the
            warden made in the same way, turn by turn. Both are seen by the same eye: this
            process reads `cgroup.events`.
cold-stop   `offswitch stop` of one process, from a cold shell to its confirmed exit, against
            `python -c pass` of the same interpreter, turn by turn.
recording   order sent → confirmed, with the recorder against a warden without one (200 pairs).
fsyncs      calls of fsync, fdatasync, sync_file_range and msync that warden and keeper make
            between the order and the last command, as strace sees them.

It uses a real warden on folders of its own in /dev/shm, and needs root and cgroups.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from acting import Acting
from figures import Figures

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import PYTHON, Installation, Running, until  # noqa: E402 - the tests' own stage
from offswitch.control import frames  # noqa: E402
from offswitch.control.client import Conversation  # noqa: E402

FEWEST = 3
SETTLE_S = 0.04
"""How long what was begun before is given to be done: births, burials, commits."""
PATIENCE_NS = 3_000_000_000
TREE = """
import os, sys, signal
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        while True: signal.pause()
print('born', flush=True)
while True: signal.pause()
"""
SYNCS = "fsync,fdatasync,sync_file_range,msync"
COMMAND = re.compile(r'bpf\(|pwrite64\(\d+, "1", 1|SOCK_DIAG|sendto\(\d+, "[^"]*", 13, 0, NULL')
"""The network's denial, the kill, the sockets' destruction, the sweep's request."""
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)")


class Bench:
    """One installation, its targets numbered through, so that none is ever latched before."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir()
        self.installation = Installation(folder)
        self.installation.start(*options)
        self.count = 0

    def run(self, *argv: str) -> tuple[str, Running]:
        """Run a program as a new target; give the target's name."""
        self.count += 1
        name = f"bench/{self.count}"
        return name, self.installation.run(*argv, target=name)

    def order(self, name: str) -> tuple[Conversation, bytes]:
        """Give an open connection and the bytes of the order: nothing is left but to send it."""
        conversation = Conversation(self.installation.place.warden_socket, 10.0)
        return conversation, frames.encode(self.installation.stop_message(name))

    def cell(self, name: str) -> str:
        """Give the path of a target's cgroup."""
        rows = self.installation.ask({"op": "cells"})["cells"]
        return str(next(row["path"] for row in rows if row["target"] == name))


def empty_at(events: int) -> int:
    """Wait until the cell is empty and give the time; the kernel's word, read every 100 µs."""
    end = time.monotonic_ns() + PATIENCE_NS
    while True:
        try:
            text = os.pread(events, 64, 0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            text = b"populated 0"  # the warden has removed it, which it does with empty ones only
        if b"populated 0" in text:
            return time.monotonic_ns()
        if time.monotonic_ns() > end:
            raise TimeoutError("the cell does not empty")
        time.sleep(0.0001)


def fall(
    bench: Bench, name: str, *, by_order: bool, at: Callable[[], None] = lambda: None
) -> tuple[int, int]:
    """Kill a target by an order or by a bare write; give when that began, and when it was empty."""
    path = bench.cell(name)
    events = os.open(f"{path}/cgroup.events", os.O_RDONLY)
    kill = os.open(f"{path}/cgroup.kill", os.O_WRONLY)
    conversation, order = bench.order(name)
    try:
        time.sleep(SETTLE_S)
        at()
        begin = time.monotonic_ns()
        if by_order:
            conversation.sock.sendall(order)
        else:
            os.write(kill, b"1")
        end = empty_at(events)
        if by_order:
            accepted, final = conversation.receive(), conversation.receive()
            assert accepted is not None
            assert final is not None
            assert final["confirmed"], final
            begin = int(accepted["accepted_ns"])
    finally:
        conversation.close()
        os.close(events)
        os.close(kill)
    return begin, end


def last_act(bench: Bench, *, by_order: bool) -> float:
    """Milliseconds from the order to the last time that one of ten processes wrote."""
    bench.count += 1
    acting = Acting(bench.installation, f"bench/{bench.count}")
    begin, _end = fall(bench, acting.name, by_order=by_order, at=acting.await_act)
    last = acting.last_act()
    acting.close()
    return max(last - begin, 0) / 1e6


def empty(bench: Bench, size: int, *, by_order: bool) -> float:
    """Milliseconds from the order to the empty cell."""
    name, running = bench.run(PYTHON, "-c", TREE, str(size))
    assert running.line() == "born"
    begin, end = fall(bench, name, by_order=by_order)
    running.close()
    return (end - begin) / 1e6


def timed(argv: list[str], env: dict[str, str]) -> float:
    """Milliseconds that a command takes, start and end included."""
    begin = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def unhindered() -> dict[str, str]:
    """Give the environment in which Python may keep what it compiled, as an installed one does."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def cold_stop(bench: Bench) -> float:
    """Milliseconds of the whole command, for one process."""
    name, running = bench.run("sleep", "1000")
    time.sleep(SETTLE_S)
    env = {**unhindered(), "OFFSWITCH_HOME": bench.installation.home}
    env["OFFSWITCH_RUN"] = bench.installation.run_folder
    took = timed([f"{os.path.dirname(sys.executable)}/offswitch", "stop", name], env)
    running.close()
    return took


def bare_python() -> float:
    """Milliseconds of an interpreter that does nothing."""
    time.sleep(SETTLE_S)
    return timed([sys.executable, "-c", "pass"], unhindered())


def confirmed(bench: Bench) -> float:
    """Milliseconds from the order to its proof."""
    name, running = bench.run("sleep", "1000")
    conversation, order = bench.order(name)
    time.sleep(SETTLE_S)
    begin = time.monotonic_ns()
    conversation.sock.sendall(order)
    conversation.receive()
    final = conversation.receive()
    took = (time.monotonic_ns() - begin) / 1e6
    assert final is not None
    assert final["confirmed"], final
    conversation.close()
    running.close()
    return took


def syncs(bench: Bench, trace: Path) -> int:
    """Count what warden and keeper sync between taking the order and the last command."""
    pids = bench.installation.pids()
    name, running = bench.run("sleep", "1000")
    argv = ["strace", "-f", "-ttt", "-s", "4096", "-o", str(trace)]
    argv += ["-e", f"trace={SYNCS},recvmsg,recvfrom,sendto,bpf,pwrite64"]
    for who in ("warden", "keeper"):
        argv += ["-p", str(pids[who])]
    tracer = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    for _ in range(2):
        tracer.stderr.readline()
    try:
        final = bench.installation.stop(name)
        assert final["confirmed"], final
        until(lambda: "fsync" in trace.read_text() or "fdatasync" in trace.read_text(), "synced")
    finally:
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()
    running.close()
    return _between(trace.read_text())


def _between(text: str) -> int:
    """Count the calls from the order's arrival to the last command, before it is answered."""
    ordered = commanded = 0.0
    answered = False
    when: list[float] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        at, call, rest = float(match[2]), match[3], match[4]
        if not ordered and '\\"op\\":\\"stop\\"' in rest:
            ordered = at
        elif '\\"accepted\\":true' in rest and ordered:
            answered = True
        elif ordered and not answered and COMMAND.search(f"{call}({rest}"):
            commanded = at
        elif call in SYNCS.split(","):
            when.append(at)
    assert ordered, "the order was not seen by strace"
    assert commanded > ordered, "the commands were not seen by strace"
    assert when, "nothing was ever synced: the trace is blind"
    return sum(ordered <= at <= commanded for at in when)


class Turns:
    """Takes both sides in turns, and turns the turn; with --quick no longer than it may."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def take(
        self,
        key: str,
        runs: int,
        seconds: float,
        one: Callable[[], float],
        other: Callable[[], float],
    ) -> tuple[list[float], list[float]]:
        """Give samples of both: `runs` pairs, with --quick as many as fit into `seconds`."""
        self._figures.say(key)
        ours: list[float] = []
        bare: list[float] = []
        end = time.monotonic() + seconds
        while len(ours) < runs:
            late = self._figures.quick and time.monotonic() > end
            if late and len(ours) >= FEWEST:
                break
            if len(ours) % 2:
                bare.append(other())
                ours.append(one())
            else:
                ours.append(one())
                bare.append(other())
        return ours, bare


@contextlib.contextmanager
def opened(folder: Path, *options: str) -> Iterator[Bench]:
    """Give an installation that has nothing latched yet."""
    bench = Bench(folder, *options)
    try:
        yield bench
    finally:
        bench.installation.close()


def measure(figures: Figures, bench: Bench, folder: Path) -> None:
    """Take all figures."""
    take = Turns(figures).take
    ours, bare = take(
        "last-act",
        40,
        5,
        lambda: last_act(bench, by_order=True),
        lambda: last_act(bench, by_order=False),
    )
    what = "order → last act of ten processes that write the clock"
    figures.value("last-act", ours, "ms", what=what, target="≤ 1 ms", baseline=bare)
    for size, seconds in ((10, 4), (100, 5), (500, 6)):
        ours, bare = take(
            f"empty-{size}",
            40 if size < 500 else 20,
            seconds,
            lambda size=size: empty(bench, size, by_order=True),
            lambda size=size: empty(bench, size, by_order=False),
        )
        what = f"order → cell empty, {size} processes, against a bare write to cgroup.kill"
        figures.against(f"empty-{size}", ours, bare, "ms", what=what, target="≤ 1.5 ×")
    cold_stop(bench)
    ours, bare = take("cold-stop", 60, 4, lambda: cold_stop(bench), bare_python)
    what = "`offswitch stop`, whole command, against `python -c pass`"
    figures.against("cold-stop", ours, bare, "ms", what=what, target="≤ 2.5 ×")
    with opened(folder / "on") as on, opened(folder / "off", "--no-recorder") as off:
        ours, bare = take("recording", 200, 10, lambda: confirmed(on), lambda: confirmed(off))
    what = "order → confirmed, recorder on against off"
    figures.against("recording", ours, bare, "ms", what=what, target="≤ 1.1 ×")
    if shutil.which("strace") is None:
        figures.absent("fsyncs", "strace is not installed")
        return
    figures.say("fsyncs")
    counts = [float(syncs(bench, folder / f"trace-{n}")) for n in range(figures.runs(20, 2))]
    what = "syncs of warden and keeper between order and last command"
    figures.value("fsyncs", counts, "calls", what=what, target="0")


def main() -> int:
    """Measure and print."""
    figures = Figures("stop", "How fast a stop is.")
    if os.geteuid() != 0:
        for key in ("last-act", "empty-10", "empty-100", "empty-500", "cold-stop", "recording"):
            figures.absent(key, "cells need root here")
        figures.absent("fsyncs", "cells need root here")
        figures.show()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-"))
    try:
        with opened(folder / "all") as bench:
            measure(figures, bench, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
