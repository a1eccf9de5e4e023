"""By which bytes the APIs' streams are known, without taking their JSON apart.

Within a string of JSON a quote stands behind a backslash; so `content":"` is always a key and
the begin of its value, whatever a model writes: the text that it writes cannot look like one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

__all__ = [
    "MARKS",
    "Marks",
    "calls_in",
    "calls_of",
    "reason_of",
    "refuses",
    "strings",
    "unescaped",
    "usage_of",
]


@dataclass(frozen=True, slots=True)
class Marks:
    """What to look for in the answers of one call."""

    text: bytes
    """The key of the text in events, with its quote."""
    whole: bytes
    """The same in an answer that is no stream."""
    tools: bytes = b""
    """What is there if, and only if, a tool is called."""
    arguments: bytes = b""
    """The key of the pieces of its arguments, where they come in lines without `tools`."""
    lines: bytes = b""
    """Only lines with this count for calls of tools; empty: all with one of the two."""


MARKS = {
    "chat": Marks(b'content"', b'content"', b'"tool_calls":'),
    "completion": Marks(b'"text"', b'"text"'),
    "responses": Marks(b'"delta"', b'"text"', b'"function_call"', lines=b"output_item.done"),
    "messages": Marks(b'"text"', b'"text"', b'"tool_use"', b'"partial_json":'),
}
"""By shape; others are bytes and nothing more."""

_STRING = rb': ?"((?:[^"\\]|\\.)*)'
_FINISHED = re.compile(
    rb'"(?:finish_reason|stop_reason)": ?"([a-z_]{1,30})"|"type": ?"response\.'
    rb'(completed|incomplete|failed)"'
)
_STATUS = re.compile(rb'"status": ?"(completed|incomplete|failed)"')
_USAGE = re.compile(rb'"(prompt|input|completion|output)_tokens": ?(\d{1,9})')
_PIECE = re.compile(rb'"(name|arguments|partial_json)": ?"((?:[^"\\]|\\.)*)"')
_REASON = {
    b"stop": 0, b"end_turn": 0, b"stop_sequence": 0, b"completed": 0,
    b"length": 1, b"max_tokens": 1, b"incomplete": 1,
    b"tool_calls": 2, b"tool_use": 2, b"function_call": 2,
    b"content_filter": 3, b"refusal": 4,
}  # fmt: skip
_OTHER = 5
_PHRASES = (
    b"i can't",
    b"i cannot",
    b"i can not",
    b"i'm unable",
    b"i am unable",
    b"i won't",
    b"i'm not able to",
    b"i'm sorry, but",
    b"i must decline",
    b"as an ai",
)
_QUOTE = "\N{RIGHT SINGLE QUOTATION MARK}".encode()
_LONGEST_NAME, _LONGEST_ARGUMENTS = 100, 2000
_MOST_CALLS = 64
_DEEPEST = 8


def strings(data: bytes, key: bytes, colon: bytes) -> list[bytes]:
    """List the values of a key that are strings, still escaped; `colon` as it is spelt here."""
    if b"\\" in data and b'\\"' in data:
        return re.findall(re.escape(key) + _STRING, data)
    pieces = data.split(key + colon)
    del pieces[0]
    return [piece[: piece.find(b'"')] for piece in pieces]


def unescaped(text: bytes) -> bytes:
    """Give the text that an escaped one stands for; one that is cut or broken stays as it is."""
    if b"\\" not in text:
        return text
    try:
        return str(json.loads(b'"' + text + b'"', strict=False)).encode("utf-8", "replace")
    except ValueError:
        return text


def reason_of(data: bytes) -> int | None:
    """Give why the model ended, as a number of `REASONS`; None: it does not say."""
    found = _FINISHED.findall(data)
    if found:
        return _REASON.get(found[-1][0] or found[-1][1], _OTHER)
    status = _STATUS.search(data)
    return _REASON.get(status[1], _OTHER) if status else None


def usage_of(data: bytes) -> tuple[int, int]:
    """Give how many tokens went in and came out, as the server says; 0: it does not."""
    came = went = 0
    if b"_tokens" not in data:
        return 0, 0
    for which, number in _USAGE.findall(data):
        if which in {b"prompt", b"input"}:
            came = max(came, int(number))
        else:
            went = max(went, int(number))
    return came, went


def refuses(begin: bytes) -> bool:
    """Tell whether an answer that begins like this is a refusal."""
    low = begin.lower().replace(_QUOTE, b"'")
    return any(phrase in low for phrase in _PHRASES)


def calls_of(lines: bytes, marks: Marks, calls: list[list[bytes]]) -> None:
    """Take the pieces of calls of tools out of lines of events: `[name, arguments]`, bounded."""
    for line in lines.split(b"\n"):
        if marks.lines and marks.lines not in line:
            continue
        if marks.tools not in line and (not marks.arguments or marks.arguments not in line):
            continue
        for key, text in _PIECE.findall(line):
            if key == b"name":
                if len(calls) < _MOST_CALLS:
                    calls.append([text[:_LONGEST_NAME], b""])
            elif calls and len(calls[-1][1]) < _LONGEST_ARGUMENTS:
                calls[-1][1] += text


def calls_in(body: bytes) -> list[list[bytes]]:
    """List the calls of tools in an answer that is no stream, as `calls_of` does."""
    found: list[list[bytes]] = []
    try:
        _walk(json.loads(body), found, _DEEPEST)
    except (ValueError, RecursionError):
        return []
    return found


def _walk(value: object, found: list[list[bytes]], depth: int) -> None:
    if not depth or len(found) >= _MOST_CALLS:
        return
    if isinstance(value, list):
        for each in value[:_MOST_CALLS]:
            _walk(each, found, depth - 1)
    elif isinstance(value, dict):
        name, arguments = value.get("name"), value.get("arguments", value.get("input"))
        if isinstance(name, str) and arguments is not None:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            escaped = json.dumps(text[:_LONGEST_ARGUMENTS])[1:-1].encode()
            found.append([json.dumps(name[:_LONGEST_NAME])[1:-1].encode(), escaped])
            return
        for each in value.values():
            _walk(each, found, depth - 1)
