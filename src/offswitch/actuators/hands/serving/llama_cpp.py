"""llama.cpp's server: a router unloads its models; a server of one model cannot be told to stop.

    router (`--models-dir`, `--models-preset`)   /models/unload ends the process of the model. It is
        given `stop-timeout` seconds for that, ten unless its preset says otherwise, and writes on
        meanwhile (measured): `stop-timeout = 0` ends it in 20 ms. The next request loads it again
        unless the router was started with `--no-models-autoload`.
    one model (`--model`)   no call ends an answer or refuses one. On this machine its callers'
        connections are cut: a stream ends within milliseconds; who wants no stream is answered to
        the last token while the server is busy (measured), and whoever comes again is served. What
        was asked for with an `X-Conversation-Id` goes on without its caller. So it is *degraded*,
        and *stopped* only when nobody listens there any more: the rest is its process's cell.

A server of one model is asked less than once a second, since each question keeps it from noticing
who has gone. A router is asked as often as one likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Role, Sight, Trouble
from offswitch.actuators.hands.serving.callers import NET_ADMIN, Callers
from offswitch.actuators.hands.serving.server import ServingHand, ServingSettings
from offswitch.clock import new_nonce
from offswitch.printable import printable

__all__ = ["LlamaCpp"]

_KILLS = frozenset({"kill", "poweroff"})
_FIRST_US, _EVERY_US, _FORGOTTEN_US = 600_000, 1_200_000, 5_000_000
_MOST = 64
_BAD_REQUEST = frozenset({400, 404})
_AT_ONCE = "stop-timeout = 0"


class LlamaCppSettings(ServingSettings):
    """A server of llama.cpp."""

    KEEPS = frozenset({NET_ADMIN})

    kind: Literal["llama_cpp"]
    models: list[str] = Field(default=[], max_length=32)
    """Of a router: those that are unloaded; all unless given."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of a router."""

    name: str
    status: str
    at_once: bool
    """Whether it is ended at once when it is unloaded."""

    @property
    def alive(self) -> bool:
        """Whether there is a process of it, or may be."""
        return self.status != "unloaded"


