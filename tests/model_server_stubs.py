"""Stand-ins for the HTTP servers of model servers: their real paths, words and oddities, no model.

    with VllmStub(key="k") as stub:
        stub.ask(3)             # three requests come
        stub.state.running      # what it works on

Each says what the real one says, as its sources have it (vllm/entrypoints/serve/…/rlhf/
api_router.py of 0.14 to 0.2x; sglang/srt/entrypoints/http_server.py of 0.5 and later), down to what
makes a stop of them hard: vLLM's key guards `/v1` alone, its gauges are old after an abort of
everything, what comes during a pause waits in its queue; SGLang answers a pause only when nobody is
left. A request here is a number in a list: it writes a token whenever somebody looks at the clock.
llama.cpp's and Ollama's are as a real one of the first answered (version 11434, tests/peers has it)
and as Ollama's server/routes.go and sched.go have it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

__all__ = ["LlamaStub", "OllamaStub", "SglangStub", "VllmStub"]


@dataclass
class State:
    """What the server works on."""

    running: int = 0
    waiting: int = 0
    tokens: int = 0
    aborted: int = 0
    paused: str = ""
    """How it was paused; empty: it is not."""
    stale: int | None = None
    """What its gauge says instead of the truth, until it takes a step again."""
    liar: bool = False
    """It says that it is paused, and works on: what a look must not believe."""
    calls: list[str] = field(default_factory=list)
    """Each request line that came, and its body."""

    def step(self) -> None:
        """Let time pass: whoever is in work writes."""
        if self.running and (self.liar or self.paused in {"", "wait"}):
            self.tokens += 7 * self.running

    def add(self, count: int) -> None:
        """Let requests come: what comes during a pause waits."""
        if self.paused:
            self.waiting += count
        else:
            self.running += count

    def abort_all(self) -> int:
        """End all, as a server does that is no liar."""
        ended = self.running + self.waiting
        self.aborted += self.running
        if not self.liar:
            self.running, self.waiting = 0, 0
        return ended


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer takes 40 ms
    stub: Stub

    def setup(self) -> None:
        super().setup()
        self.stub.connections.append(self.connection)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("GET", b"")

    def do_POST(self) -> None:
        self._answer("POST", self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _answer(self, method: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        self.stub.state.calls.append(f"{method} {self.path} {body.decode()}".strip())
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        status, said = self.stub.answer(method, parts.path, parse_qs(parts.query), body, bearer)
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Stub:
    """A server on a port of its own."""

    POSTS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, key: str = "", guarded: bool = False, old: bool = False) -> None:  # noqa: FBT001, FBT002 - as keywords
        """Ask for `key` where the real one does, or (`guarded`) everywhere, as a proxy does."""
        self.state = State()
        self.key, self.guarded, self.old = key, guarded, old
        self.connections: list[socket.socket] = []
        kind = type("Handler", (_Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()
        self._open = True

    def ask(self, count: int = 1) -> None:
        """Let clients come, ask, and go away: the server works on all the same."""
        self.state.add(count)

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, bearer: str
    ) -> tuple[int, Any]:
        """Answer one request: who may, whether there is such a call, and what it does."""
        if self.key and bearer != self.key and (self.guarded or self.guards(path)):
            return 401, {"error": "Unauthorized"}
        if path in self.POSTS and method == "GET":
            return 405, {"detail": "Method Not Allowed"}
        self.state.step()
        found = self.calls(path, query, json.loads(body or b"{}"))
        return found or (404, {"detail": "Not Found"})

    def guards(self, path: str) -> bool:
        raise NotImplementedError

    def calls(
        self, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any] | None:
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        if self._open:
            self._open = False
            self.server.shutdown()
            self.server.server_close()
            self._thread.join()
            for each in self.connections:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VllmStub(Stub):
    """vLLM; `old`: 0.14, which knows no modes and no `/abort_requests`."""

    POSTS = frozenset({"/pause", "/resume", "/abort_requests"})
    dev_mode = True

    def guards(self, path: str) -> bool:
        return path.startswith("/v1")

    def calls(
        self, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any] | None:
        state = self.state
        if path == "/metrics":
            return 200, self._page()
        if not self.dev_mode:
            return None
        match path:
            case "/is_paused":
                return 200, {"is_paused": bool(state.paused)}
            case "/pause":
                mode = "abort" if self.old else query.get("mode", ["abort"])[0]
                state.paused = mode
                if mode == "abort":
                    state.stale = state.running or None
                    state.abort_all()
                return 200, {"status": "paused"}
            case "/resume":
                state.paused, state.stale = "", None
                state.running, state.waiting = state.running + state.waiting, 0
                return 200, {"status": "resumed"}
            case "/abort_requests" if not self.old:
                names = body.get("request_ids")
                ended = len(names) if names else state.abort_all()
                return 200, {"status": "aborted", "aborted": ended}
        return None

    def _page(self) -> bytes:
        state, at = self.state, '{engine="0",model_name="m-7"}'
        running = state.running if state.stale is None else state.stale
        return f"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{at} {running:.1f}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{at} {state.waiting:.1f}
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{at} 120.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{at} {state.tokens:.1f}
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m-7"}} 40.0
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="m-7"}} {state.aborted}.0
""".encode()


