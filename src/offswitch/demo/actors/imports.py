"""A worker that does not want to end: it ignores SIGTERM, and its children leave its session.

    python imports.py FOLDER CHILDREN

Each child is forked twice into a session of its own, and writes the clock into a file a
thousand times a second for as long as it lives.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

EVERY_S = 0.001


def child(path: str) -> NoReturn:
    """Act for as long as we live."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    while True:
        os.pwrite(fd, b"%020d %d\n" % (time.time_ns(), os.getpid()), 0)
        time.sleep(EVERY_S)


def leave_and_work(path: str) -> None:
    """Have a grandchild work in a session of its own."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    child(path)


def main(folder: str, children: str) -> NoReturn:
    """Ignore what can be ignored, leave children behind, and act."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for which in range(int(children)):
        leave_and_work(f"{folder}/worker-{which}")
        os.wait()
    child(f"{folder}/worker-main")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
