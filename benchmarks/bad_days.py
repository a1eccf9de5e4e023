"""What holds on bad days, in figures.

    benchmarks/bad_days.py [--quick] [--json] [--data DIR]

last-act-saturated      order sent → the last time that any of ten processes wrote the clock, while
                        40 programs spin; p99 of 200. The warden has no real-time priority here.
last-act-saturated-rt   likewise with the priority that this machine grants it.
keeper-way              the warden hangs (SIGSTOP): from the call of `offswitch stop` in a process
                        that runs already to the last act.
warden-killed-frozen    `kill -9` of the warden → its cell frozen, as `cgroup.events` says.
upgrade-frozen          cells that were frozen in 100 upgrades under load (hand_over.py).
upgrade-lost            stops that were pressed during them and neither answered nor latched.
upgrade-stop            a stop during a hand-over: pressed → last act.
rest-memory             warden, keeper, recorder, observer at rest: proportional set size, summed.
rest-cpu                the same four over some seconds, with 100 cells: share of a core.

It uses real wardens on folders of their own in /dev/shm, and needs root and cgroups.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hand_over
from acting import Acting
from figures import Figures

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import PYTHON, Installation, until  # noqa: E402 - the tests' own stage
from offswitch.cli import stop as stop_verb  # noqa: E402
from offswitch.control import frames  # noqa: E402
from offswitch.control.client import Conversation  # noqa: E402

SPINNERS = 40
SETTLE_S = 0.05
PATIENCE_NS = 10_000_000_000
FOUR = ("warden", "keeper", "recorder", "observer")
WITHOUT_PRIORITY = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")


class Spinners:
    """Programs that take every core; they can be made to wait while a target is born."""

    def __init__(self, count: int) -> None:
        argv = [PYTHON, "-I", "-S", "-c", "while True: pass"]
        self._all = [subprocess.Popen(argv) for _ in range(count)]

    def rest(self) -> None:
        """Make them wait."""
        for each in self._all:
            each.send_signal(signal.SIGSTOP)

    def spin(self) -> None:
        """Let them go on."""
        for each in self._all:
            each.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End them."""
        for each in self._all:
            each.kill()
            each.wait()


@contextlib.contextmanager
def installed(folder: Path, *program: str) -> Iterator[Installation]:
    """Give an installation whose warden runs; `program` comes before its command."""
    folder.mkdir()
    installation = Installation(folder)
    installation.program = [*program, *installation.program]
    try:
        yield installation.start()
    finally:
        installation.close()


def saturated(installation: Installation, spinners: Spinners, number: int) -> float:
    """Milliseconds from an order's sending to the last act, while the spinners spin."""
    spinners.rest()
    acting = Acting(installation, f"busy/{number}")
    order = frames.encode(installation.stop_message(acting.name))
    with Conversation(installation.place.warden_socket, 60.0) as conversation:
        spinners.spin()
        time.sleep(SETTLE_S)
        acting.await_act()
        sent = time.monotonic_ns()
        conversation.sock.sendall(order)
        conversation.receive()
        final = conversation.receive()
    spinners.rest()
    last = acting.last_act()
    acting.close()
    assert final is not None
    assert final["confirmed"], final
    return max(last - sent, 0) / 1e6


def measure_saturated(figures: Figures, folder: Path, key: str, *program: str) -> None:
    """Take the p99 of 200 presses while every core is taken."""
    figures.say(key)
    runs = figures.runs(200, 4)
    spinners = Spinners(SPINNERS)
    try:
        with installed(folder, *program) as installation:
            pid = installation.pids()["warden"]
            real_time = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER
            if real_time != (not program):
                figures.absent(key, "the warden's priority is not what this figure is about")
                return
            took = [saturated(installation, spinners, number) for number in range(runs)]
    finally:
        spinners.close()
    what = f"order → last act, {SPINNERS} spinning programs, p99, "
    what += "no real-time priority" if program else "real-time priority"
    target = "≤ 50 ms" if program else "≤ 5 ms"
    figures.value(key, took, "ms", what=what, target=target, share=0.99)


def call_stop(installation: Installation, name: str) -> int:
    """Call `offswitch stop` in a child that is there already; give when the call began."""
    ready, go, told = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.environ.update(installation.env)
            os.write(ready[1], b"1")
            os.read(go[0], 1)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os.write(told[1], struct.pack("<q", time.monotonic_ns()))
            stop_verb.main([name, "--json"])
        finally:
            os._exit(0)
    os.read(ready[0], 1)
    time.sleep(SETTLE_S)
    os.write(go[1], b"1")
    began = int(struct.unpack("<q", os.read(told[0], 8))[0])
    for fd in (*ready, *go, *told):
        os.close(fd)
    os.waitpid(pid, 0)
    return began


