"""Calls in the events of a response.

An item of the output begins with `response.output_item.added` and is whole with
`response.output_item.done`; what comes between bears its `output_index`. A call's events are held
until it is whole. In a denied one's place stands a message, at the same index; so it does in the
event that brings the whole response at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from offswitch.clock import new_nonce
from offswitch.gateway.api.answers import message_item
from offswitch.gateway.api.calls.answers import is_call, item_may_go, name_of_item
from offswitch.gateway.api.calls.asking import notice
from offswitch.gateway.api.sse import data_of, speaks_of
from offswitch.gateway.api.strict import dump
from offswitch.gateway.api.verdicts import Judge

__all__ = ["ResponseCalls"]

Said = dict[str, object]
_ADDED = "response.output_item.added"
_DONE = "response.output_item.done"
_OF_A_CALL = ("response.function_call_arguments.", "response.custom_tool_call_input.")


class ResponseCalls:
    """Holds the calls among a response's items."""

    __slots__ = ("_denied", "_held", "_judge", "held")

    def __init__(self, judge: Judge) -> None:
        """Ask `judge` about each call."""
        self._judge = judge
        self._held: dict[object, list[tuple[bytes, object]]] = {}
        self._denied: dict[object, Mapping[str, object]] = {}
        self.held = 0

    def quiet(self, events: bytes) -> bool:
        """Tell whether nothing is held, and these events speak of no call."""
        return not self._held and not speaks_of(events, b"_call")

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
        kind = str(said.get("type") or name)
        if type(said.get("response")) is dict:
            return self._whole(event, said)
        index = said.get("output_index")
        if kind == _DONE:
            return self._done(event, said, index)
        begins = kind == _ADDED and is_call(said.get("item"))
        if begins or index in self._held or kind.startswith(_OF_A_CALL):
            self._held.setdefault(index, []).append((event, said.get("sequence_number")))
            self.held += len(event)
            return b""
        return event

    def _done(self, event: bytes, said: Said, index: object) -> bytes:
        events = self._held.pop(index, [])
        self.held -= sum(len(each) for each, _ in events)
        item = said.get("item")
        if item_may_go(item, self._judge):
            return b"".join([*(each for each, _ in events), event])
        new = self._instead(item)
        first = {**said, "type": _ADDED, "item": {**new, "status": "in_progress", "content": []}}
        if events:
            first["sequence_number"] = events[0][1]
        return _event(first) + _event({**said, "item": new})

    def _whole(self, event: bytes, said: Said) -> bytes:
        response = said["response"]
        output = response.get("output") if type(response) is dict else None
        if type(response) is not dict or type(output) is not list:
            return event
        new = [item if item_may_go(item, self._judge) else self._instead(item) for item in output]
        return event if new == output else _event({**said, "response": {**response, "output": new}})

    def _instead(self, item: object) -> Mapping[str, object]:
        """Give the message that stands in a call's place; the same each time the call is told."""
        call = item if type(item) is dict else {}
        ident = call.get("call_id") or call.get("id")
        if ident not in self._denied:
            self._denied[ident] = message_item(notice(name_of_item(call)), new_nonce())
        return self._denied[ident]


def _event(said: Said) -> bytes:
    return b"event: " + str(said["type"]).encode() + b"\ndata: " + dump(said) + b"\n\n"
