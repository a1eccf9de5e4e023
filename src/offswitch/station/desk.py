"""Asking watch in a person's name: what stands at its desk, and answers to it."""

from __future__ import annotations

from typing import Any

from offswitch.errors import Unreachable
from offswitch.station.parts import Parts
from offswitch.station.people.visitor import Visitor
from offswitch.station.wire import ask

__all__ = ["at_desk"]


async def at_desk(parts: Parts, message: dict[str, Any], who: Visitor | None = None) -> Any:  # noqa: ANN401 - watch's object
    """Ask; `who` is in whose name, and whether they may is watch's matter, too."""
    named = message if who is None else {**message, "by": who.by}
    try:
        return await ask(f"{parts.place.control}/watch", named)
    except Unreachable as error:
        raise Unreachable(
            f"watch does not answer: {error.message}",
            "without a configuration nothing watches; else see: offswitch doctor",
        ) from None
