"""`python -I -m offswitch.cli.detached HOME RUN TARGET FD`: the relay of `start`.

It asks the warden for the target, says on descriptor FD what came of it (one JSON object,
then the end), and relays the target's output into its log until the target has ended.
"""

from __future__ import annotations

import json
import os
import sys

from offswitch.cli.lifeline import ask_for_birth, relay
from offswitch.cli.streams import Streams
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Be the relay of one target."""
    place, target, report = Place(argv[0], argv[1]), argv[2], int(argv[3])
    os.set_inheritable(report, False)
    streams = Streams.detached(raw=False)
    try:
        birth = ask_for_birth(place, {"op": "start", "target": target}, streams.given)
    except OffswitchError as error:
        _report(report, {"error": error.as_dict(), "exit": error.exit_code})
        return error.exit_code
    _report(report, birth.answer)
    return relay(place, birth, streams)


def _report(fd: int, message: dict[str, object]) -> None:
    os.write(fd, json.dumps(message).encode())
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
