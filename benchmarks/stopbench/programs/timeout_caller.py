"""The deadline of a `timeout` falls now: SIGALRM, by which its own timer tells it.

timeout_caller.py PID
"""

from __future__ import annotations

import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve

PID = int(sys.argv[1])
HANDLE = os.pidfd_open(PID)


def press() -> tuple[str, str]:
    """Let the time be out, and wait for its end."""
    signal.pidfd_send_signal(HANDLE, signal.SIGALRM)
    select.select([HANDLE], [], [], 10)
    return "sent", "it has ended: the time was out"


serve(press)
