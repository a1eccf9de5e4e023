"""Our stop from a program that runs, as our own watch and station stop: its connections are open.

    offswitch_caller.py HOME RUN TARGET      by the interpreter that has us installed

The order goes to the warden and to its keeper at once. Only the warden's final answer, which waits
for the observer, makes *stopped*; what the keeper accepts is commanded, and no more.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from typing import Any

from offswitch.control import frames
from offswitch.control.client import Conversation
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve

PLACE, TARGET = Place(sys.argv[1], sys.argv[2]), sys.argv[3]
WARDEN = Conversation(PLACE.warden_socket)
WARDEN.ask({"op": "ping"})
KEEPER = Conversation(PLACE.keeper_socket)
PATIENCE_S = 3.0


def order() -> bytes:
    """Make the order."""
    return frames.encode(
        {
            "op": "stop",
            "scopes": [TARGET],
            "level": "kill",
            "reason": "",
            "nonce": os.urandom(16).hex(),
            "time_us": time.time_ns() // 1000,
            "channel": "cli",
        }
    )


def stop() -> tuple[str, str]:
    """Stop it, and say what was confirmed."""
    frame = order()
    for each in (WARDEN, KEEPER):
        with contextlib.suppress(OSError):  # who is gone says so when it is heard
            each.sock.sendall(frame)
    kept: dict[str, Any] = {}
    final = heard(kept)
    if final is None:
        return "not", f"the warden is gone; the keeper says {kept}"
    layers = [
        f"{layer['layer']}: {'confirmed' if layer['confirmed'] else layer['detail']}"
        for row in final["targets"]
        for layer in row["layers"]
    ]
    return ("stopped" if final["confirmed"] else "not"), "; ".join([*layers, *final["notes"]])


def heard(kept: dict[str, Any]) -> dict[str, Any] | None:
    """Wait for the warden's final answer; note the keeper's."""
    waiting = {WARDEN.sock: WARDEN, KEEPER.sock: KEEPER}
    end = time.monotonic() + PATIENCE_S
    while waiting and time.monotonic() < end:
        ready, _, _ = select.select(list(waiting), [], [], max(end - time.monotonic(), 0))
        for sock in ready:
            try:
                answer = waiting[sock].receive()
            except OffswitchError:
                answer = None
            if answer is None:
                del waiting[sock]
            elif sock is KEEPER.sock:
                kept.update(answer)
                del waiting[sock]
            elif "targets" in answer:
                return answer
    return None


order()
serve(stop)
