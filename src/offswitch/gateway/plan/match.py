"""Which route a request belongs to: the first that fits, by its head and what is asked.

A route that names a model fits only what asks for it, so such requests are read before they are
routed. What fits no route belongs to nobody, and is refused: nothing passes for want of a rule.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from offswitch.gateway.exchange import Asked, Head
from offswitch.gateway.plan.route import Route

__all__ = ["by_head", "choose", "shown_key", "stands_for"]

_BEARER = b"bearer "


def stands_for(pattern: str, name: str) -> bool:
    """Tell whether a declared name stands for `name`; `*` at its end stands for anything."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def shown_key(head: Head) -> bytes:
    """Give the API key that a client shows: as a bearer's token, or in `x-api-key`."""
    said = head.get(b"authorization") or b""
    if said[: len(_BEARER)].lower() == _BEARER:
        return said[len(_BEARER) :].strip()
    return head.get(b"x-api-key") or b""


def by_head(routes: Sequence[Route], head: Head) -> list[Route]:
    """List the routes that a request may belong to, as far as its head tells.

    Where a header that decides is there twice, whoever is behind might read the other one: none.
    """
    digest = ""
    found = []
    for route in routes:
        if not head.target.startswith(route.path):
            continue
        if route.header:
            names = [name for name, _value in head.headers]
            if any(names.count(name) > 1 for name in route.header):
                return []
            if any(head.get(name) != value for name, value in route.header.items()):
                continue
        if route.key_sha256:
            digest = digest or hashlib.sha256(shown_key(head)).hexdigest()
            if not hmac.compare_digest(digest, route.key_sha256):
                continue
        found.append(route)
        if not route.model:
            break  # it fits whatever is asked, so none behind it can be the first
    return found


def choose(found: Sequence[Route], asked: Asked) -> Route | None:
    """Give the first of the routes `by_head` found that fits what is asked.

    A model's name in another case is the same model: to Ollama it is, and else it would be a way
    round a route that names it.
    """
    model = asked.model.casefold()
    for route in found:
        if not route.model or stands_for(route.model.casefold(), model):
            return route
    return None
