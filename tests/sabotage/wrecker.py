"""Deletes, moves, truncates and overwrites all that it finds below the folders that it is told."""

from __future__ import annotations

import os
import shutil
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
done = []


def attempt(what, *args):
    try:
        what(*args)
        done.append((what.__name__, str(args[0])))
    except OSError:
        pass


def overwrite(path):
    with open(path, "r+b") as file:
        file.write(b"gone")


def truncate(path):
    os.truncate(path, 0)


def link(path):
    os.symlink("/etc/passwd", os.path.join(path, "link"))


def plant(path):
    with open(os.path.join(path, "planted"), "w") as file:
        file.write("x")


for top in sys.argv[1:]:
    found = [top]
    for folder, folders, files in os.walk(top):
        found += [os.path.join(folder, name) for name in folders + files]
    for path in reversed(found):
        for what in (overwrite, truncate, plant, os.unlink, os.rmdir):
            attempt(what, path)
        attempt(os.rename, path, path + ".moved")
        attempt(os.chmod, path, 0o777)
        attempt(os.chown, path, os.getuid(), -1)
        attempt(link, path)
    attempt(shutil.rmtree, top)
print("WRECKED:", done, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
