"""vLLM: the gauges on `/metrics`, and `/abort_requests` where the server was started with it.

That call exists only where `VLLM_SERVER_DEV_MODE` is set; the id of an answer is that of its
request. It takes a list, and an *empty list means everybody's*: so none is ever sent empty.

The gauges are renewed when the engine takes a step: after everything was aborted at once they may
go on saying what they said (vllm-project/vllm issues 22545 and 29928). How many tokens it has
written tells that apart from work.
"""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.control.gauges import in_work, sum_of
from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Said

__all__ = ["Vllm"]

_OK = 200
_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")


class Vllm:
    """Asks a server of vLLM."""

    FIRST_S = 0.3
    EVERY_S = 0.7

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """Have it drop these answers, all in one call."""
        if answers:
            await ask.post("/abort_requests", {"request_ids": [*answers]})

    async def look(self, ask: Ask) -> Said:
        """Read the gauges."""
        status, page = await ask.get("/metrics")
        count = in_work(page, _GAUGES) if status == _OK else None
        if count is None:
            return Said(None, "vLLM shows no gauge of its requests")
        return Said(count, "vLLM's gauge", sum_of(page, "vllm:generation_tokens_total"))
