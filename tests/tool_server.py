"""A small real MCP server that keeps a record of its own: over pipes, or over streamable HTTP.

    python tool_server.py RECORD             over stdin and stdout
    python tool_server.py RECORD --http      prints its port; one thread a connection

Tools: `read_note`, `write_note` (answer at once), `slow` (tells progress, then answers after
`seconds`), `fail` (an error). The record has a line for each call that begins and that is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOLS = ("read_note", "write_note", "slow", "fail")
Say = Callable[[dict[str, Any]], None]


class Tools:
    """What the server does, whatever it is spoken to by."""

    def __init__(self, record: str) -> None:
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.cancelled: set[Any] = set()

    def note(self, what: str, key: object) -> None:
        os.write(self.record, f"{what} {key}\n".encode())

    def answer(self, message: dict[str, Any], say: Say) -> None:
        """Answer one message by saying zero or more."""
        method, ident = message.get("method"), message.get("id")
        params = message.get("params") or {}
        if method == "notifications/cancelled":
            self.cancelled.add(params.get("requestId"))
            self.note("told", params.get("requestId"))
        if ident is None or method is None:
            return
        result: dict[str, Any] = {}
        if method == "initialize":
            result = {
                "protocolVersion": params.get("protocolVersion", "2025-11-25"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "notes", "version": "1"},
            }
        elif method == "tools/list":
            schema = {"type": "object"}
            result = {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS]}
        elif method == "tools/call":
            self.call(ident, params, say)
            return
        say({"jsonrpc": "2.0", "id": ident, "result": result})

    def call(self, ident: object, params: dict[str, Any], say: Say) -> None:
        arguments = params.get("arguments") or {}
        key = arguments.get("key", ident)
        self.note("begun", key)
        if params["name"] == "fail":
            self.note("done", key)
            say({"jsonrpc": "2.0", "id": ident, "error": {"code": -1, "message": "no"}})
            return
        if params["name"] == "slow":
            end = time.monotonic() + float(arguments.get("seconds", 30))
            step = 0
            while time.monotonic() < end and ident not in self.cancelled:
                step += 1
                told = {"progressToken": (params.get("_meta") or {}).get("progressToken", ident),
                        "progress": step}  # fmt: skip
                say({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})
                time.sleep(0.02)
        self.note("cancelled" if ident in self.cancelled else "done", key)
        content = [{"type": "text", "text": f"{params['name']} {key}"}]
        say({"jsonrpc": "2.0", "id": ident, "result": {"content": content}})


def over_pipes(tools: Tools) -> None:
    lock = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        with lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    for line in sys.stdin:
        threading.Thread(target=tools.answer, args=(json.loads(line), say), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Streamable HTTP: JSON where nothing but the answer comes, else a stream of events."""

    protocol_version = "HTTP/1.1"
    tools: Tools
    sessions: set[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def plainly(self, status: int, body: bytes = b"", *more: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*more, ("content-length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.sessions.discard(self.headers.get("mcp-session-id", ""))
        self.plainly(200)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.chunk(b": still here\n\n")
                time.sleep(0.05)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message or "method" not in message:
            self.tools.answer(message, lambda _: None)
            self.plainly(202)
            return
        more: list[tuple[str, str]] = []
        if message["method"] == "initialize":
            name = os.urandom(8).hex()
            self.sessions.add(name)
            more = [("mcp-session-id", name)]
        streams = (message.get("params") or {}).get("name") == "slow"
        if not streams:
            said: list[dict[str, Any]] = []
            self.tools.answer(message, said.append)
            body = json.dumps(said[0]).encode()
            self.plainly(200, body, ("content-type", "application/json"), *more)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

        def say(one: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):
                self.chunk(b"event: message\ndata: " + json.dumps(one).encode() + b"\n\n")

        self.tools.answer(message, say)
        with contextlib.suppress(OSError):
            self.chunk(b"")


class Server(ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, *_: object) -> None:
        return


def over_http(tools: Tools) -> None:
    Handler.tools, Handler.sessions = tools, set()
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    (over_http if "--http" in sys.argv else over_pipes)(Tools(sys.argv[1]))
