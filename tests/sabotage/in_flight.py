"""Hides full sockets in a queue that nobody reads: held by no process, only on their way to one.

Arguments: port of a slow reader, path of a Unix socket outside whose owner never reads it.
"""

from __future__ import annotations

import array
import os
import socket
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
outside = socket.socket(socket.AF_UNIX)
outside.connect(sys.argv[2])
for protocol in (0, 262):  # TCP, and MPTCP where there is any
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    except OSError:
        continue
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    sock.connect(("127.0.0.1", int(sys.argv[1])))
    if protocol == 0:  # of MPTCP it would make whoever outside closes it last wait as long
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\xff\0\0\0")
    sock.setblocking(False)
    idle = 0
    while idle < 20:
        try:
            sock.send(b"token " * 10000)
            idle = 0
        except BlockingIOError:
            idle += 1
            time.sleep(0.005)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))
    outside.sendmsg([b"x"], [rights])
    sock.close()
outside.close()
while True:
    os.write(acts, b".")
    time.sleep(0.001)
