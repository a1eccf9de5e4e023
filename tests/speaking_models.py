"""What model servers answer, in the shapes of the APIs that a gateway senses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-7"}
PROSE = (
    "the order was found and its price is right so we can send it today if the stock holds the "
    "customer asked for a refund because one item came late please look at the second page of the "
    "report for details there are three open tickets about the new form and two of them wait for "
    "a test build which failed with a timeout in the third step of the pipeline again this week "
)


def event(said: object, *, spaced: bool = False, name: str = "") -> bytes:
    text = json.dumps(said, separators=None if spaced else (",", ":"))
    return f"{f'event: {name}' + chr(10) if name else ''}data: {text}\n\n".encode()


def chat(
    pieces: Iterable[str],
    *,
    finish: str = "stop",
    spaced: bool = False,
    usage: Any = None,  # noqa: ANN401
) -> Iterator[bytes]:
    """A chat's stream, an event a piece."""

    def one(delta: object, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**HEAD, "choices": [choice]}, spaced=spaced)

    yield one({"role": "assistant", "content": ""})
    for piece in pieces:
        yield one({"content": piece})
    yield one({}, finish)
    if usage is not None:
        yield event({**HEAD, "choices": [], "usage": usage}, spaced=spaced)
    yield b"data: [DONE]\n\n"


def chat_calls(name: str, arguments: Sequence[str]) -> Iterator[bytes]:
    """A chat's stream that calls a tool, its arguments in pieces."""

    def one(function: object, reason: str | None = None) -> bytes:
        calls = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
        delta: dict[str, object] = {"tool_calls": calls} if function else {}
        return event({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    yield one({"name": name, "arguments": ""})
    for piece in arguments:
        yield one({"arguments": piece})
    yield one(None, "tool_calls")
    yield b"data: [DONE]\n\n"


def messages(pieces: Iterable[str], *, finish: str = "end_turn") -> Iterator[bytes]:
    """Anthropic's stream."""
    usage = {"input_tokens": 25, "output_tokens": 1}
    yield event(
        {"type": "message_start", "message": {"id": "m", "usage": usage}}, name="message_start"
    )
    block = {"type": "text", "text": ""}
    yield event({"type": "content_block_start", "index": 0, "content_block": block})
    for piece in pieces:
        delta = {"type": "text_delta", "text": piece}
        yield event({"type": "content_block_delta", "index": 0, "delta": delta})
    yield event({"type": "content_block_stop", "index": 0})
    said = {"stop_reason": finish, "stop_sequence": None}
    yield event({"type": "message_delta", "delta": said, "usage": {"output_tokens": 15}})
    yield event({"type": "message_stop"}, name="message_stop")


def messages_call(name: str, arguments: Sequence[str]) -> Iterator[bytes]:
    """Anthropic's stream of a call of a tool."""
    block = {"type": "tool_use", "id": "t", "name": name, "input": {}}
    yield event({"type": "content_block_start", "index": 0, "content_block": block})
    for piece in arguments:
        delta = {"type": "input_json_delta", "partial_json": piece}
        yield event({"type": "content_block_delta", "index": 0, "delta": delta})
    yield event({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}})


def responses(pieces: Iterable[str], call: tuple[str, str] | None = None) -> Iterator[bytes]:
    """OpenAI's stream of a response, with a call of a tool if asked."""
    for piece in pieces:
        yield event({"type": "response.output_text.delta", "item_id": "i", "delta": piece})
    if call is not None:
        item = {"type": "function_call", "name": call[0], "arguments": "", "status": "in_progress"}
        yield event({"type": "response.output_item.added", "item": item})
        item = {**item, "arguments": call[1], "status": "completed"}
        yield event({"type": "response.output_item.done", "item": item})
    usage = {"input_tokens": 7, "output_tokens": 11}
    said = {"status": "completed", "usage": usage}
    yield event({"type": "response.completed", "response": said})


def words(text: str, count: int) -> list[str]:
    """Cut a text into so many pieces of a word each, over and over."""
    each = text.split()
    return [f" {each[number % len(each)]}" for number in range(count)]
