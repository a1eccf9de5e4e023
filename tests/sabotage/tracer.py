"""Signals, traces, reads, slows and starves the processes that it is told."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
done = []


def attempt(name, pid, what):
    try:
        result = what()
    except OSError:
        return
    if result is None or result >= 0:
        done.append((name, pid))


for pid in map(int, sys.argv[1:]):
    for number in signal.valid_signals():
        attempt(f"signal {int(number)}", pid, lambda: os.kill(pid, number))
    attempt("attach", pid, lambda: libc.ptrace(PTRACE_ATTACH, pid, None, None))
    attempt("seize", pid, lambda: libc.ptrace(PTRACE_SEIZE, pid, None, None))
    for name in ("mem", "environ", "maps", "fd", "cwd", "root", "exe", "fdinfo", "io", "stack"):
        path = f"/proc/{pid}/{name}"
        look = os.readlink if name in {"cwd", "root", "exe"} else os.listdir
        if name in {"fd", "fdinfo", "cwd", "root", "exe"}:
            attempt(name, pid, lambda: bool(look(path)))
        else:
            attempt(name, pid, lambda: len(open(path, "rb").read(1)) - 1)
    attempt("oom", pid, lambda: open(f"/proc/{pid}/oom_score_adj", "w").write("1000"))
    attempt("nice", pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt("idle", pid, lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attempt("affinity", pid, lambda: os.sched_setaffinity(pid, {0}))
    attempt("limit", pid, lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0)) and None)
    attempt("group", pid, lambda: os.setpgid(pid, os.getpid()))
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        continue
    for fd in range(16):
        attempt(f"steal {fd}", pid, lambda: libc.syscall(438, pidfd, fd, 0))
    os.close(pidfd)
print("DONE:", done, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
