"""podman's kill over its API, with the connection open; then it is asked for the container's state.

podman_caller.py SOCKET CONTAINER
"""

from __future__ import annotations

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve
from unix_http import UnixHttp

API = UnixHttp(sys.argv[1])
PATH = f"/v4.0.0/libpod/containers/{sys.argv[2]}"
API.ask("GET", f"{PATH}/json")


def press() -> tuple[str, str]:
    """Kill it, and wait until it is said to have exited."""
    status, _body = API.ask("POST", f"{PATH}/kill?signal=KILL")
    end = time.monotonic() + 10
    state = "?"
    while status == 204 and time.monotonic() < end:
        _code, body = API.ask("GET", f"{PATH}/json")
        state = body["State"]["Status"]
        if state in {"exited", "stopped"}:
            return "stopped", f"{status}, {state}"
        time.sleep(0.005)
    return "not", f"{status}, {state}"


serve(press)
