"""A scripted model server: what it says, as each API says it at once, and as a stream of events.

The two are written side by side, and independently of the code that puts one together from the
other, from the APIs' own reference: streams as OpenAI and Anthropic send them, with the extras that
vLLM, llama.cpp and Azure add.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from offswitch.gateway.exchange import Shape

DONE = b"data: [DONE]\n\n"
SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-request-id", b"r-1")]
JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Tool:
    """A call that the model makes; its arguments come in pieces."""

    name: str
    pieces: Sequence[str] = ("{}",)
    ident: str = "call_0"

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Script:
    """What the model says."""

    pieces: Sequence[str] = ("Hel", "lo")
    thoughts: Sequence[str] = ()
    tools: Sequence[Tool] = ()
    choices: int = 1
    logprobs: bool = False
    used: int = 7
    refusal: Sequence[str] = ()
    finish: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def why(self) -> str:
        return self.finish or ("tool_calls" if self.tools else "stop")


def data(said: object) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def named(said: dict[str, Any]) -> bytes:
    return f"event: {said['type']}\ndata: {json.dumps(said)}\n\n".encode()


def whole(shape: Shape, script: Script) -> dict[str, Any]:
    return _WHOLE[shape](script)


def stream(shape: Shape, script: Script, *, usage: bool = True) -> bytes:
    return b"".join(events(shape, script, usage=usage))


def events(shape: Shape, script: Script, *, usage: bool = True) -> list[bytes]:
    if shape in (Shape.CHAT, Shape.COMPLETION):
        return list(_chunks(shape, script, usage=usage))
    return [named(said) for said in _STREAM[shape](script)]


def _usage(script: Script) -> dict[str, Any]:
    return {
        "prompt_tokens": 3,
        "completion_tokens": script.used,
        "total_tokens": 3 + script.used,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _top(kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1_700_000_000,
        "model": "m-7",
        "system_fingerprint": "fp_1",
    }


def _token(piece: str) -> dict[str, Any]:
    return {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": []}


def _chat(script: Script) -> dict[str, Any]:
    choices = []
    for index in range(script.choices):
        message: dict[str, Any] = {"role": "assistant", "content": script.text}
        if script.tools and not script.text:
            message["content"] = None
        message["refusal"] = "".join(script.refusal) or None
        if script.thoughts:
            message["reasoning_content"] = "".join(script.thoughts)
        if script.tools:
            message["tool_calls"] = [
                {
                    "id": tool.ident,
                    "type": "function",
                    "function": {"name": tool.name, "arguments": tool.text},
                }
                for tool in script.tools
            ]
        said = {"index": index, "message": message, "logprobs": None, "finish_reason": script.why}
        if script.logprobs:
            said["logprobs"] = {"content": [_token(p) for p in script.pieces], "refusal": None}
        choices.append(said)
    return {
        **_top("chat.completion"),
        "choices": choices,
        "usage": _usage(script),
        **script.extra,
    }


def _deltas(script: Script) -> Iterable[tuple[dict[str, Any], Any]]:
    """Give each delta of one choice, and its log-probabilities."""
    empty = None if script.tools and not script.text else ""
    yield {"role": "assistant", "content": empty, "refusal": None}, None
    for piece in script.thoughts:
        yield {"reasoning_content": piece}, None
    for piece in script.pieces:
        probs = {"content": [_token(piece)], "refusal": None} if script.logprobs else None
        yield {"content": piece}, probs
    for piece in script.refusal:
        yield {"refusal": piece}, None
    for index, tool in enumerate(script.tools):
        begun = {"name": tool.name, "arguments": ""}
        yield (
            {
                "tool_calls": [
                    {"index": index, "id": tool.ident, "type": "function", "function": begun}
                ]
            },
            None,
        )
        for piece in tool.pieces:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None


def _chunks(shape: Shape, script: Script, *, usage: bool) -> Iterable[bytes]:
    kind = "chat.completion.chunk" if shape is Shape.CHAT else "text_completion"
    top = {**_top(kind), **({"usage": None} if usage else {})}
    steps = list(_deltas(script)) if shape is Shape.CHAT else [(p, None) for p in script.pieces]
    for delta, probs in steps:
        for index in range(script.choices):
            choice = {"index": index, "logprobs": probs, "finish_reason": None}
            choice["delta" if shape is Shape.CHAT else "text"] = delta
            yield data({**top, "choices": [choice], "obfuscation": "x7"})
    for index in range(script.choices):
        choice = {"index": index, "logprobs": None, "finish_reason": script.why}
        choice["delta" if shape is Shape.CHAT else "text"] = {} if shape is Shape.CHAT else ""
        yield data({**top, "choices": [choice]})
    if usage:
        yield data({**top, "choices": [], "usage": _usage(script), **script.extra})
    yield DONE


def _completion(script: Script) -> dict[str, Any]:
    return {
        **_top("text_completion"),
        "choices": [
            {"index": n, "text": script.text, "logprobs": None, "finish_reason": script.why}
            for n in range(script.choices)
        ],
        "usage": _usage(script),
        **script.extra,
    }


def _items(script: Script) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if script.text:
        part = {"type": "output_text", "text": script.text, "annotations": [], "logprobs": []}
        items.append(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    for n, tool in enumerate(script.tools):
        items.append(
            {
                "id": f"fc_{n}",
                "type": "function_call",
                "status": "completed",
                "call_id": tool.ident,
                "name": tool.name,
                "arguments": tool.text,
            }
        )
    return items


def _response(script: Script, status: str = "completed") -> dict[str, Any]:
    done = status == "completed"
    used = {"input_tokens": 3, "output_tokens": script.used, "total_tokens": 3 + script.used}
    details = {
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "m-7",
        "output": _items(script) if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {**used, **details} if done else None,
        **script.extra,
    }


def _response_events(script: Script) -> Iterable[dict[str, Any]]:
    said: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response(script, "in_progress")},
        {"type": "response.in_progress", "response": _response(script, "in_progress")},
    ]
    tools = list(script.tools)
    for index, item in enumerate(_items(script)):
        at = {"item_id": item["id"], "output_index": index}
        fresh = {**item, "status": "in_progress"}
        if item["type"] == "message":
            part = item["content"][0]
            empty = {**part, "text": ""}
            said.append(
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {**fresh, "content": []},
                }
            )
            at["content_index"] = 0
            said.append({"type": "response.content_part.added", **at, "part": empty})
            said.extend(
                {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
                for piece in script.pieces
            )
            said.append(
                {"type": "response.output_text.done", **at, "text": script.text, "logprobs": []}
            )
            said.append({"type": "response.content_part.done", **at, "part": part})
        else:
            tool = tools.pop(0)
            said.append(
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {**fresh, "arguments": ""},
                }
            )
            kind = "response.function_call_arguments"
            said.extend({"type": f"{kind}.delta", **at, "delta": p} for p in tool.pieces)
            said.append({"type": f"{kind}.done", **at, "name": tool.name, "arguments": tool.text})
        said.append({"type": "response.output_item.done", "output_index": index, "item": item})
    said.append({"type": "response.completed", "response": _response(script)})
    for number, event in enumerate(said):
        yield {**event, "sequence_number": number}


def _message(script: Script) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if script.thoughts:
        thought = "".join(script.thoughts)
        content.append({"type": "thinking", "thinking": thought, "signature": "sig-1"})
    if script.text:
        content.append({"type": "text", "text": script.text})
    content += [
        {
            "type": "tool_use",
            "id": tool.ident,
            "name": tool.name,
            "input": json.loads(tool.text or "{}"),
        }
        for tool in script.tools
    ]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-7",
        "content": content,
        "stop_reason": "tool_use" if script.tools else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": script.used},
        **script.extra,
    }


def _message_events(script: Script) -> Iterable[dict[str, Any]]:
    message = _message(script)
    begun = {
        **message,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    tools = list(script.tools)
    for index, block in enumerate(message["content"]):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
        first = {**block, **empty.get(block["type"], {"input": {}})}
        yield {"type": "content_block_start", "index": index, "content_block": first}
        deltas: list[dict[str, Any]]
        if block["type"] == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in script.pieces]
        elif block["type"] == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": p} for p in script.thoughts]
            deltas.append({"type": "signature_delta", "signature": "sig-1"})
        else:
            pieces = tools.pop(0).pieces
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": script.used}}
    yield {"type": "message_stop"}


_WHOLE = {
    Shape.CHAT: _chat,
    Shape.COMPLETION: _completion,
    Shape.RESPONSES: _response,
    Shape.MESSAGES: _message,
}
_STREAM = {Shape.RESPONSES: _response_events, Shape.MESSAGES: _message_events}
