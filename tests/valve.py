"""A simulated valve that an agent moves over HTTP, and a controller that can take it over.

    GET  /state          {"state": "moving" | "hold last" | "drain", "opening": 37, "level": 80}
    POST /move           the agent's: {"opening": 40}; refused once the controller has taken over
    POST /hook           the controller's: a signed message (`model.webhook`) with a safe state

Run as a program of its own: `python valve.py KEYFILE`; it prints its port. On *hold last* the
valve stays where it is; on *drain* it opens wide until the tank behind it is empty.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from offswitch.model.webhook import signature

__all__ = ["main"]


class Valve:
    """What moves."""

    def __init__(self) -> None:
        self.state = "moving"
        self.opening = 0
        self.level = 100.0
        self.refused = 0

    def told(self) -> dict[str, Any]:
        level = round(self.level)
        return {
            "state": self.state, "opening": self.opening, "level": level, "refused": self.refused,
        }  # fmt: skip

    def safe(self, wanted: str) -> None:
        """Take it over: nobody moves it from here on."""
        self.state = "draining" if wanted == "drain" else wanted
        if wanted == "drain":
            self.opening = 100
            threading.Thread(target=self._empty, daemon=True).start()

    def _empty(self) -> None:
        while self.level > 0:
            self.level = max(0.0, self.level - 10)
            time.sleep(0.01)
        self.state = "drain"


def main(key: str) -> None:
    """Serve until killed."""
    valve = Valve()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
            pass

        def do_GET(self) -> None:
            self.answer(valve.told())

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/move":
                moves = valve.state == "moving"
                valve.opening = said["opening"] if moves else valve.opening
                valve.refused += not moves
                self.answer({}, 200 if moves else 409)
            elif said["type"] == "offswitch.probe":
                self.answer({"nonce": said["data"]["nonce"]})
            else:
                if said["type"] == "offswitch.stop":
                    valve.safe(said["data"]["safe_state"])
                self.answer({"happened": [f"the valve stood at {valve.opening}"]})

        def answer(self, what: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(what).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if number := self.headers["webhook-id"]:
                at = int(self.headers["webhook-timestamp"])
                self.send_header("webhook-signature", signature(key, number, at, data))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
            pass  # whoever asked has gone

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
