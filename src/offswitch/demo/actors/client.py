"""A customer of the token stream, outside of every cell.

    python client.py PORT

Reads the stream to its end, and then says in one line of JSON how many tokens came, and when
the last one did (nanoseconds since the epoch).
"""

from __future__ import annotations

import http.client
import json
import sys
import time


def main(port: str) -> None:
    """Read the stream to its end."""
    tokens, last_ns, how = 0, 0, "ended"
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("GET", "/stream")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                tokens, last_ns = tokens + 1, time.time_ns()
    except (OSError, http.client.HTTPException) as error:
        how = type(error).__name__
    sys.stdout.write(json.dumps({"tokens": tokens, "last_ns": last_ns, "how": how}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
