"""Calls in the chunks of a chat.

A choice's calls come as deltas, told apart by an index, and are whole when the choice finishes;
until then their chunks are held. A chunk that brings text as well is parted: the text goes on. Once
judged, the chunks go on as they came; if a call is denied, those of the others are written anew,
since calls are numbered without a gap.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from offswitch.gateway.api.calls.answers import calls_of_chat, may_go_in_chat
from offswitch.gateway.api.calls.asking import may_go, notices
from offswitch.gateway.api.sse import data_of, speaks_of
from offswitch.gateway.api.strict import dump
from offswitch.gateway.api.verdicts import Judge
from offswitch.gateway.api.whole.merge import add, settled

__all__ = ["ChatCalls"]

Said = dict[str, object]
_CALLS = ("tool_calls", "function_call")


@dataclass(slots=True)
class _Choice:
    """What is held of one choice."""

    message: Said = field(default_factory=dict)
    """Its calls, added up."""
    events: list[tuple[bytes, Said]] = field(default_factory=list)
    """Chunks with nothing but calls in them, as they came and as they were read."""


class ChatCalls:
    """Holds the calls of a chat's choices."""

    __slots__ = ("_choices", "_judge", "held")

    def __init__(self, judge: Judge) -> None:
        """Ask `judge` about each call."""
        self._judge = judge
        self._choices: dict[object, _Choice] = {}
        self.held = 0

    def quiet(self, events: bytes) -> bool:
        """Tell whether nothing is held, and these events speak of no call."""
        return not self._choices and not speaks_of(events, b"tool_calls", b"function_call")

    def event(self, event: bytes) -> bytes:
        """Take a chunk, and give what goes on now."""
        if self.quiet(event):
            return event
        _, data = data_of(event)
        if not data:
            return event
        if data == b"[DONE]":
            left = [self._finish(index, {"choices": []})[0] for index in list(self._choices)]
            return b"".join([*left, event])
        said = json.loads(data)
        if said is None:
            return event
        choices = said.get("choices") or []
        if not any(self._concerns(choice) for choice in choices):
            return event
        if len(choices) == 1:
            return self._one(event, said, choices[0])
        parts = [{**said, "choices": [choice]} for choice in choices]
        for part in parts[:-1]:
            part.pop("usage", None)
        return b"".join(self._one(_chunk(part), part, part["choices"][0]) for part in parts)

    def _concerns(self, choice: Said) -> bool:
        return bool(_calls_in(choice)) or (
            choice.get("finish_reason") is not None and choice.get("index", 0) in self._choices
        )

    def _one(self, event: bytes, said: Said, choice: Said) -> bytes:
        index = choice.get("index", 0)
        out = b""
        calls = _calls_in(choice)
        if calls:
            rest = {name: v for name, v in _delta(choice).items() if name not in _CALLS}
            text = {**choice, "delta": rest, "finish_reason": None}
            if any(value for name, value in rest.items() if name != "role"):
                out = _chunk({**said, "choices": [text]})
            last = choice.get("finish_reason")
            only = {**choice, "delta": calls, "finish_reason": None}
            if not out and last is None:
                self._hold(index, event, {**said, "choices": [choice]}, calls)
                return out
            self._hold(
                index, _chunk({**said, "choices": [only]}), {**said, "choices": [only]}, calls
            )
            if last is None:
                return out
            choice = {**choice, "delta": {}}
            said = {**said, "choices": [choice]}
            event = _chunk(said)
        if choice.get("finish_reason") is None or index not in self._choices:
            return out + event
        before, changed = self._finish(index, said)
        return out + before + (event if changed is None else changed)

    def _judged(self, calls: list[Said]) -> tuple[dict[object, int], list[object]]:
        """Give the new numbers of those calls that go on, by their old ones; and who is denied."""
        numbers: dict[object, int] = {}
        names, denied = [], []
        for call in calls:
            goes, name = may_go_in_chat(self._judge, call)
            names.append(name)
            if goes:
                numbers[call.get("index")] = len(numbers)
            else:
                denied.append(name)
        if denied and any(type(call.get("index")) is not int for call in calls):
            return {}, names  # they cannot be told apart, so all go with the one
        return numbers, denied

    def _hold(self, index: object, event: bytes, said: Said, calls: Said) -> None:
        choice = self._choices.setdefault(index, _Choice())
        add(choice.message, calls)
        choice.events.append((event, said))
        self.held += len(event)

    def _finish(self, index: object, last: Said) -> tuple[bytes, bytes | None]:
        """Give what is let go of a choice, and its last chunk if that is another now."""
        choice = self._choices.pop(index)
        self.held -= sum(len(event) for event, _ in choice.events)
        message = cast("Said", settled(choice.message))
        numbers, denied = self._judged(calls_of_chat(message))
        old = message.get("function_call")
        old_goes = type(old) is dict and may_go(self._judge, old.get("name"), old.get("arguments"))
        if type(old) is dict and not old_goes:
            denied.append(old.get("name"))
        if not denied:
            return b"".join(event for event, _ in choice.events), None
        out = [_without(said, numbers, old_goes=old_goes) for _, said in choice.events]
        top = choice.events[0][1]
        out.append(
            _chunk(_with_choice(top, {"index": index, "delta": {"content": notices(denied)}}))
        )
        if numbers or old_goes:
            return b"".join(out), None
        return b"".join(out), _finished(last)


def _delta(choice: Said) -> Said:
    delta = choice.get("delta")
    return cast("Said", delta) if type(delta) is dict else {}


def _calls_in(choice: Said) -> Said:
    calls = {name: value for name, value in _delta(choice).items() if name in _CALLS and value}
    for name, value in calls.items():
        each = value if name == "tool_calls" else [value]
        if type(each) is not list or any(type(call) is not dict for call in each):
            raise ValueError("a call is no object")
    return calls


def _chunk(said: Said) -> bytes:
    return b"data: " + dump(said) + b"\n\n"


def _with_choice(said: Said, choice: Said) -> Said:
    kept = {name: value for name, value in said.items() if name != "usage"}
    return {**kept, "choices": [{"finish_reason": None, **choice}]}


def _without(said: Said, numbers: dict[object, int], *, old_goes: bool) -> bytes:
    """Write a held chunk anew, with only those calls that go on."""
    choice = cast("list[Said]", said["choices"])[0]
    delta = dict(_delta(choice))
    calls = [
        {**call, "index": numbers[call.get("index")]}
        for call in calls_of_chat(delta)
        if call.get("index") in numbers
    ]
    for name, kept in (("tool_calls", calls), ("function_call", old_goes)):
        if not kept:
            delta.pop(name, None)
    if calls:
        delta["tool_calls"] = calls
    return _chunk({**said, "choices": [{**choice, "delta": delta}]}) if delta else b""


def _finished(last: Said) -> bytes | None:
    """Let a choice of which no call is left end as one that calls nothing."""
    choices = cast("list[Said]", last["choices"])
    if not choices or choices[0].get("finish_reason") not in _CALLS:
        return None
    return _chunk({**last, "choices": [{**choices[0], "finish_reason": "stop"}]})
