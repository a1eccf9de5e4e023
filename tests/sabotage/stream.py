"""Streams to a slow reader: connects, and fills the kernel's buffers."""

from __future__ import annotations

import os
import socket
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
sock.connect((sys.argv[1], int(sys.argv[2])))
while True:
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"token " * 10000)
    except BlockingIOError:
        pass
    os.write(acts, b".")
    time.sleep(0.0005)
