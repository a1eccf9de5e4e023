"""Fills a socket that another one made and handed over: the kernel counts it as that one's.

Argument: path of a Unix socket on which it comes.
"""

from __future__ import annotations

import array
import os
import socket
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
lender = socket.socket(socket.AF_UNIX)
lender.connect(sys.argv[1])
_data, ancillary, _flags, _address = lender.recvmsg(1, 64)
(fd,) = array.array("i", ancillary[0][2][:4])
sock = socket.socket(fileno=fd)
sock.setblocking(False)
while True:
    try:
        while True:
            sock.send(b"token " * 10000)
    except (BlockingIOError, BrokenPipeError, ConnectionError):
        pass
    os.write(acts, b".")
    time.sleep(0.001)
