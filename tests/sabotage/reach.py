"""Tries every way from inside a cell to a process of ours: 0 may succeed.

Argument: a JSON object {"pids": [...], "files": [...], "spool", "inet": [[family, port], ...]}.
Prints one JSON list of what worked; as root outside of every cell (the twin) most of it does.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time

asked = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
worked = []


def attempt(name, call):
    try:
        if call() == -1:
            return
    except (OSError, ValueError, PermissionError):
        return
    worked.append(name)


def number(x86_64, aarch64):
    return {"x86_64": x86_64, "aarch64": aarch64}[os.uname().machine]


def word():
    return ctypes.create_string_buffer(8)


def vectors(pid):
    """How to read or write another's memory without tracing it."""
    local = word()
    there = struct.pack("QQ", 0x400000, 8)
    here = struct.pack("QQ", ctypes.addressof(local), 8)
    return here, there


def steal(pid):
    fd = os.pidfd_open(pid)
    try:
        return libc.syscall(438, fd, 0, 0)
    finally:
        os.close(fd)


def move(pid):
    """Move it into our own cgroup, where we are stopped together."""
    for tree in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{tree}/cgroup.procs"):
            with open("/proc/self/cgroup") as file:
                own = next(line[3:].strip() for line in file if line.startswith("0::"))
            fd = os.open(f"{tree}{own}/cgroup.procs", os.O_WRONLY)
            os.write(fd, str(pid).encode())
            return None
    return -1


def enter(pid, space):
    fd = os.open(f"/proc/{pid}/ns/{space}", os.O_RDONLY)
    return libc.setns(fd, 0)


def own_world():
    """A user namespace gives every capability, over what is in it alone."""
    if libc.unshare(0x10000000 | 0x20000000) != 0:
        return -1
    os.kill(asked["pids"][0], 0)
    return None


