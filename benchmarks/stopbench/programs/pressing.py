"""What every caller does: it is there already, waits for the word, presses, tells what it heard.

    from pressing import serve
    serve(press)          # press() returns (what it says, in its own words)

Lines on stdin and stdout: it prints "armed" when nothing is left but to press; at "go" it notes
the time, presses, and prints one JSON object {"order_ns", "claim_ns", "claim", "words"}. `claim` is
"stopped" where the system says that the target has stopped, "not" where it says that it could not
or does not know, and "sent" where it only says that it has done its part.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def serve(press: Callable[[], tuple[str, str]]) -> None:
    """Be armed, be told, press, tell."""
    print("armed", flush=True)
    if sys.stdin.readline().strip() != "go":
        return
    order = time.monotonic_ns()
    try:
        claim, words = press()
    except Exception as error:  # noqa: BLE001 - whatever the system says instead of "stopped"
        claim, words = "not", f"{type(error).__name__}: {error}"
    said = {"order_ns": order, "claim_ns": time.monotonic_ns(), "claim": claim, "words": words}
    print(json.dumps(said), flush=True)
