"""Calls in the events of one of Anthropic's messages.

A call is a content block of the type `tool_use`: it begins, grows by pieces of JSON and stops, and
is held until then. In a denied one's place stands a block of text, at the same index.
"""

from __future__ import annotations

import json

from offswitch.gateway.api.calls.asking import may_go, notice
from offswitch.gateway.api.sse import data_of, speaks_of
from offswitch.gateway.api.strict import dump
from offswitch.gateway.api.verdicts import Judge

__all__ = ["MessageCalls"]

Said = dict[str, object]


class _Block:
    """What is held of one block."""

    __slots__ = ("begun", "events", "pieces")

    def __init__(self, begun: Said) -> None:
        self.begun = begun
        self.events: list[bytes] = []
        self.pieces: list[str] = []


class MessageCalls:
    """Holds the calls among a message's blocks."""

    __slots__ = ("_blocks", "_denied", "_judge", "_let_go", "held")

    def __init__(self, judge: Judge) -> None:
        """Ask `judge` about each call."""
        self._judge = judge
        self._blocks: dict[object, _Block] = {}
        self._denied = 0
        self._let_go = 0
        self.held = 0

    def quiet(self, events: bytes) -> bool:
        """Tell whether nothing is held, and these events speak of no call."""
        return not self._blocks and not speaks_of(events, b"tool_use")

    def event(self, event: bytes) -> bytes:
        """Take an event, and give what goes on now."""
        if self.quiet(event):
            return event
        name, data = data_of(event)
        if not data or data == b"[DONE]":
            return event
        said = json.loads(data)
        if said is None:
            return event
        kind, index = said.get("type") or name, said.get("index")
        if kind == "content_block_start" and said["content_block"].get("type") == "tool_use":
            self._blocks[index] = _Block(said["content_block"])
        if kind == "message_delta":
            return self._ended(event, said)
        block = self._blocks.get(index) if "index" in said else None
        if block is None:
            return event
        block.events.append(event)
        self.held += len(event)
        if kind == "content_block_delta" and said["delta"].get("type") == "input_json_delta":
            block.pieces.append(said["delta"]["partial_json"])
        return self._whole(index) if kind == "content_block_stop" else b""

    def _whole(self, index: object) -> bytes:
        block = self._blocks.pop(index)
        self.held -= sum(map(len, block.events))
        name = block.begun.get("name")
        said = "".join(block.pieces) or block.begun.get("input")
        if may_go(self._judge, name, said, block.begun.get("id", "")):
            self._let_go += 1
            return b"".join(block.events)
        self._denied += 1
        text = {"type": "text_delta", "text": notice(name)}
        empty = {"type": "text", "text": ""}
        return (
            _event({"type": "content_block_start", "index": index, "content_block": empty})
            + _event({"type": "content_block_delta", "index": index, "delta": text})
            + block.events[-1]
        )

    def _ended(self, event: bytes, said: Said) -> bytes:
        delta = said.get("delta")
        if self._let_go or not self._denied or type(delta) is not dict:
            return event
        if delta.get("stop_reason") != "tool_use":
            return event
        return _event({**said, "delta": {**delta, "stop_reason": "end_turn"}})


def _event(said: Said) -> bytes:
    return b"event: " + str(said["type"]).encode() + b"\ndata: " + dump(said) + b"\n\n"
