"""A health check that only a running target passes: what shuts a front when this process is gone.

    server engine 10.0.0.7:8000 check addr 127.0.0.1 port 8199 inter 100ms fall 1 rise 1
        on-marked-down shutdown-sessions
    option httpchk GET /shop/eu/checkout

200 while the target's word says run and somebody vouches for the page; 503 else; and nothing at all
when nobody stands here any more, which a health check takes as badly.
"""

from __future__ import annotations

from urllib.parse import unquote

from offswitch.gateway.fronts.asked import Answer, Asked
from offswitch.gateway.fronts.following import Following
from offswitch.model.level import Level

__all__ = ["Standing"]


class Standing:
    """Answers for the targets that are followed."""

    def __init__(self, following: Following) -> None:
        """What it says is what the page says."""
        self._following = following

    async def answer(self, asked: Asked) -> Answer:
        """Say whether the target that the path names may be sent to."""
        target = unquote(asked.path.partition("?")[0]).strip("/")
        if target not in self._following.targets:
            return Answer(404, {"target": target[:200], "state": "unknown"})
        level = self._following.level(target)
        if level is None or level is Level.RESTRICT:
            return Answer(200, {"target": target, "state": "open"})
        return Answer(503, {"target": target, "state": "latched", "level": level.label})
