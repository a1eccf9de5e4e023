"""Serves files to itself and never answers: a read of its environment waits, and so does its death.

Needs /dev/fuse. The file lies over its arguments and environment. It holds both ends, so the
kernel that closes the one waits for an answer by the other.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import tempfile
import threading
import time

INIT, LOOKUP, GETATTR, OPEN, READ = 26, 1, 3, 14, 15
FOLDER, FILE = 0o40755, 0o100644
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
uid, gid = os.getuid(), os.getgid()
try:
    fuse = os.open("/dev/fuse", os.O_RDWR)
    os.close(fuse)
except OSError as error:
    print("FUSE:", error.strerror, flush=True)
    while True:
        os.write(acts, b".")
        time.sleep(0.001)
if libc.unshare(0x20000 | (0 if uid == 0 else 0x10000000)):
    raise OSError(ctypes.get_errno(), "unshare")
if uid:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as map_file:
            map_file.write(text)
    uid = gid = 0
fuse = os.open("/dev/fuse", os.O_RDWR)
libc.mount(None, b"/", None, 16384 | 1 << 18, None)
top = tempfile.mkdtemp()
options = f"fd={fuse},rootmode=40000,user_id={uid},group_id={gid}".encode()
if libc.mount(b"none", top.encode(), b"fuse", 0, options):
    raise OSError(ctypes.get_errno(), "mount")


def attributes(node: int) -> bytes:
    mode = FOLDER if node == 1 else FILE
    return struct.pack("=6Q10I", node, 1 << 20, 0, 0, 0, 0, 0, 0, 0, mode, 1, uid, gid, 0, 4096, 0)


def serve() -> None:
    while True:
        request = os.read(fuse, 1 << 20)
        _size, code, unique, node = struct.unpack_from("=IIQQ", request)
        body, error = b"", 0
        if code == INIT:
            body = struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0, *[0] * 7)
        elif code == LOOKUP:
            body = struct.pack("=QQQQII", 2, 0, 60, 60, 0, 0) + attributes(2)
        elif code == GETATTR:
            body = struct.pack("=QII", 60, 0, 0) + attributes(node)
        elif code == OPEN:
            body = struct.pack("=QII", 0, 0, 0)
        elif code == READ:
            print("READ:", flush=True)
            continue  # and no answer, ever
        else:
            error = -38
        os.write(fuse, struct.pack("=IiQ", 16 + len(body), error, unique) + body)


threading.Thread(target=serve, daemon=True).start()
file = os.open(f"{top}/file", os.O_RDONLY)
with open("/proc/self/stat", "rb") as stat:
    fields = stat.read().rpartition(b")")[2].split()
begin, end = int(fields[47]) & -mmap.PAGESIZE, int(fields[48])
size = ctypes.c_size_t((end - begin + mmap.PAGESIZE - 1) & -mmap.PAGESIZE)
at = libc.mmap(ctypes.c_void_p(begin), size, 1, 2 | 0x10, file, ctypes.c_long(0))
print("FUSE:", "laid" if at == begin else "not laid", flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.001)
