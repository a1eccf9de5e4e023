"""A crowd that takes long to die: much memory, the lowest priority, stopped, traced, leaderless."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
memory = mmap.mmap(-1, 64 << 20)
for at in range(0, len(memory), 4096):
    memory[at] = 1
for number in range(60):
    if os.fork():
        continue
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    if number % 3 == 0:
        libc.ptrace(0, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
    if number % 3 == 1:
        threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)]).start()
        libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)
    while True:
        os.write(acts, b".")
        time.sleep(0.01)
while True:
    os.write(acts, b".")
    time.sleep(0.001)
