"""Has children that are stopped, and children that are traced by others of them."""

from __future__ import annotations

import ctypes
import os
import signal
import time

PTRACE_TRACEME, PTRACE_ATTACH = 0, 16
libc = ctypes.CDLL(None)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
for _ in range(3):
    child = os.fork()
    if child == 0:
        while True:
            os.write(acts, b".")
            time.sleep(0.0005)
    os.kill(child, signal.SIGSTOP)
traced = os.fork()
if traced == 0:
    libc.ptrace(PTRACE_TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        time.sleep(1)
victim = os.fork()
if victim == 0:
    while True:
        os.write(acts, b".")
        time.sleep(0.0005)
tracer = os.fork()
if tracer == 0:
    libc.ptrace(PTRACE_ATTACH, victim, None, None)
    while True:
        time.sleep(1)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
