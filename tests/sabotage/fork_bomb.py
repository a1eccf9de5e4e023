"""Forks as long as it may, and each one acts."""

from __future__ import annotations

import os
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
    os.write(acts, b".")
