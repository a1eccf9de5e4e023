"""Processes of their own that speak to a warden at the same instant.

Each racer is a Python that has everything imported, sits in a read on its stdin, and sends
its message when it is told to: the race is between processes, not between threads here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from installation import Installation

RACER = r"""
import json, os, sys, time
from offswitch.control.client import Conversation
from offswitch.errors import OffswitchError
path = sys.argv[1]
null = os.open(os.devnull, os.O_RDWR)
kept = None
for line in sys.stdin:
    wait, message, fds = json.loads(line)
    if kept is not None:
        kept.close()
    kept = Conversation(path, 20.0)
    time.sleep(wait)
    try:
        answer = kept.ask(message, (null, null, null) if fds else ())
        if answer.get("accepted"):
            answer = kept.receive() or {"error": {"kind": "unreachable"}, **answer}
    except OffswitchError as error:
        answer = {"error": error.as_dict()}
    print(json.dumps(answer), flush=True)
"""


class Racer:
    """One process that waits for the word."""

    def __init__(self, installation: Installation) -> None:
        argv = [sys.executable, "-I", "-c", RACER, installation.place.warden_socket]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        installation.children.append(self._process)

    def go(self, message: dict[str, Any], *, wait_s: float = 0, fds: bool = False) -> None:
        """Send `message`, `wait_s` seconds from now; do not wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([wait_s, message, fds]) + "\n")

    def answer(self) -> dict[str, Any]:
        """Wait for the answer: of a stop, the final one."""
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))
