"""Gives a datagram socket and a listener to a process outside, and keeps neither.

Argument: path of a Unix socket of that process.
"""

from __future__ import annotations

import array
import os
import socket
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
outside = socket.socket(socket.AF_UNIX)
outside.connect(sys.argv[1])
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
given = array.array("i", [datagrams.fileno(), listener.fileno()])
outside.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
datagrams.close()
listener.close()
while True:
    os.write(acts, b".")
    time.sleep(0.001)
