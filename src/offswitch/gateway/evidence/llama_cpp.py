"""llama.cpp's server: `/slots` says which slots work; where it is off, `/metrics` how many do.

It looks for a client that has gone only when a wait of one second for the next result times out,
and every question that it has to queue begins that wait anew (measured): whoever polls it hard
keeps it from noticing. So it is asked after a second and a half, and then less than once a second.
It has no API to abort; a closed connection is what it knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from offswitch.control.gauges import in_work
from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Said

__all__ = ["LlamaCpp"]

_OK = 200
_GAUGES = ("llamacpp:requests_processing", "llamacpp:requests_deferred")


class LlamaCpp:
    """Asks a server of llama.cpp."""

    FIRST_S = 1.5
    EVERY_S = 1.2

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """There is nothing to be said."""

    async def look(self, ask: Ask) -> Said:
        """Count the slots that work."""
        status, body = await ask.get("/slots")
        if status == _OK:
            slots = json.loads(body)
            if (
                isinstance(slots, list)
                and slots
                and all(
                    isinstance(one, dict) and isinstance(one.get("is_processing"), bool)
                    for one in slots
                )
            ):
                works = sum(one["is_processing"] for one in slots)
                return Said(works, f"of llama.cpp's {len(slots)} slots {works} work")
        status, body = await ask.get("/metrics")
        count = in_work(body, _GAUGES) if status == _OK else None
        if count is None:
            return Said(None, "llama.cpp shows neither its slots nor metrics (--metrics)")
        return Said(count, "llama.cpp's gauge")