def keeper_way(installation: Installation, number: int) -> float:
    """Milliseconds from the call of `offswitch stop` to the last act, the warden hanging."""
    acting = Acting(installation, f"hung/{number}")
    warden = installation.pids()["warden"]
    os.kill(warden, signal.SIGSTOP)
    try:
        began = call_stop(installation, acting.name)
        last = acting.last_act()
    finally:
        os.kill(warden, signal.SIGCONT)
    until(lambda: installation.target(acting.name)["confirmed"], "the warden takes it in")
    acting.close()
    return max(last - began, 0) / 1e6


def killed_frozen(installation: Installation, number: int) -> float:
    """Milliseconds from `kill -9` of the warden until its cell is frozen; then a new one comes."""
    running = installation.run("sleep", "1000", target=f"lost/{number}")
    path = next(
        row["path"]
        for row in installation.ask({"op": "cells"})["cells"]
        if row["target"] == f"lost/{number}"
    )
    events = os.open(f"{path}/cgroup.events", os.O_RDONLY)
    warden = installation.pids()["warden"]
    time.sleep(SETTLE_S)
    began = time.monotonic_ns()
    os.kill(warden, signal.SIGKILL)
    while b"frozen 1" not in os.pread(events, 64, 0):
        assert time.monotonic_ns() - began < PATIENCE_NS, "it is never frozen"
        time.sleep(0.0001)
    took = (time.monotonic_ns() - began) / 1e6
    os.close(events)
    assert installation.warden is not None
    installation.warden.wait()
    installation.start()
    installation.stop(f"lost/{number}")
    installation.reset(f"lost/{number}")
    running.close()
    return took


def measure_losses(figures: Figures, folder: Path) -> None:
    """Take the keeper's two figures."""
    with installed(folder) as installation:
        figures.say("keeper-way")
        took = [keeper_way(installation, number) for number in range(figures.runs(100, 3))]
        what = "the warden hangs: call of `offswitch stop` → last act"
        figures.value("keeper-way", took, "ms", what=what, target="≤ 30 ms")
        figures.say("warden-killed-frozen")
        took = [killed_frozen(installation, number) for number in range(figures.runs(100, 3))]
        what = "kill -9 of the warden → cell frozen"
        figures.value("warden-killed-frozen", took, "ms", what=what, target="≤ 5 ms")


def proportional_mb(pid: int) -> float:
    """Megabytes of a process, what it shares counted by its share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used, all its threads, by its own clock."""
    return time.clock_gettime((~pid << 3) | 2)


def measure_rest(figures: Figures, folder: Path) -> None:
    """Take memory and processor of the four with 100 cells in which nothing happens."""
    figures.say("rest-memory, rest-cpu")
    with installed(folder) as installation:
        for number in range(100):
            installation.run("sleep", "1000", target=f"rest/{number}")
        time.sleep(2.0)
        pids = [pid for name, pid in installation.pids().items() if name in FOUR and pid]
        assert len(pids) == len(FOUR), installation.pids()
        memory = [sum(map(proportional_mb, pids))]
        shares = []
        for _ in range(figures.runs(10, 2)):
            before, began = sum(map(cpu_s, pids)), time.monotonic()
            time.sleep(2.0)
            shares.append(100 * (sum(map(cpu_s, pids)) - before) / (time.monotonic() - began))
    what = "warden, keeper, recorder, observer, with 100 cells"
    figures.value("rest-memory", memory, "MB", what=what, target="≤ 80 MB")
    figures.value("rest-cpu", shares, "%", what=what + ": share of a core", target="≤ 2 %")


KEYS: dict[str, Callable[[Figures, Path], None]] = {
    "last-act-saturated-rt": lambda figures, folder: measure_saturated(
        figures, folder / "rt", "last-act-saturated-rt"
    ),
    "last-act-saturated": lambda figures, folder: measure_saturated(
        figures, folder / "plain", "last-act-saturated", *WITHOUT_PRIORITY
    ),
    "keeper-way, warden-killed-frozen": lambda figures, folder: measure_losses(
        figures, folder / "lost"
    ),
    "upgrade-frozen, upgrade-lost, upgrade-stop": lambda figures, _folder: hand_over.add(figures),
    "rest-memory, rest-cpu": lambda figures, folder: measure_rest(figures, folder / "rest"),
}


def main() -> int:
    """Measure and print."""
    figures = Figures("bad_days", "What holds on bad days.")
    if os.geteuid() != 0:
        for key in KEYS:
            figures.absent(key, "cells need root here")
        figures.show()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-"))
    try:
        for measure in KEYS.values():
            measure(figures, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
