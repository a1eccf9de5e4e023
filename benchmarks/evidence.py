"""Whether evidence delays the cut: order → last act with and without, turn by turn (ACT-11).

    benchmarks/evidence.py [--quick] [--json] [--data DIR]

evidence-cut       a process that holds memory (2 GiB, with --quick 256 MiB) writes the clock in a
                   loop; the order is accepted; how much later its last act comes with a snapshot
                   asked for (frozen first) than with a plain kill, as the median of the paired
                   differences
evidence-rest-cpu  what the gatherer takes of one processor, with ten targets at rest

It uses a real warden on folders of its own in /dev/shm, and needs root and cgroups.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from figures import Figures

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import PYTHON, Installation, until  # noqa: E402 - the tests' own stage

ACTOR = """
import mmap, os, struct, sys, time
held = bytearray(int(sys.argv[1]))
for at in range(0, len(held), 4096): held[at] = 1
fd = os.open('acts', os.O_RDWR | os.O_CREAT, 0o666)
os.ftruncate(fd, 8)
acts = memoryview(mmap.mmap(fd, 8)).cast('Q')
print('born', flush=True)
while True: acts[0] = time.monotonic_ns()
"""
REST_S = 10.0


def last_act_ms(one: Installation, name: str, size: int) -> float:
    """Stop a new actor; give milliseconds from the acceptance to its last act (0: none came)."""
    running = one.run(PYTHON, "-c", ACTOR, str(size), target=name)
    running.line()
    time.sleep(0.3)
    accepted = one.press(name)["accepted_ns"]
    running.event("exited")
    acted = int.from_bytes((one.work / "acts").read_bytes(), sys.byteorder)
    running.close()
    until(lambda: one.target(name)["confirmed"], "it is confirmed")
    one.reset(name)
    return max(0, acted - accepted) / 1e6


def cpu_s(pid: int) -> float:
    """Give the processor time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def main() -> int:
    """Measure and show."""
    figures = Figures("evidence", "whether evidence delays the cut")
    folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-", dir="/dev/shm"))
    one = Installation(folder)
    try:
        one.start()
        plan = {"snapshot": 250_000, "snapshot_memory": 1 << 30}
        one.ask({"op": "declare", "targets": [{"name": "with/snapshot", "stop": plan}]})
        size = (256 << 20) if figures.quick else (2 << 30)
        differences = []
        for _ in range(figures.runs(30, 5)):
            bare = last_act_ms(one, "plain/kill", size)
            differences.append(last_act_ms(one, "with/snapshot", size) - bare)
        figures.value(
            "evidence-cut", differences, "ms", target="≤ 50 ms", what="last act, with a snapshot"
        )
        for number in range(10):
            one.run("sleep", "1000", target=f"rest/{number}")
        pid = one.pids()["evidence"]
        time.sleep(2)
        before = cpu_s(pid)
        time.sleep(REST_S)
        share = (cpu_s(pid) - before) / REST_S * 100
        figures.value(
            "evidence-rest-cpu", [share], "%", target="≤ 0.5 %", what="the gatherer at rest"
        )
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
