"""From inside a namespace: tries to reach the warden, the cell's init, and the page, and acts.

Its arguments are the warden's and the init's pid as the machine counts them, and paths that it
should not be able to write.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time

PTRACE_SEIZE, F_ADD_SEALS, F_GET_SEALS = 0x4206, 1033, 1034
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
done = []


def attempt(name, what):
    try:
        result = what()
    except (OSError, ValueError):
        return
    if result is None or result >= 0:
        done.append(name)


def forge(path):
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"\xff" * 8, 64)


def forge_by_mapping(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as mapped:
        mapped[64:72] = b"\xff" * 8


for pid in (1, *map(int, sys.argv[1:3])):
    attempt(f"kill {pid}", lambda: (pid != 1 and os.kill(pid, signal.SIGKILL)) or -(pid == 1))
    attempt(f"trace {pid}", lambda: libc.ptrace(PTRACE_SEIZE, pid, None, None))
    attempt(f"memory {pid}", lambda: len(open(f"/proc/{pid}/mem", "rb").read(1)) - 1)
    attempt(f"root {pid}", lambda: len(os.listdir(f"/proc/{pid}/root")) - 1)
for path in sys.argv[3:]:
    attempt(f"write {path}", lambda: os.open(path, os.O_WRONLY | os.O_CREAT))
page = os.environ.get("OFFSWITCH_PAGE")
if page:
    attempt("forge", lambda: forge(page))
    attempt("forge by a mapping", lambda: forge_by_mapping(page))
    attempt("shorten", lambda: os.truncate(page, 0))
for number in (signal.SIGKILL, signal.SIGSTOP):
    try:
        os.kill(1, number)  # a namespace's init hears neither
    except OSError:
        continue
with open("done", "w") as file:
    print(done, file=file)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
