"""Makes a connection and lends it to whoever connects: another target, that fills it.

Arguments: port of a slow reader, path of the Unix socket to lend on.
"""

from __future__ import annotations

import array
import os
import socket
import sys
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
made = socket.socket()
made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
made.connect(("127.0.0.1", int(sys.argv[1])))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o666)
listener.listen()
os.write(acts, b".")
borrower, _address = listener.accept()
borrower.sendmsg(
    [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))]
)
while True:
    os.write(acts, b".")
    time.sleep(0.001)
