"""Whoever reads a stream: a client outside of what is stopped. Each piece it gets is an act.

    python3 -I -S reader.py WITNESS KEY PORT TOKEN

It asks once, reads as fast as it can, and does not ask again: a stream that has ended is over.
"""

from __future__ import annotations

import socket
import sys
import time


def asked(port: str, token: str) -> socket.socket:
    """Ask for the stream, as soon as somebody listens."""
    for _ in range(2000):
        try:
            sock = socket.create_connection(("127.0.0.1", int(port)), 2)
            break
        except OSError:
            time.sleep(0.005)
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"go on"}]}'
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def main(witness: str, key: str, port: str, token: str) -> None:
    """Read to the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as seen, asked(port, token) as sock:
        seen.connect(witness)
        while True:
            data = sock.recv(65536)
            if not data:
                return
            if b"~" in data:
                seen.send(f"{key} reader {time.monotonic_ns()}".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
