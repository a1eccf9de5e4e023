"""A worker that does not want to end: it ignores SIGTERM, and its children leave its session.

    python imports.py FOLDER CHILDREN

Each child is forked twice into a session of its own, and writes the clock into a file a
thousand times a second for as long as it lives.
"""

import os
import signal
import sys
import time

EVERY_S = 0.001


def child(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    while True:
        os.pwrite(fd, b"%020d %d\n" % (time.time_ns(), os.getpid()), 0)
        time.sleep(EVERY_S)


def leave_and_work(path):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    child(path)


def main(folder, children):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in range(int(children)):
        leave_and_work(f"{folder}/worker-{number}")
        os.wait()
    child(f"{folder}/worker-main")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
