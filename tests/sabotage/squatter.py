"""Takes the names that we would use on tmpfs before we do, as anybody on the machine could.

Arguments: paths. Each becomes a folder of its own with something in it, and stays so.
"""

from __future__ import annotations

import os
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
taken = []
while True:
    for path in sys.argv[1:]:
        try:
            os.mkdir(path, 0o777)
            os.mkdir(f"{path}/full")
            taken.append(path)
            print("TAKEN:", path, flush=True)
        except OSError:
            continue
    os.write(acts, b".")
    time.sleep(0.001)
