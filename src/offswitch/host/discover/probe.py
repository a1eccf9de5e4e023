"""Two questions to a server on this machine: `/metrics` and `/v1/models` (HTTP/1.1, RFC 9112).

Only a loopback address is asked, only what listens there (or on all addresses), with GET, without
a credential, half a second and 64 KiB for each answer, and no redirect is followed. What comes back
is whatever the server likes: it is looked through for the few words below, and shown escaped.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Answer", "ask"]

_PATIENCE_S = 0.5
_MOST_BYTES = 64 << 10
_MOST_MODELS = 20
_LONGEST_MODEL = 200
_OK = "200"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    url: str
    """Such as `http://127.0.0.1:8000`."""
    metrics: bool = False
    """Whether it shows Prometheus metrics."""
    models: tuple[str, ...] | None = None
    """The models that an OpenAI-compatible server names; None: it is none."""


def ask(address: str, port: int) -> Answer:
    """Ask a server that listens on a loopback address."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}"
    head, body = _get(address, port, host, "/metrics")
    metrics = head == _OK and _is_metrics(body)
    head, body = _get(address, port, host, "/v1/models")
    return Answer(url, metrics, _models(body) if head == _OK else None)


def _get(address: str, port: int, host: str, path: str) -> tuple[str, bytes]:
    """Give status and body; empty for what is no HTTP, or too slow."""
    asked = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    end = time.monotonic() + _PATIENCE_S
    data = b""
    try:
        with socket.create_connection((address, port), _PATIENCE_S) as sock:
            sock.sendall(asked.encode())
            while len(data) < _MOST_BYTES and (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                part = sock.recv(1 << 14)
                if not part:
                    break
                data += part
    except OSError:
        pass  # closed, refused, too slow: what has come so far is looked at
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):  # noqa: PLR2004 - version, status
        return "", b""
    return words[1].decode("ascii", "replace"), body


def _is_metrics(body: bytes) -> bool:
    lines = body.splitlines()[:50]
    return any(line.startswith((b"# HELP ", b"# TYPE ")) for line in lines)


def _models(body: bytes) -> tuple[str, ...] | None:
    # Whether the body came in chunks matters little: the object lies between its braces.
    text = body[body.find(b"{") : body.rfind(b"}") + 1]
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    rows = said.get("data") if isinstance(said, dict) else None
    if not isinstance(rows, list):
        return None
    return tuple(_named(rows))


def _named(rows: Iterable[object]) -> list[str]:
    ids = [str(row["id"])[:_LONGEST_MODEL] for row in rows if isinstance(row, dict) and "id" in row]
    return ids[:_MOST_MODELS]
