"""A tool call, as an event tells it: its name and its arguments, each a short text.

    name        the tool's
    arg.NAME    one argument (`guard.step("tool", name, args)`)
    args        or all of them as one JSON text (a span's `gen_ai.tool.call.arguments`)
    cut         something was left out

All of it is the target's own words. JSON is taken apart to a small depth, names joined by dots;
what is no JSON is one argument without a name. Nothing is ever run, opened or followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

__all__ = ["Call", "call_of"]

_MOST = 32
_DEEPEST = 4
_LONGEST = 1000
_PREFIX = "arg."


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    args: Mapping[str, str]
    """Flat; empty where nobody told them."""
    cut: bool
    """Whether something of it was left out."""

    def fingerprint(self) -> bytes:
        """Give what is equal for equal calls."""
        text = "\0".join((self.name, *(f"{key}\1{self.args[key]}" for key in sorted(self.args))))
        return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def call_of(detail: Mapping[str, str]) -> Call:
    """Read an event."""
    name = detail.get("name") or detail.get("tool") or ""
    args = {key[len(_PREFIX) :]: text for key, text in detail.items() if key.startswith(_PREFIX)}
    cut = "cut" in detail
    whole = detail.get("args") or detail.get("arguments")
    if whole:
        try:
            flat = list(_flat("", json.loads(whole), _DEEPEST))
        except (ValueError, RecursionError):
            flat = [("", whole)]
        args |= dict(flat[:_MOST])
        cut = cut or len(flat) > _MOST
    return Call(name, args, cut)


def _flat(name: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    """Take JSON apart."""
    if depth and isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), inner, depth - 1)
    elif depth and isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(f"{name}.{number}" if name else str(number), inner, depth - 1)
    elif isinstance(value, str):
        yield name, value[:_LONGEST]
    else:
        yield name, json.dumps(value)[:_LONGEST]
