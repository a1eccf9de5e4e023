"""Goes into user, PID, mount, network and cgroup namespaces of its own, and acts as their root."""

from __future__ import annotations

import ctypes
import os
import time

NEWNS, NEWCGROUP, NEWUSER, NEWPID, NEWNET = 0x20000, 0x2000000, 0x10000000, 0x20000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
uid, gid = os.getuid(), os.getgid()
depth = 0
while depth < 3 and libc.unshare(NEWUSER | NEWPID | NEWNS | NEWNET | NEWCGROUP) == 0:
    open("/proc/self/setgroups", "w").write("deny") if depth == 0 else None
    open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
    open("/proc/self/gid_map", "w").write(f"0 {gid} 1")
    uid = gid = 0
    depth += 1
    if os.fork():
        while True:
            os.write(acts, b".")
            time.sleep(0.0005)
    os.setsid()
print("DEPTH:", depth, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
