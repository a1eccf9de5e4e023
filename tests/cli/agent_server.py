"""A model server that asks a coding agent for one shell command, in OpenAI's and Google's words."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any


class AgentServer(http.server.ThreadingHTTPServer):
    """Answers with a tool call, and once that has its result with text."""

    daemon_threads = True

    def __init__(self, command: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.command = command
        self.calls = 0
        """How often a model was asked for the conversation itself."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AgentServer

    def do_GET(self) -> None:
        self._answer("application/json", b'{"data": [], "models": []}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if "input" in body:
            self.server.calls += 1
            self._answer("text/event-stream", self._responses(body))
        elif "stream" in self.path:
            self.server.calls += 1
            data = json.dumps(self._gemini(body))
            self._answer("text/event-stream", f"data: {data}\r\n\r\n".encode())
        else:
            self._answer("application/json", json.dumps(self._gemini(body)).encode())

    def _responses(self, body: dict[str, Any]) -> bytes:
        done = any(str(item.get("type", "")).endswith("_output") for item in body["input"])
        item: dict[str, Any]
        if done:
            text = {"type": "output_text", "text": "done"}
            item = {"type": "message", "id": "m1", "role": "assistant", "content": [text]}
        else:
            arguments = json.dumps({"cmd": self.server.command})
            item = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "exec_command"}
            item["arguments"] = arguments
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        usage |= {"input_tokens_details": None, "output_tokens_details": None}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {"id": "r1"}},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "r1", "usage": usage}},
        ]
        told = (f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
        return "".join(told).encode()

    def _gemini(self, body: dict[str, Any]) -> dict[str, Any]:
        parts = [part for turn in body.get("contents", []) for part in turn.get("parts", [])]
        tools = json.dumps(body.get("tools", []))
        part: dict[str, Any] = {"text": "done"}
        if "run_shell_command" in tools and not any("functionResponse" in each for each in parts):
            args = {"command": self.server.command, "description": "try"}
            part = {"functionCall": {"name": "run_shell_command", "args": args}}
        content = {"role": "model", "parts": [part]}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}

    def _answer(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
