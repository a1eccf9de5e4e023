"""Clears the signal of its parent's death, ignores hang-ups, and is orphaned on purpose."""

from __future__ import annotations

import ctypes
import os
import signal
import time

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
libc = ctypes.CDLL(None)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
if os.fork():
    time.sleep(0.01)
    os._exit(0)
libc.prctl(PR_SET_PDEATHSIG, 0)
libc.prctl(PR_SET_DUMPABLE, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.setpgid(0, 0)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
