"""Which steward serves a request, and whether it must have the body to do so.

    declared ─► mcp, plain          by the route, whatever is asked
    path     ─► openai, anthropic   what a server could take for a call of that API is read as one
    else     ─► by declaration, or as OpenAI's, whose refusals most clients know

What is not read is not kept: an upload to a path that no steward reads goes on as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from offswitch.gateway.exchange import Head, Steward
from offswitch.gateway.plan.route import Api

__all__ = ["Stewards"]


@dataclass(frozen=True, slots=True)
class Stewards:
    """The stewards of one worker; there is one for `Api.PLAIN`."""

    by_api: Mapping[Api, Steward]

    def api_of(self, declared: Api, head: Head) -> Api:
        """Give the API that a request is served as."""
        api = declared
        if declared is Api.AUTO:
            api = Api.ANTHROPIC if head.path.endswith(b"/messages") else Api.OPENAI
        return api if api in self.by_api else Api.PLAIN

    def of(self, declared: Api, head: Head) -> Steward:
        """Give the steward that serves a request."""
        return self.by_api[self.api_of(declared, head)]

    def reads(self, declared: Api, head: Head) -> bool:
        """Tell whether it must have the body."""
        return self.api_of(declared, head) is not Api.PLAIN
