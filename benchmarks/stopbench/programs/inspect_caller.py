"""inspect-ai's control commands: cancel a task, by the endpoint that `inspect ctl` uses, kept open.

    inspect_caller.py SOCKET

"stopped" is said when the task that was running is over, by the list that `inspect ctl task` shows.
"""

from __future__ import annotations

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve
from unix_http import UnixHttp

API = UnixHttp(sys.argv[1])
PATIENCE_S = 4.0
"""Twice what a command is given to end after SIGTERM."""


def running() -> list[str]:
    """List the tasks that run."""
    _status, tasks = API.ask("GET", "/tasks")
    return [each["task_id"] for each in tasks if each["status"] == "running"]


TASK = running()[0]


def press() -> tuple[str, str]:
    """Cancel it, and wait until it is over."""
    status, body = API.ask("POST", f"/tasks/{TASK}/cancel")
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            left = running()
        except (OSError, ConnectionError):
            return ("stopped" if body["ok"] else "not"), f"{status}; the eval has ended"
        if TASK not in left:
            return "stopped", f"{status}; the task is over"
        time.sleep(0.005)
    return "not", f"{status}; the task still runs"


serve(press)
