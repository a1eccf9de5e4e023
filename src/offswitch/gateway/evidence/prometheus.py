"""Any server with a gauge of the requests in work, on a page of metrics."""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.control.gauges import in_work
from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Said

__all__ = ["Prometheus"]

_OK = 200


class Prometheus:
    """Reads one gauge; the URL is the page's own."""

    FIRST_S = 0.5
    EVERY_S = 1.0

    def __init__(self, gauge: str) -> None:
        """`gauge` is the series, perhaps with labels that must stand there."""
        self._gauge = gauge

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """There is nothing to be said."""

    async def look(self, ask: Ask) -> Said:
        """Read the gauge."""
        status, page = await ask.get("")
        count = in_work(page, (self._gauge,)) if status == _OK else None
        return Said(count, "its gauge")
