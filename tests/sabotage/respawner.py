"""A supervisor that starts its worker again every 10 ms, and is itself supervised by it."""

from __future__ import annotations

import os
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
head = os.getpid()
while True:
    worker = os.fork()
    if worker == 0:
        os.setsid()
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            os.write(acts, b".")
            time.sleep(0.0005)
        if os.getppid() != head and os.fork() == 0:
            head = os.getpid()
            continue
        os._exit(0)
    os.waitpid(worker, 0)
