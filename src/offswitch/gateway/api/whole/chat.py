"""A chat completion, or a legacy completion, put together from its chunks.

Choices are told apart by their index, tool calls within a message too; `usage` comes with the last
chunk. The answer is complete when `[DONE]` has come, or each choice has said why it finished.
"""

from __future__ import annotations

import json
from typing import cast

from offswitch.gateway.api.whole.contract import StreamError
from offswitch.gateway.api.whole.merge import Pieces, add, settled
from offswitch.gateway.exchange import Shape

__all__ = ["Chunks"]

_OBJECT = {Shape.CHAT: "chat.completion", Shape.COMPLETION: "text_completion"}
_FIRST = frozenset(("id", "created", "model", "system_fingerprint"))
_DROPPED = frozenset(("choices", "object", "obfuscation", "prompt_progress"))
_USUAL = frozenset(("index", "delta", "logprobs", "finish_reason"))
_DONE = b"[DONE]"
_CLIENT_ERROR, _LAST_ERROR = 400, 599


class Chunks:
    """Puts an answer together from chunks."""

    __slots__ = ("_choices", "_done", "_shape", "_top")

    def __init__(self, shape: Shape) -> None:
        """Begin an answer to a chat, or to a completion."""
        self._shape = shape
        self._top: dict[str, object] = {}
        self._choices: dict[int, dict[str, object]] = {}
        self._done = False

    def take(self, name: str, data: bytes) -> None:
        """Add a chunk."""
        if data == _DONE:
            self._done = True
            return
        said = json.loads(data)
        if said is None:  # llama.cpp says so before anything else
            return
        error = said.get("error")
        if error is not None or name == "error":
            raise StreamError(_status(error), {"error": error or said})
        for each, value in said.items():
            if each in _DROPPED or (each in _FIRST and self._top.get(each) is not None):
                continue
            if value is not None or each not in self._top:
                self._top[each] = value
        for choice in said.get("choices") or ():
            self._add(choice)

    def _add(self, choice: dict[str, object]) -> None:
        index = choice.get("index", 0)
        if type(index) is not int:
            raise ValueError("a choice's index is no number")
        into = self._choices.setdefault(index, {"index": index})
        delta = choice.get("delta")
        if _more_text(into, choice, delta):
            return
        rest = {name: value for name, value in choice.items() if name != "delta"}
        if self._shape is Shape.CHAT:
            message = cast("dict[str, object]", into.setdefault("message", {"role": "assistant"}))
            if type(delta) is dict:
                add(message, delta)
        add(into, rest)

    def answer(self) -> dict[str, object] | None:
        """Give the answer, names in the order in which the API gives them."""
        choices = [self._choice(index) for index in sorted(self._choices)]
        finished = choices and all(choice.get("finish_reason") for choice in choices)
        if not (self._done or finished) or not self._top:
            return None
        top = dict(self._top)
        usage = top.pop("usage", None)
        said = {"id": top.pop("id", None), "object": _OBJECT[self._shape], **top}
        said["choices"] = choices
        return said if usage is None else {**said, "usage": usage}

    def _choice(self, index: int) -> dict[str, object]:
        choice = cast("dict[str, object]", settled(self._choices[index]))
        choice.setdefault("finish_reason", None)
        message = choice.get("message")
        if type(message) is dict:
            calls = message.get("tool_calls")
            message["content"] = message.get("content") or (
                None if calls else message.get("content")
            )
            if type(calls) is list:
                calls.sort(key=_number)
                message["tool_calls"] = [_call(call) for call in calls]
        return choice


def _more_text(into: dict[str, object], choice: dict[str, object], delta: object) -> bool:
    """Add a piece of text where a choice brings that and nothing else: nearly all do."""
    if type(delta) is not dict or len(delta) != 1 or not choice.keys() <= _USUAL:
        return False
    message, piece = into.get("message"), delta.get("content")
    pieces = message.get("content") if type(message) is dict else None
    if type(pieces) is not Pieces or type(piece) is not str:
        return False
    if choice.get("finish_reason") is not None or choice.get("logprobs") is not None:
        return False
    pieces.append(piece)
    return True


def _number(call: dict[str, object]) -> int:
    index = call.get("index")
    return index if type(index) is int else 0


def _call(call: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in {"type": "function", **call}.items() if name != "index"}


def _status(error: object) -> int:
    code = error.get("code") if type(error) is dict else None
    return code if type(code) is int and _CLIENT_ERROR <= code <= _LAST_ERROR else 500
