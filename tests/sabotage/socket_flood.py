"""Opens tens of thousands of sockets, so that whoever lists and destroys them is held up."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time

wanted = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
each = min(hard, 19_000) - 32
resource.setrlimit(resource.RLIMIT_NOFILE, (each + 32, hard))
while wanted > each and os.fork():
    wanted -= each
wanted = min(wanted, each)
sockets = []
while len(sockets) < wanted:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 20000 + len(sockets) % 40000))
    sockets.append(sock)
acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
while True:
    os.write(acts, b".")
    time.sleep(0.01)
