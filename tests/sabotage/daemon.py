"""Leaves parent, session, group, environment and descriptors behind, three generations deep."""

from __future__ import annotations

import os
import sys
import time

if len(sys.argv) > 1:
    acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
    while True:
        os.write(acts, b".")
        time.sleep(0.0005)
for _generation in range(3):
    if os.fork():
        os._exit(0)
    os.setsid()
os.closerange(0, 64)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 1)
os.dup2(null, 2)
os.execve(sys.executable, [sys.executable, "-I", os.path.abspath(__file__), "go"], {})
