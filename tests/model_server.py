"""A scripted model server, over HTTP: answers each API as `model_answers` says.

upstream.script = serving(Script(tools=[…]))     # whole, or as a stream, as it is asked
upstream.script = talking()                      # streams words until nobody listens
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from model_answers import Script, events, whole
from offswitch.gateway.exchange import Shape
from scripted_upstream import Visit

PATHS = {
    b"/v1/chat/completions": Shape.CHAT,
    b"/v1/completions": Shape.COMPLETION,
    b"/v1/responses": Shape.RESPONSES,
    b"/v1/messages": Shape.MESSAGES,
}
VECTORS = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": n, "embedding": [0.25, -0.5, float(n)]} for n in range(2)
    ],
    "model": "m-7",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
MODELS = {
    "object": "list",
    "data": [{"id": "m-7", "object": "model", "created": 1, "owned_by": "us", "type": "model",
              "display_name": "m-7", "created_at": "2025-01-01T00:00:00Z"}],
    "has_more": False,
    "first_id": "m-7",
    "last_id": "m-7",
}  # fmt: skip


def _asked(visit: Visit) -> tuple[Shape | None, dict[str, Any]]:
    path = visit.line.split()[1].partition(b"?")[0]
    path = path[max(0, path.find(b"/v1/")) :]  # any prefix
    return PATHS.get(path), json.loads(visit.body or b"{}")


def serving(script: Script) -> Callable[[Visit], None]:
    """Answer as `script` says, with its calls only where tools are offered."""
    silent = Script(script.pieces, script.thoughts, choices=script.choices)

    def serve(visit: Visit) -> None:
        shape, asked = _asked(visit)
        if shape is None:
            path = visit.line.split()[1]
            counted = {"input_tokens": 5}
            said: dict[str, Any] = VECTORS if b"embeddings" in path else MODELS
            visit.answer(json.dumps(counted if b"count_tokens" in path else said).encode())
            return
        says = script if asked.get("tools") else silent
        says = Script(says.pieces, says.thoughts, says.tools, choices=asked.get("n", 1))
        if not asked.get("stream"):
            visit.answer(json.dumps(whole(shape, says)).encode())
            return
        visit.begin()
        options = asked.get("stream_options") or {}
        for event in events(shape, says, usage=bool(options.get("include_usage"))):
            visit.chunk(event)
        visit.finish()

    return serve


def talking(every: float = 0.005) -> Callable[[Visit], None]:
    """Stream words until the connection breaks; whole answers are never ready."""

    def talk(visit: Visit) -> None:
        shape, asked = _asked(visit)
        if not asked.get("stream"):
            visit.gone(30)
            return
        told = events(shape or Shape.CHAT, Script(pieces=["word "] * 20_000))
        visit.begin()
        for event in told:
            visit.chunk(event)
            time.sleep(every)

    return talk


def silent(visit: Visit) -> None:
    """Begin a stream, say one thing, and think for ever."""
    shape, _ = _asked(visit)
    visit.begin()
    for event in events(shape or Shape.CHAT, Script())[:2]:
        visit.chunk(event)
    visit.gone(30)
