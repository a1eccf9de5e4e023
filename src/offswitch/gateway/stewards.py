"""Which steward serves a request, and whether it must have the body to do so.

api      by the path, and where that leaves it open by the route's declaration
steward  of that API; where there is none, the one of what speaks none
reads    what is read whole: model calls and MCP; any other upload goes on as it comes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from offswitch.gateway.api.paths import is_read
from offswitch.gateway.api.pick import api_of
from offswitch.gateway.exchange import Head, Steward
from offswitch.gateway.plan.route import Api

__all__ = ["Served", "Stewards"]

_MOST_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class Served:
    """How a request is served."""

    steward: Steward
    reads: bool
    """Whether the steward must have the body."""
    names: bool = False
    """Whether a refusal names what was asked: it is read, too, where nothing may pass."""


class Stewards:
    """The stewards of one worker; there is one for `Api.PLAIN`."""

    def __init__(self, by_api: Mapping[Api, Steward]) -> None:
        """Serve each API by its steward."""
        self.by_api = by_api
        self._known: dict[tuple[Api, bytes, bytes, bool], Served] = {}
        """What was found, by all that decides it: the same few paths come again and again."""

    def served(self, declared: Api, head: Head) -> Served:
        """Say how a request is served, as far as its head tells."""
        versioned = declared is Api.AUTO and head.get(b"anthropic-version") is not None
        key = (declared, head.method, head.path, versioned)
        found = self._known.get(key)
        if found is None:
            api = api_of(declared, head)
            steward = self.by_api.get(api) or self.by_api[Api.PLAIN]
            reads = api in self.by_api and (api is Api.MCP or is_read(head))
            named = api is Api.MCP and head.method == b"POST"
            found = Served(steward, reads and api is not Api.PLAIN, reads and named)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found
