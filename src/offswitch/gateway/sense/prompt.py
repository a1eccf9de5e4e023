"""What a request says, cut short: the last words that a model is given, and a call's arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice

__all__ = ["arguments_of", "last_words"]

_LONGEST = 500
_MOST = 13
_DEEPEST = 3
_SAYING = ("messages", "input", "prompt", "content", "text", "output")
"""Under which names the APIs say something, the whole before its parts."""


def last_words(body: object) -> bytes:
    """Give the end of what a parsed request asks, in any of the APIs' shapes; empty: none."""
    at: object = body
    for _ in range(_DEEPEST * 2):
        if isinstance(at, str):
            return at[-_LONGEST:].encode("utf-8", "replace")
        if isinstance(at, list) and at:
            at = at[-1]
        elif isinstance(at, dict):
            for key in _SAYING:
                if key in at:
                    at = at[key]
                    break
            else:
                break
        else:
            break
    return b""


def arguments_of(arguments: Mapping[str, object]) -> bytes:
    """Give arguments as JSON, cut to what a detector looks at; however many and deep they are."""
    return json.dumps(_cut(arguments, _DEEPEST), ensure_ascii=False).encode("utf-8", "replace")


def _cut(value: object, depth: int) -> object:
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Mapping):
        pairs = islice(value.items(), _MOST) if depth else ()
        return {str(key)[:40]: _cut(each, depth - 1) for key, each in pairs}
    if isinstance(value, list | tuple):
        return [_cut(each, depth - 1) for each in value[:_MOST]] if depth else []
    return value if isinstance(value, bool | float | None) or _short(value) else str(type(value))


def _short(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() < 1024  # noqa: PLR2004 - JSON's own are
