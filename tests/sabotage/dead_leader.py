"""Lets its first thread die, so that every list calls it a zombie, and acts on in another one."""

from __future__ import annotations

import ctypes
import os
import threading
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)


def act() -> None:
    while True:
        os.write(acts, b".")
        time.sleep(0.0005)


threading.Thread(target=act).start()
time.sleep(0.01)
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # exit(2): this thread
