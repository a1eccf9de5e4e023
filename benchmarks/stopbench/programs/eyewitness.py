"""The witness: a process of its own that sees acts and has nothing to do with any stop.

    python3 -I -S eyewitness.py SOCKET      then lines on stdin: "KEY" → one JSON object a line

Acts come in as datagrams "KEY ACTOR SENT_NS"; each is stamped with CLOCK_MONOTONIC when it is taken
in. Asked about a key, it says for each actor how many acts it saw, the first, the last, and by how
much it ever lagged behind an actor's own clock. As root it runs under SCHED_FIFO, so that on a busy
machine it is late for nobody; no system that is measured gets any such help from us.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time


def take(sock: socket.socket, seen: dict[str, dict[str, list[int]]]) -> None:
    """Take in all acts that are there."""
    with contextlib.suppress(BlockingIOError):
        while True:
            data = sock.recv(256)
            now = time.monotonic_ns()
            key, who, sent = data.decode().split(" ")
            acts = seen.setdefault(key, {}).setdefault(who, [0, now, now, 0])
            acts[0] += 1
            acts[2] = now
            acts[3] = max(acts[3], now - int(sent))


def main(path: str) -> None:
    """See, and tell, until nobody asks any more."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    seen: dict[str, dict[str, list[int]]] = {}
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    os.chmod(path, 0o666)
    sock.setblocking(False)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(0, select.POLLIN)
    print("up", flush=True)
    asked = b""
    while True:
        for fd, _events in poll.poll():
            if fd != 0:
                take(sock, seen)
                continue
            data = os.read(0, 4096)
            if not data:
                os.unlink(path)
                return
            asked += data
            *lines, asked = asked.split(b"\n")
            for line in lines:
                take(sock, seen)
                print(json.dumps(seen.get(line.decode(), {})), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
