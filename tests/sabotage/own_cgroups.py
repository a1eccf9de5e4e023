"""As root of its own namespaces: mounts the cgroups anew, nests, threads, is born in others."""

from __future__ import annotations

import ctypes
import os
import struct
import time

NEWNS, NEWCGROUP, NEWUSER = 0x20000, 0x2000000, 0x10000000
CLONE_INTO_CGROUP, SIGCHLD, MS_BIND_REC = 0x200000000, 17, 4096 | 16384
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
uid, gid = os.getuid(), os.getgid()
reached = []


def attempt(name, what):
    try:
        if what() is not False:
            reached.append(name)
    except OSError:
        return


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def clone_into(folder):
    """Bear a child right in another cgroup (clone3)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    args = struct.pack("=11Q", CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, fd)
    pid = libc.syscall(435, args, len(args))
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    os.close(fd)
    return pid > 0


if libc.unshare(NEWUSER | NEWNS | NEWCGROUP) == 0:
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")
    libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
    os.mkdir("/tmp/tree")
    print("ANEW:", libc.mount(b"none", b"/tmp/tree", b"cgroup2", 0, None), flush=True)
for top in ["/tmp/tree", "/sys/fs/cgroup"]:
    for folder, _folders, files in os.walk(top):
        if "cgroup.procs" not in files or folder.count("/") > 5:
            continue
        attempt(f"{folder} mkdir", lambda: os.mkdir(f"{folder}/mine"))
        attempt(f"{folder} threaded", lambda: write(f"{folder}/cgroup.type", "threaded"))
        attempt(f"{folder} procs", lambda: write(f"{folder}/cgroup.procs", str(os.getpid())))
        attempt(f"{folder} threads", lambda: write(f"{folder}/cgroup.threads", "0"))
        attempt(f"{folder} thaw", lambda: write(f"{folder}/cgroup.freeze", "0"))
        if folder != "/tmp/tree":  # that is its own cell, where a child of its may be born
            attempt(f"{folder} clone", lambda: clone_into(folder))
print("REACHED:", reached, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
