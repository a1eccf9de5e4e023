"""A model server that streams tokens over HTTP, two hundred a second to each client.

python assistant.py PORT-FILE
"""

import os
import random
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVERY_S = 0.005
WORDS = "the a tea shop price green cup is was of and to in we offer today fresh new best".split()


class Stream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            event = b"data: %s\n\n" % random.choice(WORDS).encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(EVERY_S)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that goes away is nothing to talk about

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without asking a name server who we are
        self.server_name, self.server_port = self.server_address[:2]


def main(port_file):
    server = Server(("127.0.0.1", 0), Stream)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_port))
    os.replace(port_file + ".new", port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
