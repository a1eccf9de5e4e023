"""Lies about itself: name, arguments and output are commands to a terminal, and new lines."""

from __future__ import annotations

import os
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
if len(sys.argv) > 1:
    with open("/proc/self/comm", "wb") as name:
        name.write(b") Z 1 1\n\x1b[2J")
    print("\x1b[2J\x1b[1;1Hoffswitch: everything stands still\r\n\u202egnipots", flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
