"""Never stays: each process bears the next one and ends, so that every list of pids is old."""

from __future__ import annotations

import os

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    os.write(acts, b".")
    try:
        if os.fork():
            os._exit(0)
    except BlockingIOError:
        pass  # its dead are not reaped yet, and count
