"""Runs from memory: its program has no file that could be found or removed."""

from __future__ import annotations

import os
import sys
import time

if len(sys.argv) > 1:
    acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
    if os.fork() == 0:
        os.setsid()
    while True:
        os.write(acts, b".")
        time.sleep(0.0005)
memory = os.memfd_create("program", 0)
source = open(__file__, "rb").read()
with open(sys.executable, "rb") as binary:
    while data := binary.read(1 << 20):
        os.write(memory, data)
script = os.memfd_create("script", 0)
os.write(script, source)
path = f"/proc/self/fd/{script}"
os.execve(memory, ["kworker/0:0", "-I", path, "go"], {})
