"""SGLang: `/v1/loads`, or `/get_load`, or the gauges on `/metrics`; and `/abort_request`.

The id of an answer is its request's `rid`; each is aborted by a call of its own, `abort_all` by
none. Whatever *begins* with a `rid` is aborted with it, and a client may choose its own: a letter
would end the work of others. So only those are named that are as long as the server's own.
The metrics are there only where the server was started with `--enable-metrics`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from offswitch.control.gauges import in_work, load_of, sum_of
from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Said

__all__ = ["Sglang"]

_OK = 200
_GAUGES = ("sglang:num_running_reqs", "sglang:num_queue_reqs")
_MOST_ABORTED = 256
_OF_ITS_OWN = 32
"""Hexadecimal digits of an id that the server gives."""


class Sglang:
    """Asks a server of SGLang."""

    FIRST_S = 0.3
    EVERY_S = 0.7

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """Have it drop these answers, one by one."""
        whole = [one for one in answers if len(one) >= _OF_ITS_OWN]
        for one in whole[:_MOST_ABORTED]:
            status, _body = await ask.post("/abort_request", {"rid": one, "abort_all": False})
            if status != _OK:
                return  # it does not know the call

    async def look(self, ask: Ask) -> Said:
        """Sum up over its ranks."""
        for path, names in (
            ("/v1/loads", ("num_running_reqs", "num_waiting_reqs")),
            ("/get_load", ("num_reqs",)),
        ):
            status, body = await ask.get(path)
            count = load_of(json.loads(body), names) if status == _OK else None
            if count is not None:
                return Said(count, f"SGLang's {path}")
        status, page = await ask.get("/metrics")
        count = in_work(page, _GAUGES) if status == _OK else None
        if count is None:
            return Said(None, "SGLang shows neither its load nor metrics (--enable-metrics)")
        return Said(count, "SGLang's gauge", sum_of(page, "sglang:generation_tokens_total"))
