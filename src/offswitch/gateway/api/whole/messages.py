"""One of Anthropic's messages, put together from its events.

`message_start` brings the message without content; each block begins, grows by deltas and stops;
`message_delta` says why it ended and what it used; `message_stop` completes it. The input of a tool
comes as pieces of JSON, and is read when its block stops.
"""

from __future__ import annotations

import json
from typing import cast

from offswitch.gateway.api.whole.contract import StreamError
from offswitch.gateway.api.whole.merge import add, settled

__all__ = ["MessageEvents"]

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_JSON = "partial_json"
_AS_IT_IS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class MessageEvents:
    """Puts a message together."""

    __slots__ = ("_blocks", "_inputs", "_message", "_stopped")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._message: dict[str, object] = {}
        self._blocks: dict[int, dict[str, object]] = {}
        self._inputs: dict[int, list[str]] = {}
        self._stopped = False

    def take(self, name: str, data: bytes) -> None:
        """Take an event."""
        if data == b"[DONE]":  # OpenAI's ending, which some servers add
            return
        said = json.loads(data)
        if said is None:  # llama.cpp says so before anything else
            return
        match said.get("type") or name:
            case "message_start":
                self._message = dict(said["message"])
            case "content_block_start":
                block: dict[str, object] = {}
                add(block, said["content_block"])
                self._blocks[int(said["index"])] = block
            case "content_block_delta":
                self._grow(int(said["index"]), said["delta"])
            case "message_delta":
                self._end(said)
            case "message_stop":
                self._stopped = True
            case "error":
                error = said.get("error")
                kind = error.get("type") if type(error) is dict else None
                raise StreamError(_STATUS.get(str(kind), 500), {"type": "error", **said})
            case _:
                pass  # a ping, or what is yet to be thought of

    def _grow(self, index: int, delta: dict[str, object]) -> None:
        block = self._blocks[index]
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(str(delta[_JSON]))
        elif kind == "citations_delta":
            add(block, {"citations": [delta["citation"]]})
        elif type(kind) is str and kind in _AS_IT_IS:
            add(block, {_AS_IT_IS[kind]: delta[_AS_IT_IS[kind]]})
        else:
            add(block, {name: value for name, value in delta.items() if name != "type"})

    def _end(self, said: dict[str, object]) -> None:
        for name, value in said.items():
            if name == "usage":
                used = self._message.get("usage")
                new = {k: v for k, v in cast("dict[str, object]", value).items() if v is not None}
                self._message["usage"] = {**(used if type(used) is dict else {}), **new}
            elif name == "delta":
                self._message.update(cast("dict[str, object]", value))
            elif name != "type":
                self._message[name] = value

    def answer(self) -> dict[str, object] | None:
        """Give the message."""
        if not self._stopped or not self._message:
            return None
        content = []
        for index in sorted(self._blocks):
            block = cast("dict[str, object]", settled(self._blocks[index]))
            pieces = "".join(self._inputs.get(index, ()))
            if pieces:
                block["input"] = json.loads(pieces)
            content.append(block)
        return {**self._message, "content": content}
