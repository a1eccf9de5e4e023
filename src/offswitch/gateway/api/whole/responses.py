"""A response, put together from its events: the last one brings it whole."""

from __future__ import annotations

import json
from typing import cast

from offswitch.gateway.api.whole.contract import StreamError

__all__ = ["ResponseEvents"]

_LAST = frozenset(("response.completed", "response.incomplete", "response.failed"))


class ResponseEvents:
    """Waits for the event that brings the whole response."""

    __slots__ = ("_answer", "_items")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._answer: dict[str, object] | None = None
        self._items: dict[int, object] = {}

    def take(self, name: str, data: bytes) -> None:
        """Take an event."""
        if data == b"[DONE]":
            return
        said = json.loads(data)
        if said is None:  # llama.cpp says so before anything else
            return
        kind = said.get("type") or name
        if kind == "error" or (kind not in _LAST and said.get("error") is not None):
            told = {"message": said.get("message"), "type": "server_error", "param": None}
            error = said.get("error") or {**told, "code": said.get("code")}
            raise StreamError(500, {"error": error})
        if kind == "response.output_item.done":
            self._items[int(said.get("output_index", len(self._items)))] = said.get("item")
        elif kind in _LAST:
            if type(said.get("response")) is not dict:
                raise ValueError("the last event brings no response")
            self._answer = said["response"]

    def answer(self) -> dict[str, object] | None:
        """Give the response; where its last event leaves the output out, as its items came."""
        answer = self._answer
        if answer is not None and not answer.get("output") and self._items:
            items = cast("object", [self._items[index] for index in sorted(self._items)])
            answer = {**answer, "output": items}
        return answer
