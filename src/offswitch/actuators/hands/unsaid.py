"""What others say, without the secrets that were shown to them.

A server that refuses a token may quote it, and AWS quotes a whole request, its session token
included, where a signature does not match. Whatever is told of an answer goes through here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from offswitch.printable import printable

__all__ = ["unsaid"]

_SHORTEST, _SHORTEST_PART = 4, 12
"""Shorter than that, a secret or a part of one would hide words that are none."""


def unsaid(text: object, secrets: Iterable[str], limit: int = 200) -> str:
    """Give `text` for people to read, with every secret, or part of a secret, as `•••`."""
    shown = str(text)
    for secret in secrets:
        parts = [part for part in re.split(r"[\s=]+", secret) if len(part) >= _SHORTEST_PART]
        for part in sorted({secret, *parts}, key=len, reverse=True):
            if len(part) >= _SHORTEST:
                shown = shown.replace(part, "•••").replace(quote(part, safe=""), "•••")
                shown = _without_beginning(shown, part)
    return printable(shown, limit)


def _without_beginning(shown: str, part: str) -> str:
    """Hide a secret that `shown` breaks off in: only the beginning of an answer is told."""
    for size in range(min(len(part), len(shown)), _SHORTEST - 1, -1):
        if shown.endswith(part[:size]):
            return shown[:-size] + "•••"
    return shown
