"""Tries to outrank the warden: real-time, deadline, a lower nice value, the OOM killer's mercy."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
libc = ctypes.CDLL(None, use_errno=True)
raised = []


def attempt(name, what):
    try:
        what()
    except (OSError, ValueError):
        return
    raised.append(name)


def deadline():
    attr = struct.pack("=IIQiIQQQ", 48, 6, 0, 0, 0, 9_000_000, 10_000_000, 10_000_000)
    if libc.syscall(314 if os.uname().machine == "x86_64" else 274, 0, attr, 0) < 0:
        raise OSError(ctypes.get_errno(), "sched_setattr")


attempt("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99)))
attempt("rr", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))
attempt("deadline", deadline)
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
attempt("group", lambda: os.setpriority(os.PRIO_PGRP, 0, -1))
attempt("limit", lambda: resource.setrlimit(resource.RLIMIT_RTPRIO, (99, 99)))
attempt("mercy", lambda: open("/proc/self/oom_score_adj", "w").write("-1"))
print("RAISED:", raised, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
