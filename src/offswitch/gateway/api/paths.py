"""Which call of which API a request is, by its method and path.

Any prefix is allowed before the part that an API names, and the version may be left out, as
llama.cpp allows. A path that a server might take for one of these, but that is not written so (an
escape that needs none, a doubled slash, dots, a slash at its end, another case), is refused: else
writing `/v1/chat/%63ompletions` would be a way round whatever is held back of chats.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import parse_qs, unquote_to_bytes

from offswitch.gateway.exchange import Head, Malformed, Shape

__all__ = [
    "READ",
    "asks_for_stream",
    "begins_nothing",
    "cancels",
    "is_read",
    "model_in_query",
    "shape_of",
]

_READS = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_CANCEL = re.compile(rb"(?:/[\w.-]+)*/(?:responses|batches|runs|jobs)/[\w-]+/cancel")
_KEPT = 128
"""How long a path may be for what it tells to be kept."""
_POSTED: tuple[tuple[bytes, Shape], ...] = (
    (b"/chat/completions", Shape.CHAT),
    (b"/completions", Shape.COMPLETION),
    (b"/responses", Shape.RESPONSES),
    (b"/embeddings", Shape.EMBEDDINGS),
    (b"/messages", Shape.MESSAGES),
    (b"/messages/count_tokens", Shape.MODELS),
    (b"/responses/input_tokens", Shape.MODELS),
)
READ = frozenset(shape for _, shape in _POSTED)
"""Calls whose body says what is asked."""


@lru_cache(maxsize=1024)
def _spelled(path: bytes) -> bytes:
    """Give a path as the most forgiving server would read it."""
    parts: list[bytes] = []
    for part in unquote_to_bytes(path).replace(b"\\", b"/").lower().split(b"/"):
        bare = part.partition(b";")[0].strip()
        if bare == b"..":
            del parts[-1:]
        elif bare not in (b"", b"."):
            parts.append(bare)
    return b"/" + b"/".join(parts)


def _shape(method: bytes, path: bytes) -> Shape:
    if method == b"POST":
        for end, shape in _POSTED:
            if path.endswith(end):
                # An OpenAI thread's messages are another call than Anthropic's.
                return Shape.PLAIN if shape is Shape.MESSAGES and b"/threads/" in path else shape
        return Shape.PLAIN
    if path.endswith((b"/realtime", b"/responses")):
        return Shape.REALTIME
    if path.endswith(b"/models") or b"/models/" in path:
        return Shape.MODELS
    return Shape.RESPONSES if b"/responses/" in path else Shape.PLAIN


def shape_of(head: Head) -> Shape:
    """Tell which call it is; `Malformed` where a path is written so as to be taken for another."""
    path = head.path
    shape = (_told if len(path) <= _KEPT else _tell)(head.method, path)
    if shape is None:
        raise Malformed("the path is written in an unusual way")
    return shape


def _tell(method: bytes, path: bytes) -> Shape | None:
    shape = _shape(method, path)
    read = _spelled(path)
    return None if read != path and _shape(method, read) is not shape else shape


_told = lru_cache(1024)(_tell)
"""The same for paths that were seen before: most clients ask for few."""


def is_read(head: Head) -> bool:
    """Tell whether the body says what is asked; so it may where a path cannot be read."""
    try:
        return head.method == b"POST" and shape_of(head) in READ
    except Malformed:
        return True


def begins_nothing(head: Head) -> bool:
    """Tell whether a call only reads, or takes something away: a deletion, a cancel."""
    return head.method in _READS or head.method == b"DELETE" or cancels(head)


def cancels(head: Head) -> bool:
    """Tell whether a call ends something that was begun before: a response, a batch, a run."""
    return head.method == b"POST" and _CANCEL.fullmatch(head.path) is not None


def asks_for_stream(head: Head) -> bool:
    """Tell whether the query asks for a stream, as for a response that was begun before."""
    return b"stream=true" in head.target.partition(b"?")[2].lower()


def model_in_query(head: Head) -> str:
    """Give the model that a query names, as a realtime session does."""
    query = head.target.partition(b"?")[2]
    if b"model" not in query.lower():
        return ""
    try:
        found = parse_qs(query.decode(), max_num_fields=64).get("model", [])
    except ValueError:
        raise Malformed("the query cannot be read") from None
    if len(found) > 1:
        raise Malformed("the query names more than one model")
    return found[0] if found else ""
