"""A worker of an API: it accepts some tokens, and each request that it accepts is an act.

    python3 -I -S api.py WITNESS KEY NAME PORT TOKEN…       prints "up" when it listens

Each worker keeps for itself which tokens are good, as workers with a cache do. It stands outside of
what is stopped. Several may share a port.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
NO = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


def answer(client: socket.socket, tokens: set[bytes], seen: socket.socket, act: str) -> bool:
    """Answer one request; false where the client has gone."""
    try:
        asked = client.recv(65536)
        if not asked:
            return False
        _, found, rest = asked.partition(b"earer ")
        good = bool(found) and rest.partition(b"\r\n")[0] in tokens
        if good:
            seen.send(f"{act} {time.monotonic_ns()}".encode())
        client.sendall(OK if good else NO)
    except OSError:
        return False
    return True


def main(witness: str, key: str, name: str, port: str, *tokens: str) -> None:
    """Serve until whoever started it has gone."""
    good = {token.encode() for token in tokens}
    parent = os.getppid()
    seen = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    seen.connect(witness)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen()
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    print("up", flush=True)
    while os.getppid() == parent:
        for each, _events in ready.select(0.5):
            if each.fileobj is listener:
                client, _peer = listener.accept()
                ready.register(client, selectors.EVENT_READ)
            elif not answer(each.fileobj, good, seen, f"{key} {name}"):  # type: ignore[arg-type]
                ready.unregister(each.fileobj)
                each.fileobj.close()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
