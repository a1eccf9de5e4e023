"""What one `guard.check()` costs, beside `threading.Event.is_set`, the flag people would use.

    benchmarks/guard.py [--quick] [--json] [--data DIR]

Both are called in the same run, in alternating blocks of a thousand calls; a figure is the
median block, with the loop's own cost in it. The page is a real one on tmpfs, the lease
fresh, so that the whole check is made: word, clock, lease.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from offswitch.clock import boot_id
from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, MAGIC, PAGE_SIZE, RUN
from offswitch.guard import Guard

CALLS = 1000
SLOT = 5


def written_page(folder: str) -> tuple[str, mmap.mmap]:
    """Make a page with a fresh lease and one running word, as a warden does."""
    path = f"{folder}/page"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
    os.posix_fallocate(fd, 0, PAGE_SIZE)
    page = mmap.mmap(fd, PAGE_SIZE)
    os.close(fd)
    page[:8] = MAGIC
    page[16:32] = bytes.fromhex(boot_id())
    words = memoryview(page).cast("Q")
    seconds = memoryview(page).cast("d")
    seconds[LEASE_SECONDS] = time.clock_gettime(time.CLOCK_BOOTTIME) + 3600
    words[FIRST_WORD + SLOT] = RUN
    words.release()
    seconds.release()
    return path, page


def block(call: Callable[[], object]) -> float:
    """Give nanoseconds for each of a thousand calls in a plain loop."""
    begin = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - begin) / CALLS


def measure(runs: int) -> tuple[list[float], list[float]]:
    """Time both, block by block, in turns; the first tenth warms up and is dropped."""
    folder = tempfile.mkdtemp(prefix="guard-bench-", dir="/dev/shm")
    try:
        path, _page = written_page(folder)
        check = Guard.from_page(path, SLOT).check
        is_set = threading.Event().is_set
        ours, theirs = [], []
        for _ in range(runs + runs // 10):
            ours.append(block(check))
            theirs.append(block(is_set))
    finally:
        os.unlink(f"{folder}/page")
        os.rmdir(folder)
    return ours[runs // 10 :], theirs[runs // 10 :]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--data", help="not used here")
    options = parser.parse_args()
    ours, theirs = measure(400 if options.quick else 4000)
    value, baseline = statistics.median(ours), statistics.median(theirs)
    figure = {
        "value": round(value, 1),
        "unit": "ns",
        "baseline": round(baseline, 1),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
        "runs": len(ours),
    }
    if options.json:
        print(json.dumps({"figures": {"check": figure}}))
        return 0
    low, high = min(ours), statistics.quantiles(ours, n=100)[98]
    print(f"guard.check()                {value:7.1f} ns   (target: at most 150)")
    print(f"  best, 99th percentile      {low:7.1f} ns  {high:7.1f} ns")
    print(f"threading.Event.is_set()     {baseline:7.1f} ns")
    print(f"ratio of the pairs, median   {figure['ratio']:7.2f}")
    print(f"Python {platform.python_version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
