"""Starts a switch of its own inside its cell, with a keeper and targets that it would hold.

Argument: a folder with a copy of our code, which it may read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

code = sys.argv[1]
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
env = {"PATH": "/usr/bin:/bin", "HOME": os.getcwd()}
main = """
import sys
sys.path.insert(0, sys.argv[1])
from offswitch.warden.__main__ import main
main(["--home", sys.argv[2] + "/home", "--run", sys.argv[2] + "/run", "--no-recorder", "yes"])
"""
os.mkdir("home")
with open("own.log", "w") as log:
    own = subprocess.Popen(
        [sys.executable, "-I", "-c", main, code, os.getcwd()],
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
for _ in range(2000):
    if os.path.exists("run/control/warden") or own.poll() is not None:
        break
    time.sleep(0.005)
print("OWN:", own.poll(), open("own.log").read()[-300:].replace("\n", " "), flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
