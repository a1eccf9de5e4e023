"""Ollama: its callers are cut off, and its models unloaded; nothing makes it refuse the next one.

`keep_alive: 0` unloads a model when the last answer of it has ended, and ends none. An answer ends
where its caller's connection does. So, on this machine, both: cut off, then unload. Elsewhere only
the second is left. Whoever asks next has the model loaded again: that it is unloaded is never
called *stopped*. That takes its process: name its unit, or run it in a cell of its own.

A model of its cloud (`…-cloud`) is never loaded here, and cannot be unloaded.
"""

from __future__ import annotations

from typing import Literal

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Role, Sight, Trouble
from offswitch.actuators.hands.serving.callers import NET_ADMIN, Callers
from offswitch.actuators.hands.serving.server import ServingHand, ServingSettings
from offswitch.clock import new_nonce
from offswitch.printable import printable

__all__ = ["Ollama"]

_KILLS = frozenset({"kill", "poweroff"})
_NO_SUCH = 404
_MOST = 64


class OllamaSettings(ServingSettings):
    """A server of Ollama."""

    KEEPS = frozenset({NET_ADMIN})

    kind: Literal["ollama"]


class Ollama(ServingHand):
    """Cuts Ollama's callers off and unloads its models."""

    Settings = OllamaSettings
    component = "Ollama"
    settings: OllamaSettings

    def __init__(self, settings: OllamaSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._callers = Callers()
        self._known: tuple[str, ...] = ()
        """What was loaded when it was proven last."""

    def prepare(self) -> None:
        """Open what cuts connections."""
        if self.context.role is Role.ACT:
            self._callers.prepare()

    def close(self) -> None:
        """Hang up."""
        super().close()
        self._callers.close()

    def arm(self) -> Readiness:
        """Have a model unloaded that nobody has: it says that there is none."""
        self._known = self._loaded()
        canary = self._unload(f"offswitch-canary-{new_nonce()}")
        if canary != _NO_SUCH:
            raise Trouble(f"{self.line.place}: unloading what is not there is answered {canary}")
        if self.context.role is Role.ACT and not self._callers.here(self.line):
            return Readiness(Ready.DEGRADED, "it runs elsewhere: an answer in work is not ended")
        return Readiness(Ready.DEGRADED, "it refuses nobody: the next request loads a model again")

    def trip(self, level: str) -> Acted:
        """Cut off whoever is connected, and unload what is loaded."""
        if level not in _KILLS:
            raise Trouble(f"Ollama knows no {level}", "name the gateway for this level")
        self.line.open()
        cut: tuple[str, ...] = ()
        here = self._callers.here(self.line)
        if here:
            cut = self._callers.cut(self.line)
        loaded = self._loaded()
        refused = [each for each in loaded if self._unload(each) not in {200, _NO_SUCH}]
        if refused:
            raise Trouble(f"{self.line.place} does not unload {printable(refused[0], 80)}")
        how = f"cut off {len(cut)} callers" if here else "ended no answer (it runs elsewhere)"
        names = ", ".join(printable(each, 80) for each in loaded) or "nothing: nothing is loaded"
        return Acted(f"{how}; unloads {names}", (*self.holds(), *cut))

    def look(self) -> Sight:
        """Ask what is loaded."""
        try:
            loaded = self._loaded()
        except Trouble as trouble:
            return self.gone(trouble)
        if loaded:
            return Sight(False, f"loaded: {', '.join(printable(each, 80) for each in loaded[:8])}")
        return Sight(None, "nothing is loaded, and the next request loads it again: its process")

    def release(self) -> Acted:
        """Load nothing: whoever asks has it loaded."""
        return Acted("nothing is loaded; the next request does that")

    def holds(self) -> tuple[str, ...]:
        """List what is loaded."""
        return tuple(f"{printable(each, 80)} is loaded" for each in self._known)

    def _loaded(self) -> tuple[str, ...]:
        answer = self.get("/api/ps")
        said = answer.json() if answer.ok else None
        rows = said.get("models") if isinstance(said, dict) else None
        names = [each.get("model") for each in rows or () if isinstance(each, dict)]
        if not isinstance(rows, list) or len(rows) > _MOST or len(names) != len(rows):
            raise self.wrong("/api/ps", answer)
        return tuple(str(each) for each in names)

    def _unload(self, model: str) -> int:
        return self.post("/api/generate", {"model": model, "keep_alive": 0}).status
