"""Touches the stop in the way that it is told, then goes on acting.

Arguments: the way, and what it needs. Whoever runs it as root plays a target that got so far.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time

way, *given = sys.argv[1:]
acts = os.open("acts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
if way == "none":
    pass
elif way == "signals":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
elif way == "handler":
    time.sleep(float(given[0]))
    signal.signal(signal.SIGTERM, lambda *_: None)
elif way == "unit":
    with open(given[0], "a") as unit:
        unit.write("\n[Service]\nExecStart=/bin/true\n")
elif way == "alias":
    with open(os.path.expanduser("~/.bashrc"), "a") as shell:
        shell.write("alias kill=true\n")
elif way == "path":
    os.symlink("/bin/true", f"{given[0]}/offswitch")
elif way == "rule":
    with open(given[0], "r+") as rules:
        kept = rules.read().partition("[[rule]]")[0]
        rules.seek(0)
        rules.write(kept)
        rules.truncate()
elif way == "trace":
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, int(given[0]), 0, 0) == 0, ctypes.get_errno()
elif way == "stop":
    os.kill(int(given[0]), signal.SIGSTOP)
elif way == "files":
    for path in given:
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
elif way == "overwrite":
    with open(given[0], "wb") as page:
        page.write(b"\0" * 64)
else:
    raise SystemExit(way)
print("done", time.time_ns() // 1000, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.005)
