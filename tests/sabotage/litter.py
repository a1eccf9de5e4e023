"""Leaves what could outlive a process: shared memory, queues, timers, locks, files in flight."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import signal
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
kept = []
for page in sys.argv[1:]:  # what of ours it may read it locks, against whoever comes after
    fd = os.open(page, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    kept.append(fd)
shm, queue = libc.shmget(0, 4096, 0o1666), libc.msgget(0, 0o1666)
libc.semget(0, 1, 0o1666)
rt = ctypes.CDLL("librt.so.1", use_errno=True)
rt.mq_open(b"/offswitch-acts", os.O_CREAT | os.O_RDWR, 0o666, None)
signal.signal(signal.SIGALRM, lambda *_: os.write(acts, b"!"))
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.0005)
signal.signal(signal.SIGIO, lambda *_: os.write(acts, b"!"))
# A ring of Unix sockets that carry each other, the witness file and a half-written pipe, so
# that they are held by nobody but the kernel's own queue.
left, right = socket.socketpair()
read_end, write_end = os.pipe()
fcntl.fcntl(read_end, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(read_end, fcntl.F_SETFL, fcntl.fcntl(read_end, fcntl.F_GETFL) | os.O_ASYNC)
for _ in range(8):
    given = [left.fileno(), right.fileno(), acts, read_end, write_end]
    left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))])
left.close()
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        break
while True:
    os.write(acts, b".")
    os.write(write_end, b"x")
    os.read(read_end, 1)
    time.sleep(0.0005)
