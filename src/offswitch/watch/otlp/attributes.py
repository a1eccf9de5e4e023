"""Attributes: what a sender says of a point, a record or a span, made short and plain.

Only texts, numbers and truth values count; a list or a map is no label and no name. Names may
hold letters, digits, underscores and dots, as series' labels do; everything else becomes `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

__all__ = ["labels_of", "number_of", "plain_name", "read_attributes", "text_of"]

_MOST = 64
_MOST_LABELS = 12
_LONGEST = 100
_LONGEST_TEXT = 1000
_LONGEST_SPELT = 8192
"""Bytes of a structure that is still spelt out."""
_ODD = re.compile(r"[^A-Za-z0-9_.:]")
_ODD_LABEL = re.compile(r"[^A-Za-z0-9_.]")


def text_of(value: Any, longest: int = _LONGEST_TEXT) -> str:  # noqa: ANN401 - an AnyValue
    """Give an AnyValue as text, cut; what has parts is spelt as protobuf spells it."""
    text: str = value.string_value
    if text:  # by far the commonest
        return text[:longest]
    match value.WhichOneof("value"):
        case None | "string_value":
            return ""
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value" | "double_value" as name:
            return f"{getattr(value, name):g}" if name == "double_value" else str(value.int_value)
        case "bytes_value":
            return bytes(value.bytes_value[:longest]).hex()[:longest]
        case _ if value.ByteSize() <= _LONGEST_SPELT:
            return " ".join(str(value).split())[:longest]
        case _:
            return f"(a structure of {value.ByteSize()} bytes)"


def read_attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Give so many attributes at most, by key, as AnyValues."""
    return {pair.key: pair.value for pair in islice(pairs, _MOST)}


def labels_of(pairs: Iterable[Any], more: Mapping[str, str]) -> dict[str, str]:
    """Give what of the attributes can be labels, beside `more`."""
    labels = dict(more)
    for key, value in sorted(read_attributes(pairs).items()):
        if len(labels) >= _MOST_LABELS:
            break
        if value.WhichOneof("value") in {"string_value", "bool_value", "int_value"}:
            labels[plain_name(key, _ODD_LABEL)] = text_of(value, _LONGEST)
    return labels


def number_of(value: Any) -> float | None:  # noqa: ANN401 - an AnyValue
    """Give an AnyValue as a number; None: it is none."""
    match value.WhichOneof("value"):
        case "int_value":
            return float(value.int_value)
        case "double_value":
            return float(value.double_value)
        case _:
            return None


def plain_name(name: str, odd: re.Pattern[str] = _ODD) -> str:
    """Make a name that a series may bear."""
    plain = odd.sub("_", name[:_LONGEST])
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"
