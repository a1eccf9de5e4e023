"""A canary in a target's cell: tries to reach the servers behind a gateway, and the gateway itself.

    python -I -S goer.py HOST:PORT …

Standard library, nothing of ours. It says of each place how it went, one word a line: `open`, or
the name of the kernel's error. It sends nothing, and ends within some seconds.
"""

from __future__ import annotations

import errno
import socket
import sys

__all__ = ["main"]

_PATIENCE_S = 0.5


def main(places: list[str]) -> int:
    """Try each."""
    for place in places:
        sys.stdout.write(f"{_tried(place)}\n")
        sys.stdout.flush()
    return 0


def _tried(place: str) -> str:
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(_PATIENCE_S)
            sock.connect((host, int(port)))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "ETIMEDOUT")
    return "open"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
