"""A desk on a simulated clock, entries as the warden writes them, a server that takes notices."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from offswitch.ledger.reader import ShownEntry

START_US = 1_800_000_000_000_000


class Record:
    """Makes entries, numbered, at a time of their own."""

    def __init__(self) -> None:
        self.next = 0
        self.now_us = START_US

    def entry(self, kind: str, sealed: dict[str, Any] | None = None, **public: Any) -> ShownEntry:  # noqa: ANN401
        self.next += 1
        body = {"kind": kind, "time_us": self.now_us, "mono_us": self.now_us, "boot": "b"}
        return ShownEntry(self.next - 1, {**body, **public}, sealed or {}, intact=True)

    def stop(
        self, scope: str, *targets: str, by: str = "rule:r", why: str = "", digest: str = ""
    ) -> ShownEntry:
        return self.entry(
            "order",
            {"by": by, "reason": why},
            order="stop",
            digest=digest or f"{self.next:08x}" * 8,
            scope=scope,
            level="kill",
            channel="rule",
            prior=dict.fromkeys(targets, "running"),
            state=dict.fromkeys(targets, "stopping"),
        )

    def receipts(self, order: ShownEntry, target: str, *missing: str) -> list[ShownEntry]:
        return [
            self.entry(
                "receipt",
                {"by": "x"},
                target=target,
                order=order.public["digest"],
                layer=layer,
                confirmed="no" if layer in missing or layer == "guard" else "yes",
            )
            for layer in ("guard", "process", "network")
        ]

    def unconfirmed(self, target: str, *missing: str) -> ShownEntry:
        what = "page: not confirmed, a person must look"
        return self.entry("note", what=what, target=target, level="kill", missing=list(missing))

    def reset(
        self, *orders: ShownEntry, state: str = "done", placed_by: tuple[str, ...] = ()
    ) -> ShownEntry:
        return self.entry(
            "reset",
            {"by": "person:ben", "reason": "it was mended", "placed_by": list(placed_by)},
            digest="f" * 64,
            scope=orders[0].public["scope"],
            clears=[order.public["digest"] for order in orders],
            channel="console",
            prior="latched",
            state=state,
            needs=["the proof of one more person"],
        )


@pytest.fixture
def record() -> Record:
    return Record()


class Receiver:
    """A server on loopback that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        """What it answers next, one after the other; then 200 with `{"ok": true}`."""
        self.answer: Callable[[str, bytes], dict[str, Any]] = lambda _path, _body: {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                outer.got.append((self.path, headers, body))
                status, more, said = 200, {}, b""
                if outer.answers:
                    status, more, said = outer.answers.pop(0)
                said = said or json.dumps({"ok": True, **outer.answer(self.path, body)}).encode()
                self.send_response(status)
                for key, value in {**more, "content-length": str(len(said))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _path, _headers, body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str, str], str]:
    """Write a secret into a file of its own."""

    def make(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return make
