"""Ollama: `/api/ps` says which models are loaded, not whether they work.

So a loaded model proves nothing either way. That none is loaded proves little more: what Ollama
hands on to a model of its cloud is never loaded here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Said

__all__ = ["Ollama"]

_OK = 200


class Ollama:
    """Asks Ollama."""

    FIRST_S = 0.5
    EVERY_S = 2.0

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """There is nothing to be said."""

    async def look(self, ask: Ask) -> Said:
        """Ask what is loaded."""
        status, body = await ask.get("/api/ps")
        said = json.loads(body) if status == _OK else None
        if not isinstance(said, dict) or not isinstance(said.get("models"), list):
            return Said(None, "Ollama does not say what it has loaded")
        if not said["models"]:
            return Said(None, "Ollama has no model loaded, and does not tell of its cloud's")
        return Said(None, "Ollama tells which models are loaded, not whether they work")
