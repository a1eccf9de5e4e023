"""A service of the host that keeps a program running: Restart=always, after a tenth of a second.

    service.py COMMAND…        prints the pid of each program that it starts

At SIGTERM it ends what it started, and itself.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time


def main(argv: list[str]) -> None:
    """Start it, again and again."""
    ending = False
    program: subprocess.Popen[bytes] | None = None

    def end(_number: int, _frame: object) -> None:
        nonlocal ending
        ending = True
        if program is not None:
            program.kill()

    signal.signal(signal.SIGTERM, end)
    while not ending:
        program = subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL)
        print(program.pid, flush=True)
        program.wait()
        time.sleep(0.1)


main(sys.argv[1:])
