"""Which steward serves a request, and whether it must have the body to do so.

api_of   by the path, and where that leaves it open by the route's declaration
of       the steward of that API; where there is none, the one of what speaks none
reads    what is read whole: model calls and MCP; an upload that nobody reads goes on as it comes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from offswitch.gateway.api.paths import is_read
from offswitch.gateway.api.pick import api_of
from offswitch.gateway.exchange import Head, Steward
from offswitch.gateway.plan.route import Api

__all__ = ["Stewards"]


@dataclass(frozen=True, slots=True)
class Stewards:
    """The stewards of one worker; there is one for `Api.PLAIN`."""

    by_api: Mapping[Api, Steward]

    def of(self, declared: Api, head: Head) -> Steward:
        """Give the steward that serves a request."""
        return self.by_api.get(api_of(declared, head)) or self.by_api[Api.PLAIN]

    def reads(self, declared: Api, head: Head) -> bool:
        """Tell whether it must have the body."""
        api = api_of(declared, head)
        if api is Api.PLAIN or api not in self.by_api:
            return False
        return api is Api.MCP or is_read(head)
