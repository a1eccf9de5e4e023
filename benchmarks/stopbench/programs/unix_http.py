"""HTTP over a Unix socket, by a kept connection; the standard library's."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any


class UnixHttp(http.client.HTTPConnection):
    """One connection."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path
        self.connect()

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Give the status and what the body says."""
        self.request(method, path)
        answer = self.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, None
