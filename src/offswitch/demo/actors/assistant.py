"""A model server that streams tokens over HTTP, two hundred a second to each client.

python assistant.py PORT-FILE
"""

from __future__ import annotations

import os
import random
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVERY_S = 0.005
WORDS = ("the", "a", "tea", "shop", "price", "green", "cup", "is", "of", "we", "offer", "today")


class Stream(BaseHTTPRequestHandler):
    """One client's stream."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Stream tokens until the client leaves, or we are stopped."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            word = random.choice(WORDS)  # noqa: S311 - it means nothing
            event = b"data: %s\n\n" % word.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(EVERY_S)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


class Server(ThreadingHTTPServer):
    """Serves each client in a thread of its own."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that goes away."""

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])


def main(port_file: str) -> None:
    """Serve on a free port of the loopback, and write down which."""
    server = Server(("127.0.0.1", 0), Stream)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_port))
    os.replace(port_file + ".new", port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
