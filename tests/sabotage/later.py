"""Asks the kernel to act later: io_uring timeouts, each linked to a write, polled by the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import time

SETUP, ENTER, OP_TIMEOUT, OP_WRITE, LINK, SQPOLL = 425, 426, 11, 23, 4, 2
libc = ctypes.CDLL(None, use_errno=True)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
ENTRIES = 256
parameters = bytearray(120)
struct.pack_into("=IIII", parameters, 0, 0, 0, SQPOLL if sys.argv[1:] == ["polled"] else 0, 0)
struct.pack_into("=I", parameters, 16, 5000)
view = (ctypes.c_char * 120).from_buffer(parameters)
ring = libc.syscall(SETUP, ENTRIES, view)
print("RING:", ring if ring >= 0 else os.strerror(ctypes.get_errno()), flush=True)
if ring >= 0:
    offsets = struct.unpack_from("=IIIIIII", parameters, 40)
    _head, tail_at, _mask, _entries, _flags, _dropped, array_at = offsets
    rings = mmap.mmap(ring, array_at + 4 * ENTRIES, offset=0)
    queue = mmap.mmap(ring, 64 * ENTRIES, offset=0x10000000)
    byte = ctypes.create_string_buffer(b"!", 1)
    spans = []
    # A timeout that ends gives ETIME, which breaks its link unless it counts as success.
    for place in range(0, ENTRIES, 2):
        span = ctypes.create_string_buffer(struct.pack("=QQ", 0, 50_000_000 * (place // 2 + 1)))
        spans.append(span)
        wait = (OP_TIMEOUT, LINK, 0, -1, 0, ctypes.addressof(span), 1, 1 << 5, 1)
        act = (OP_WRITE, 0, 0, acts, 2**64 - 1, ctypes.addressof(byte), 1, 0, 2)
        for number, fields in enumerate((wait, act)):
            entry = struct.pack("=BBHiQQIIQ", *fields)
            queue[64 * (place + number) : 64 * (place + number) + len(entry)] = entry
            struct.pack_into("=I", rings, array_at + 4 * (place + number), place + number)
    struct.pack_into("=I", rings, tail_at, ENTRIES)
    libc.syscall(ENTER, ring, ENTRIES, 0, 2, None, 0)
    if os.fork() == 0:
        time.sleep(600)  # a second holder of the ring
while True:
    os.write(acts, b".")
    time.sleep(0.01)