for pid in asked["pids"]:
    for name in ("mem", "environ", "maps", "auxv", "syscall", "stack", "io", "pagemap", "smaps"):
        attempt(f"{pid} reads {name}", lambda: not open(f"/proc/{pid}/{name}", "rb").read(1) and -1)
    attempt(f"{pid} writes mem", lambda: os.open(f"/proc/{pid}/mem", os.O_RDWR))
    for name, text in (("oom_score_adj", "1000"), ("coredump_filter", "0"), ("comm", "x")):
        attempt(f"{pid} {name}", lambda: open(f"/proc/{pid}/{name}", "w").write(text))
    for name in ("root", "cwd", "exe"):
        attempt(f"{pid} {name}", lambda: os.listdir(f"/proc/{pid}/{name}/") and 0)
        attempt(f"{pid} {name}", lambda: os.readlink(f"/proc/{pid}/{name}") and 0)
    for fd in range(32):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            attempt(
                f"{pid} fd {fd}", lambda: os.open(f"/proc/{pid}/fd/{fd}", flags | os.O_NONBLOCK)
            )
        attempt(f"{pid} fdinfo {fd}", lambda: open(f"/proc/{pid}/fdinfo/{fd}").read() and 0)
    here, there = vectors(pid)
    for name, call in (("readv", number(310, 270)), ("writev", number(311, 271))):
        attempt(f"{pid} {name}", lambda: libc.syscall(call, pid, here, 1, there, 1, 0))
    attempt(f"{pid} kcmp", lambda: libc.syscall(number(312, 272), os.getpid(), pid, 2, 0, 0))
    attempt(f"{pid} pidfd_getfd", lambda: steal(pid))
    for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        attempt(f"{pid} ptrace {request:x}", lambda: libc.ptrace(request, pid, 0, 0))
    for how in (0, signal.SIGCONT, signal.SIGCHLD):
        attempt(f"{pid} signal {how}", lambda: os.kill(pid, how))
        attempt(
            f"{pid} pidfd signal {how}",
            lambda: signal.pidfd_send_signal(os.pidfd_open(pid), how) and 0,
        )
    attempt(f"{pid} queued", lambda: libc.syscall(number(129, 138), pid, 0, bytes(128)))
    attempt(f"{pid} limits", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE) and 0)
    attempt(f"{pid} priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt(f"{pid} affinity", lambda: os.sched_setaffinity(pid, {0}))
    attempt(f"{pid} scheduler", lambda: os.sched_setscheduler(pid, 3, os.sched_param(0)))
    attempt(f"{pid} io priority", lambda: libc.syscall(number(251, 30), 1, pid, 3 << 13))
    attempt(f"{pid} perf", lambda: libc.syscall(number(298, 241), bytes(128), pid, -1, -1, 0))
    attempt(f"{pid} pages", lambda: libc.syscall(number(256, 238), pid, 8, bytes(8), bytes(8)))
    attempt(f"{pid} own cgroup", lambda: move(pid))
    for space in ("mnt", "pid", "user", "net", "ipc", "cgroup"):
        attempt(f"{pid} ns {space}", lambda: enter(pid, space))
for path in asked["files"]:
    for flags in (os.O_WRONLY, os.O_RDWR):
        attempt(f"{path} {flags}", lambda: os.open(path, flags | os.O_NONBLOCK))
    if path != os.environ.get("OFFSWITCH_PAGE"):  # nobody of ours takes a lock on the page
        attempt(
            f"{path} lock", lambda: fcntl.flock(os.open(path, 0), fcntl.LOCK_EX | fcntl.LOCK_NB)
        )
    attempt(f"{path} truncated", lambda: os.truncate(path, 0))
    attempt(f"{path} unlinked", lambda: os.unlink(path))
    attempt(f"{path} linked", lambda: os.link(path, f"linked-{os.getpid()}"))
page = os.environ.get("OFFSWITCH_PAGE", "")
attempt("page mapped", lambda: mmap.mmap(os.open(page, os.O_RDONLY), 4096, prot=3) and 0)
attempt("page sealed shut", lambda: fcntl.fcntl(os.open(page, 0), 1033, 0xF) and 0)
attempt("spool", lambda: os.open(f"{asked['spool']}/all", os.O_CREAT | os.O_WRONLY))
for family, port in asked["inet"]:
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        with socket.socket(family) as sock:
            sock.settimeout(0.3)
            attempt(f"{host} {port}", lambda: sock.connect((host, port)))


def vsock(cid):
    with socket.socket(socket.AF_VSOCK) as sock:
        sock.settimeout(0.2)
        sock.connect((cid, 1))


for cid in (0, 1, 2):
    attempt(f"vsock {cid}", lambda: vsock(cid))


def netlink(protocol, groups, kind=0, body=b"", flags=1):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    sock.settimeout(0.5)
    sock.bind((0, groups))
    if not kind:
        return None
    sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 4, 1, 0) + body)
    answer = sock.recv(65536)
    code = struct.unpack_from("=i", answer, 16)[0] if answer[4:6] == b"\2\0" else 0
    return -1 if code < 0 else None


# SOCK_DESTROY of all that listens, and audit. (Since Linux 6.6 the kernel tells anybody who is
# born and who ends.)
attempt(
    "sockets destroyed",
    lambda: netlink(4, 0, 21, struct.pack("=BBBBI48x", 2, 6, 0, 0, ~0 & 0xFFFFFFFF)),
)
attempt("audit", lambda: netlink(9, 1))
for family in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
    for name in ("offswitch", "offswitch/warden", *(path.encode() for path in asked["files"])):
        text = name if isinstance(name, str) else name.decode()
        with socket.socket(socket.AF_UNIX, family) as sock:
            sock.settimeout(0.2)
            attempt(f"abstract {text}", lambda: sock.connect("\0" + text[:100]))
attempt("a user namespace of its own", own_world)
print(json.dumps(worked), flush=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