class SglangStub(Stub):
    """SGLang; `old`: before it had `/ready` and `/v1/loads`."""

    POSTS = frozenset({"/abort_request", "/pause_generation", "/continue_generation"})
    slow_s = 0.0
    """For how long a pause is not answered: it looks once a second whether somebody is left."""

    def guards(self, path: str) -> bool:
        return path in self.POSTS

    def calls(
        self, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any] | None:
        return self._reads(path) or self._commands(path, body)

    def _reads(self, path: str) -> tuple[int, Any] | None:
        state = self.state
        match path:
            case "/v1/loads" if not self.old:
                rank = {"dp_rank": 0, "num_running_reqs": state.running}
                return 200, {"loads": [rank | {"num_waiting_reqs": state.waiting}]}
            case "/get_load":
                return 200, [{"dp_rank": 0, "num_reqs": state.running + state.waiting}]
            case "/ready" if not self.old:
                return (503 if state.paused else 200), b""
            case "/metrics":
                return 200, f"sglang:generation_tokens_total 1{state.tokens}\n".encode()
        return None

    def _commands(self, path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        state = self.state
        match path:
            case "/abort_request":
                if body.get("abort_all"):
                    state.abort_all()
                return 200, b""
            case "/pause_generation":
                state.paused = str(body.get("mode"))
                if state.paused == "abort":
                    state.abort_all()
                time.sleep(self.slow_s)
                return 200, {"message": "Generation paused successfully.", "status": "ok"}
            case "/continue_generation":
                state.paused = ""
                return 200, {"message": "Generation continued successfully.", "status": "ok"}
            case "/generate":
                end = time.monotonic() + 3
                while state.paused and time.monotonic() < end:
                    time.sleep(0.01)
                return 200, {"text": "x"}
        return None


class LlamaStub(Stub):
    """llama.cpp's server: a router, or (`router` False) one of a single model."""

    POSTS = frozenset({"/models/unload"})
    router = True
    autoload = False
    preset = "stop-timeout = 0"
    status = "loaded"

    def guards(self, path: str) -> bool:
        return path not in {"/health", "/models"}

    def calls(
        self, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any] | None:
        state = self.state
        match path:
            case "/props":
                role = {"role": "router", "models_autoload": self.autoload} if self.router else {}
                return 200, {"build_info": "b0-unknown"} | role
            case "/slots" if not self.router or query.get("model") == ["tiny"]:
                tokens = [{"has_next_token": True, "n_decoded": state.tokens}]
                busy = {"is_processing": True, "id_task": 3, "next_token": tokens}
                idle = {"id": 1, "is_processing": False}
                return 200, [busy | {"id": 0} if state.running else idle, idle]
            case "/models" if self.router:
                status = {"value": self.status, "preset": f"[tiny]\n{self.preset}\n"}
                return 200, {"data": [{"id": "tiny", "status": status}], "object": "list"}
            case "/models/unload" if self.router:
                if body.get("model") != "tiny" or self.status == "unloaded":
                    return 400, {"error": {"code": 400, "message": "model is not running"}}
                if not state.liar:
                    self.status = "unloaded"
                    state.abort_all()
                return 200, {"success": True}
        return None


class OllamaStub(Stub):
    """Ollama: it unloads a model when the last answer of it has ended."""

    loaded = True

    def guards(self, path: str) -> bool:
        del path
        return False

    def calls(
        self, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any] | None:
        match path:
            case "/api/ps":
                row = {"model": "m-7:latest", "name": "m-7:latest", "size_vram": 1}
                return 200, {"models": [row] if self.loaded else []}
            case "/api/generate":
                if body["model"] != "m-7:latest":
                    return 404, {"error": f"model '{body['model']}' not found"}
                self.loaded = bool(self.state.running)
                return 200, {"model": "m-7:latest", "done": True, "done_reason": "unload"}
        return None
