"""Acts, and does nothing else; under the name that is given, if one is."""

from __future__ import annotations

import os
import sys
import time

if len(sys.argv) > 1:
    with open("/proc/self/comm", "w") as name:
        name.write(sys.argv[1])
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
