"""Steals the wake-up by which the kernel tells the keeper that the warden died.

The word lies in the page, which everybody may map: who waits there too, or moves those that
wait to a word of his own (futex(2), FUTEX_REQUEUE), may be woken in the keeper's place.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time

FUTEX_WAIT, FUTEX_REQUEUE, WORD = 0, 3, 72
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
number = 202 if os.uname().machine == "x86_64" else 98
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
fd = os.open(os.environ["OFFSWITCH_PAGE"], os.O_RDONLY)
page = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, fd, ctypes.c_long(0))
word = ctypes.c_uint32.from_address(page + WORD)
own = mmap.mmap(-1, 4096)
mine = ctypes.c_uint32.from_buffer(own)


def wait() -> None:
    while True:
        libc.syscall(number, ctypes.byref(word), FUTEX_WAIT, word.value, None)
        time.sleep(0.001)


for _ in range(8):
    threading.Thread(target=wait, daemon=True).start()
stolen = 0
while True:
    stolen += libc.syscall(
        number, ctypes.byref(word), FUTEX_REQUEUE, 0, ctypes.c_long(1 << 20), ctypes.byref(mine)
    )
    if stolen > 0:
        print("STOLEN:", stolen, flush=True)
    os.write(acts, b".")
    time.sleep(0.002)
