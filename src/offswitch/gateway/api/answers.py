"""A fixed text as an answer of the API that was asked, whole or as a stream.

It is what a route's fallback says while its model is held back. It looks like any other answer, so
that programs go on; its model is called `offswitch`, so that nobody takes it for a model's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from offswitch.clock import SystemClock, new_nonce
from offswitch.gateway.api.strict import dump
from offswitch.gateway.exchange import Asked, Reply, Shape

__all__ = ["MODEL", "fixed", "message_item"]

MODEL = "offswitch"
Said = Mapping[str, object]
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"))
_WHOLE = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


def fixed(asked: Asked, text: str) -> Reply:
    """Give `text` as the whole answer to what is asked."""
    now = SystemClock().wall_us() // 1_000_000
    ident = new_nonce()
    match asked.shape:
        case Shape.CHAT:
            whole, events = _chat(text, ident, now, asked)
        case Shape.COMPLETION:
            whole, events = _completion(text, ident, now, asked)
        case Shape.RESPONSES:
            whole, events = _response(text, ident, now)
        case Shape.MESSAGES:
            whole, events = _message(text, ident)
        case _:
            raise ValueError(f"{asked.shape} has no answer in words")
    if asked.stream:
        return Reply(200, _STREAM, b"".join(events))
    return Reply(200, _WHOLE, dump(whole))


def _data(*events: Said) -> Iterable[bytes]:
    yield from (b"data: " + dump(event) + b"\n\n" for event in events)
    yield b"data: [DONE]\n\n"


def _named(*events: Said) -> Iterable[bytes]:
    for event in events:
        yield b"event: " + str(event["type"]).encode() + b"\ndata: " + dump(event) + b"\n\n"


def _wants_usage(asked: Asked) -> bool:
    options = cast("Said", asked.body).get("stream_options")
    return type(options) is dict and options.get("include_usage") is True


_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _chat(text: str, ident: str, now: int, asked: Asked) -> tuple[Said, Iterable[bytes]]:
    top = {"id": f"chatcmpl-{ident}", "object": "chat.completion", "created": now, "model": MODEL}
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    part = {**top, "object": "chat.completion.chunk"}

    def chunk(delta: Said, finish: str | None = None) -> Said:
        return {**part, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    events = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": text}),
        chunk({}, "stop"),
    ]
    if _wants_usage(asked):
        events.append({**part, "choices": [], "usage": _NO_TOKENS})
    return {**top, "choices": [choice], "usage": _NO_TOKENS}, _data(*events)


def _completion(text: str, ident: str, now: int, asked: Asked) -> tuple[Said, Iterable[bytes]]:
    top = {"id": f"cmpl-{ident}", "object": "text_completion", "created": now, "model": MODEL}
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    events: list[Said] = [{**top, "choices": [choice]}]
    if _wants_usage(asked):
        events.append({**top, "choices": [], "usage": _NO_TOKENS})
    return {**top, "choices": [choice], "usage": _NO_TOKENS}, _data(*events)


def message_item(text: str, ident: str) -> Said:
    """Give a text as an item of a response's output."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{ident}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _response(text: str, ident: str, now: int) -> tuple[Said, Iterable[bytes]]:
    item = message_item(text, ident)
    part = cast("list[Said]", item["content"])[0]
    empty = {**part, "text": ""}
    usage = {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
    begun = {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": now,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": MODEL,
        "output": [],
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
    whole = {**begun, "status": "completed", "output": [item], "usage": usage}
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": empty},
        {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, _named(*({**event, "sequence_number": n} for n, event in enumerate(events)))


def _message(text: str, ident: str) -> tuple[Said, Iterable[bytes]]:
    usage = {"input_tokens": 0, "output_tokens": 0}
    begun: dict[str, object] = {
        "id": f"msg_{ident}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    whole = {**begun, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return whole, _named(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 0}},
        {"type": "message_stop"},
    )
