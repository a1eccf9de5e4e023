"""A chain of parents that wait for their child as no signal ends (vfork), under subreapers."""

from __future__ import annotations

import ctypes
import os
import time

PR_SET_CHILD_SUBREAPER = 36
CLONE_VM, CLONE_VFORK, SIGCHLD = 0x100, 0x4000, 17
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
DEPTH = 40
for _depth in range(DEPTH):
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    # clone(2) with CLONE_VFORK alone: the parent waits in the kernel, memory is not shared.
    if libc.syscall(56, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) > 0:
        os.write(acts, b"!")  # only when all below it have ended
        time.sleep(60)
    os.setsid()
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