class LlamaCpp(ServingHand):
    """Unloads the models of a router, or cuts the callers of a server of one model off."""

    Settings = LlamaCppSettings
    component = "llama.cpp"
    settings: LlamaCppSettings

    def __init__(self, settings: LlamaCppSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._callers = Callers()
        self._router: bool | None = None
        self._autoload = True
        self._works: tuple[str, ...] = ()
        """What was in work when it was proven last."""
        self._unloaded: tuple[str, ...] = ()
        self._asked_us: int | None = None
        """When the slots were asked for, or may be for the first time (`mono_us`)."""
        self._looked_us = 0
        self._slots = Sight(None, "its slots were not asked for yet")

    def prepare(self) -> None:
        """Open what cuts connections."""
        if self.context.role is Role.ACT:
            self._callers.prepare()

    def close(self) -> None:
        """Hang up."""
        super().close()
        self._callers.close()

    def arm(self) -> Readiness:
        """Have a model unloaded that nobody has; or see that its callers could be cut off."""
        self._props()
        if not self._router:
            self._works = tuple(self._in_work(""))
            if self.context.role is Role.ACT and not self._callers.here(self.line):
                detail = "it has no call that ends an answer, and runs elsewhere: its process"
                return Readiness(Ready.ABSENT, detail)
            detail = "no call ends an answer or refuses one: it is cut off, and needs its cell"
            return Readiness(Ready.DEGRADED, detail)
        models = list(self._models())
        self._works = tuple(
            work for each in models if each.status == "loaded" for work in self._in_work(each.name)
        )
        canary = self.post("/models/unload", {"model": f"offswitch-canary-{new_nonce()}"})
        if canary.status not in _BAD_REQUEST:
            raise self.wrong("/models/unload", canary)
        if self._autoload:
            detail = "the next request loads it again: --no-models-autoload"
            return Readiness(Ready.DEGRADED, detail)
        slow = [each.name for each in models if not each.at_once]
        if slow:
            detail = f"{', '.join(slow)} writes on for seconds: {_AT_ONCE} in its preset"
            return Readiness(Ready.DEGRADED, detail)
        alive = sum(each.alive for each in models)
        return self.same_key(Readiness(Ready.READY, f"{alive} of {len(models)} models loaded"))

    def trip(self, level: str) -> Acted:
        """Unload, or cut off."""
        if level not in _KILLS:
            raise Trouble(f"llama.cpp knows no {level}", "name the gateway for this level")
        if self._router is None:
            self._props()
        if not self._router:
            self.line.open()
            cut = self._callers.cut(self.line)
            return Acted(f"cut off {len(cut)} callers", (*self._works, *cut))
        told = []
        for name in self.settings.models or [each.name for each in self._models() if each.alive]:
            answer = self.post("/models/unload", {"model": name})
            if not answer.ok and answer.status not in _BAD_REQUEST:
                raise self.wrong("/models/unload", answer)
            if answer.ok:
                told.append(printable(name, 80))
        self._unloaded = (*dict.fromkeys((*self._unloaded, *told)),)
        return Acted(f"unloads {', '.join(told) or 'nothing: nothing is loaded'}", self._works)

    def look(self) -> Sight:
        """Ask a router what is loaded; a server of one model, now and then, what it works on."""
        try:
            if self._router is None:
                self._props()
            return self._of_router() if self._router else self._of_one()
        except Trouble as trouble:
            return self.gone(trouble)

    def release(self) -> Acted:
        """Load nothing: a reset starts nothing."""
        again = tuple(f"load {each} again: POST /models/load" for each in self._unloaded)
        self._unloaded = ()
        return Acted("nothing is loaded", reissue=again)

    def holds(self) -> tuple[str, ...]:
        """Say what is in work."""
        return self._works

    # --- what it says ---------------------------------------------------------------

    def _of_router(self) -> Sight:
        alive = [each for each in self._models() if each.alive]
        if alive:
            return Sight(False, ", ".join(f"{each.name} is {each.status}" for each in alive[:8]))
        if self._autoload:
            return Sight(None, "unloaded, and the next request loads it again")
        return Sight(True, "unloaded: no process of it is left, and no request loads it")

    def _of_one(self) -> Sight:
        now = self.clock.mono_us()
        if self._asked_us is None or now - self._looked_us > _FORGOTTEN_US:
            self._asked_us = now - _EVERY_US + _FIRST_US
            self._slots = Sight(None, "asked in a moment: each question keeps it from noticing")
        self._looked_us = now
        if now - self._asked_us >= _EVERY_US:
            self._asked_us = now
            works = list(self._in_work(""))
            if works:
                self._slots = Sight(False, "; ".join(works[:4]))
            else:
                self._slots = Sight(None, "idle, and it would serve whoever asks: see its process")
        return self._slots

    def _props(self) -> None:
        answer = self.get("/props")
        said = answer.json() if answer.ok else None
        if not isinstance(said, dict):
            raise self.wrong("/props", answer)
        self._router = said.get("role") == "router"
        self._autoload = said.get("models_autoload") is not False

    def _models(self) -> Iterator[_Model]:
        answer = self.get("/models")
        said = answer.json() if answer.ok else None
        rows = said.get("data") if isinstance(said, dict) else None
        if not isinstance(rows, list) or len(rows) > _MOST:
            raise self.wrong("/models", answer)
        found = {each.name: each for each in map(self._model, rows)}
        missing = [each for each in self.settings.models if each not in found]
        if missing:
            raise Trouble(f"{self.line.place} has no model {missing[0]}", "see its GET /models")
        yield from (found[each] for each in self.settings.models or found)

    def _model(self, row: Any) -> _Model:  # noqa: ANN401 - what a server sends
        try:
            status = row["status"]
            preset = str(status.get("preset") or "").splitlines()
            return _Model(str(row["id"]), printable(status["value"], 20), _AT_ONCE in preset)
        except (KeyError, TypeError, AttributeError):
            raise Trouble(f"{self.line.place}: its list of models is not understood") from None

    def _in_work(self, model: str) -> Iterator[str]:
        """Tell of each slot that works how far it has come."""
        path = f"/slots?model={quote(model, safe='')}" if model else "/slots"
        answer = self.get(path)
        slots = answer.json() if answer.ok else None
        if not isinstance(slots, list) or not all(isinstance(each, dict) for each in slots):
            raise self.wrong("/slots", answer)
        for each in slots:
            if each.get("is_processing") is not False:
                yield f"{printable(model, 60)} {_written(each)}".strip()


def _written(slot: dict[str, Any]) -> str:
    tokens = slot.get("next_token")
    first = tokens[0] if isinstance(tokens, list) and tokens else {}
    count = first.get("n_decoded") if isinstance(first, dict) else None
    task = printable(slot.get("id_task"), 20)
    return f"task {task}: {count if isinstance(count, int) else 'some'} tokens written"
