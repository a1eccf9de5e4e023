"""An event listener of supervisord that takes an event and never says what became of it."""

from __future__ import annotations

import sys
import time

sys.stdout.write("READY\n")
sys.stdout.flush()
sys.stdin.readline()
time.sleep(1000)
