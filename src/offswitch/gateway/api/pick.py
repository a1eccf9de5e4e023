"""Which steward answers for a request: by its path, and where that leaves it open by the route.

    stewards = model_stewards()
    steward = stewards[api_of(route.api, head)]       # MCP's is none of ours

The wire picks before it reads, so that even a request that cannot be read is refused in the shape
that its client knows. A path that belongs to one API is read as that API's whatever the route
declares: vLLM serves both, and unread it would pass for want of a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.plain import Plain
from offswitch.gateway.api.verdicts import Judges, by_declaration
from offswitch.gateway.exchange import Head, Steward
from offswitch.gateway.plan.route import Api

__all__ = ["api_of", "model_stewards"]

_KEPT = 128
"""How long a path may be for what it tells to be kept."""


def api_of(declared: Api, head: Head) -> Api:
    """Give the API that a request speaks."""
    if declared in (Api.MCP, Api.PLAIN):
        return declared
    path = head.path
    api = (_told if len(path) <= _KEPT else _tell)(path)
    if api is not None and (declared is Api.AUTO or api is not Api.MCP):
        return api
    if declared is not Api.AUTO:
        return declared
    return Api.ANTHROPIC if head.get(b"anthropic-version") else Api.OPENAI


def _tell(path: bytes) -> Api | None:
    path = path.rstrip(b"/").lower()
    if b"/messages" in path and b"/threads/" not in path:
        return Api.ANTHROPIC
    if path.endswith((b"completions", b"/responses", b"/embeddings")):
        return Api.OPENAI
    return Api.MCP if path.endswith(b"/mcp") else None


_told = lru_cache(1024)(_tell)
"""The same for paths that were seen before: most clients ask for few."""


def model_stewards(judges: Judges = by_declaration) -> Mapping[Api, Steward]:
    """Give the stewards of model APIs, and the one of what speaks none."""
    return {Api.OPENAI: OpenAi(judges), Api.ANTHROPIC: Anthropic(judges), Api.PLAIN: Plain()}
