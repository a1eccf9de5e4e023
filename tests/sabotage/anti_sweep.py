"""Fights whoever sweeps its user, together with a second one: signals, traces and slows all."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PTRACE_ATTACH = 16
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
with open("/proc/self/comm", "w") as name:
    name.write("hostile")


def others():
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in {1, os.getpid(), os.getppid()}:
            yield int(entry)


def is_ally(pid):
    try:
        mine = os.stat(f"/proc/{pid}").st_uid == os.getuid()
        return mine and open(f"/proc/{pid}/comm").read() == "hostile\n"
    except OSError:
        return False


allies = int(sys.argv[1]) if len(sys.argv) > 1 else 1
while sum(map(is_ally, others())) < allies:
    time.sleep(0.001)
while True:
    os.write(acts, b".")
    for pid in others():
        if is_ally(pid):
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
        try:
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            pass
        libc.ptrace(PTRACE_ATTACH, pid, None, None)
