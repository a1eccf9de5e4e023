"""kill -9 and pkill -g from a process that runs: one system call.

    kill_caller.py pid|group NUMBER

It is written in the manual that a signal was sent, and no more; so that is what it says.
"""

from __future__ import annotations

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve


def press() -> tuple[str, str]:
    """Send SIGKILL."""
    number = int(sys.argv[2])
    if sys.argv[1] == "group":
        os.killpg(number, signal.SIGKILL)
    else:
        os.kill(number, signal.SIGKILL)
    return "sent", "0"


serve(press)
