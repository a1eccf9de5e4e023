"""A real HTTP server that speaks chat completions, and whose model believes whatever it reads.

It is gullible on purpose: told by the text that it judges what to answer, it answers that. Left
alone it finds `rm -rf` dangerous and all else harmless.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_ORDER = re.compile(
    r"(?:risk|score|answer|rating|say|output|verdict)\D{0,40}?([01](?:\.\d+)?)\b", re.IGNORECASE
)
_SAY = re.compile(r"repeat exactly: (.*)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        status, data = self.server.answer(json.loads(body))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.fixed: tuple[int, bytes] | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up early is no news."""

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.fixed is not None:
            return self.fixed
        text = body["messages"][-1]["content"]
        said = _SAY.findall(text)
        orders = _ORDER.findall(text)
        if said:
            opinion = said[-1]
        elif orders:
            opinion = json.dumps({"risk": float(orders[-1])})
        else:
            opinion = json.dumps({"risk": 0.9 if "rm -rf" in text else 0.1})
        return 200, chat(opinion)


def chat(opinion: str) -> bytes:
    message = {"role": "assistant", "content": opinion}
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


class GullibleModel:
    """The server, as a context."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def asked(self) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
        return self._server.asked

    def answer(self, status: int, data: bytes) -> None:
        """Answer this from now on."""
        self._server.fixed = (status, data)
