"""Reads a JSON body in the only way in which it can be read.

What we read decides what is let through, and the server behind reads the same bytes once more. Had
they two meanings, one for us and one for it, that would be a way round a stop. So whatever two
honest parsers may take in two ways is refused: a name that is there twice, at any depth; a name
that differs from one we go by in case alone (Go, and so Ollama, takes `Model` for `model`); NaN,
and numbers that no double holds; bytes that are not UTF-8; a body that is compressed, or says that
it is in another encoding. And what costs more to read than a model's request should is refused,
since while we read nothing else is done: depth (Python's own measure), the number of values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import cast

from offswitch.gateway.exchange import Head, Malformed

__all__ = ["dump", "name_of", "names_of", "parse", "plain_bytes", "shallow", "text_of"]

_DEEPEST = 100
_MOST_VALUES = 500_000
"""Commas and brackets in one body: some 50 ms of reading. Two thousand embeddings of 250 tokens."""
_LONGEST_NAME = 512
_OF_THE_BODY = frozenset((b"content-encoding", b"content-type"))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise Malformed("a name is there twice in one object")
    return said


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Malformed("a number is too large for a double")
    return number


def _no_number(text: str) -> float:
    raise Malformed(f"{text} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def plain_bytes(head: Head) -> None:
    """Refuse a body that the upstream would have to decode before it reads it as we do."""
    for name, value in head.headers:
        if name not in _OF_THE_BODY:
            continue
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise Malformed("the body is compressed; send it as it is")
        if name == b"content-type" and b"charset" in value.lower():
            _, *charsets = value.lower().split(b"charset")  # of two, servers take either
            charset = charsets[0].strip(b" \t=\"'").partition(b";")[0].strip(b" \t\"'")
            if len(charsets) > 1 or charset not in (b"utf-8", b"utf8"):
                raise Malformed("the body is in another encoding than UTF-8")


def parse(body: bytes) -> object:
    """Read JSON that has one meaning; `Malformed` says why it has not."""
    if len(body) > _MOST_VALUES and sum(map(body.count, (b"{", b"[", b","))) > _MOST_VALUES:
        raise Malformed(f"more than {_MOST_VALUES} values")
    try:
        value: object = _DECODER.decode(body.decode())
    except RecursionError:
        raise Malformed("nested too deep") from None
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    except ValueError as wrong:
        place = getattr(wrong, "pos", None)
        raise Malformed("no JSON" if place is None else f"no JSON at character {place}") from None
    return value


def shallow(value: object) -> None:
    """Refuse what is nested deeper than code that looks through it has to reckon with."""
    level: list[object] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            for inner in (each.values() if type(each) is dict else cast("list[object]", each))
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise Malformed(f"nested deeper than {_DEEPEST}")


def names_of(value: object, known: frozenset[str], where: str) -> Mapping[str, object]:
    """Give an object none of whose names could be taken for another of `known`."""
    if type(value) is not dict:
        raise Malformed(f"{where} is no object")
    said = cast("dict[str, object]", value)
    if said.keys() <= known:
        return said
    for name in said.keys() - known:
        if name.casefold() in known:
            raise Malformed(f"{where}: a name is written in an unusual way")
    return said


def text_of(said: Mapping[str, object], name: str) -> str:
    """Give a short text of an object; empty: it is not there, or null."""
    value = said.get(name)
    if value is None:
        return ""
    if type(value) is not str or len(value) > _LONGEST_NAME:
        raise Malformed(f"{name} is no short text")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Malformed(f"{name} is no text")
    return value


def name_of(said: Mapping[str, object], name: str) -> str:
    """Give a text by which something is known: a server that trims it reads what we read."""
    value = text_of(said, name)
    if not value.isprintable() or value != value.strip():
        raise Malformed(f"{name} has more in it than a name")
    return value


def dump(value: object) -> bytes:
    """Write JSON, in ASCII: what was read by `parse` always can be."""
    return _ENCODER.encode(value).encode()
