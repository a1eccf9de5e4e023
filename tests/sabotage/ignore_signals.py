"""Ignores every signal that can be ignored, blocks the others, and goes on."""

from __future__ import annotations

import os
import signal
import time

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
