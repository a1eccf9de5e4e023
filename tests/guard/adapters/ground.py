"""A page that a test writes, a guard that reads it, and what the guard told those who watch.

Also runs in the environments of the real frameworks, which have no pytest.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guard.written_page import SLOT, WrittenPage
from offswitch.control.page import RUN
from offswitch.guard import Guard, Stopped

LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")


class Ground:
    """A cell as its program sees it."""

    def __init__(self, folder: Path) -> None:
        self.page = WrittenPage(folder / "page")
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.environ["OFFSWITCH_PAGE"] = str(self.page.path)
        os.environ["OFFSWITCH_WORD"] = str(SLOT)
        os.environ["OFFSWITCH_REPORT"] = f"{self.writer}:{os.fstat(self.writer).st_ino}"
        self.guard = Guard.from_env()

    def latch(self, level: str | None) -> None:
        self.page.set(RUN if level is None else RUN + 1 + LEVELS.index(level))

    def told(self) -> list[tuple[str, str, str]]:
        """Give (what, kind, name) of each line that was told since it was last asked."""
        return [
            (what, line[what], line["name"])
            for line in self.lines()
            for what in ("step", "refused")
            if what in line
        ]

    def lines(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in os.read(self.reader, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)
        for name in ("OFFSWITCH_PAGE", "OFFSWITCH_WORD", "OFFSWITCH_REPORT"):
            os.environ.pop(name, None)


def stopped(call: Callable[[], Any]) -> str | None:
    """Give the level at which a call was stopped; fail where it was not."""
    try:
        got = call()
    except Stopped as stop:
        return stop.level
    message = f"it was not stopped, and gave {got!r}"
    raise AssertionError(message)


class Server(http.server.ThreadingHTTPServer):
    """A model server that says what a test wrote down, and counts what it is asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.broken = threading.Event()
        """Set when a client hung up in the middle of a stream."""
        self.fails = 0
        """How many of the next requests get a 500."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        if self.server.fails:
            self.server.fails -= 1
            self._whole(500, b"{}")
            return
        if not body.get("stream"):
            self._whole(200, json.dumps(self.server.answer(body)).encode())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for event in self.server.answer(body):
                self.wfile.write(event)
                self.wfile.flush()
        except OSError:
            self.server.broken.set()

    def _whole(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(answer: Callable[[dict[str, Any]], Any]) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
