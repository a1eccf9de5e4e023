"""SGLang: `/abort_request` ends every answer in work, `/pause_generation` lets none begin.

The second aborts as well, and answers only when nobody's request is left; it looks once a second.
So the first goes before it. What is asked for during a pause waits, and goes on at
`/continue_generation` unless its client has gone: SGLang has no call that drops it.

Whether it is paused is told by `/ready`, which versions before September 2026 have not. There a
request of our own tells, where `probe = true` allows it: one token, asked for once a minute at the
most, which a pause does not answer. All of them are taken back before it goes on.

Its calls are guarded where it was started with `--admin-api-key`, or `--api-key` alone.
"""

from __future__ import annotations

from typing import Literal

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Sight, Trouble
from offswitch.actuators.hands.serving.server import (
    DENIED,
    MISSING,
    ServingHand,
    ServingSettings,
    Still,
)
from offswitch.clock import new_nonce
from offswitch.control.gauges import load_of, sum_of

__all__ = ["Sglang"]

_PROBE = "offswitch-probe-"
_PROBE_S = 0.3
_PROBE_EVERY_US = 60_000_000
_SOON_S = 0.15
_SERVICE_UNAVAILABLE = 503
_UNFIT = frozenset({400, 405, 415, 422})
"""What a path that takes no such call answers, where it is there."""
_LOADS = (("/v1/loads", ("num_running_reqs", "num_waiting_reqs")), ("/get_load", ("num_reqs",)))


class SglangSettings(ServingSettings):
    """How a server of SGLang is paused."""

    kind: Literal["sglang"]
    guarded: bool = False
    """Whether nobody but this hand and the gateway reaches its port. Else a pause can be ended."""
    probe: bool = False
    """Whether it may be asked for one token, to see that it gives none."""


class Sglang(ServingHand):
    """Pauses a server of SGLang."""

    Settings = SglangSettings
    component = "SGLang"
    settings: SglangSettings

    def __init__(self, settings: SglangSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._proven: int | None = None
        """How many requests it had when it was proven last."""
        self._probed_us: int | None = None
        """When a probe of ours was held last (`mono_us`)."""
        self._still = Still()

    def arm(self) -> Readiness:
        """Have it say its load, and abort an answer that nobody asked for."""
        self._proven = self._load()
        self._still, self._probed_us = Still(), None  # of a stop that is over
        if self.get("/pause_generation").status not in _UNFIT:
            return Readiness(Ready.DEGRADED, "no /pause_generation: it ends answers, refuses none")
        canary = {"rid": f"offswitch-canary-{new_nonce()}", "abort_all": False}
        answer = self.post("/abort_request", dict(canary))
        if not answer.ok:
            raise self.wrong("/abort_request", answer)
        if not self.settings.guarded and self._open_to_all(canary):
            return Readiness(
                Ready.DEGRADED, "whoever reaches its port can let it go on: see --admin-api-key"
            )
        if self.get("/ready").status in MISSING and not self.settings.probe:
            return Readiness(
                Ready.DEGRADED, "it does not say whether it is paused: probe = true, or a newer one"
            )
        return self.same_key(Readiness(Ready.READY, f"{self._proven} requests in it"))

    def trip(self, level: str) -> Acted:
        """Abort everything, and let nothing begin. A freeze keeps what is in work."""
        if level in {"restrict", "drain"}:
            raise Trouble(
                "SGLang cannot refuse what is new and let the rest end",
                "name the gateway for this level",
            )
        happened: tuple[str, ...] = ()
        if level != "freeze":
            answer = self.post("/abort_request", {"rid": "", "abort_all": True})
            if not answer.ok:
                raise self.wrong("/abort_request", answer)
            happened = self._happened()
        mode = "in_place" if level == "freeze" else "abort"
        late = ""
        rest = max(_SOON_S, self.settings.deadline / 1e6 * 0.6)
        try:
            answer = self.post("/pause_generation", {"mode": mode}, timeout_s=rest)
        except Trouble as trouble:
            if not isinstance(trouble.__context__, TimeoutError):
                raise
            late = "; it answers when the last one has ended"
        else:
            if not answer.ok:
                raise self.wrong("/pause_generation", answer)
        return Acted(f"aborted and paused ({mode}){late}", happened)

    def look(self) -> Sight:
        """Ask for its load, and whether it takes requests."""
        try:
            load = self._load()
            paused = self._paused()
            if paused and load:
                return self._frozen(load)
        except Trouble as trouble:
            return self.gone(trouble)
        if load:
            return Sight(False, f"{load} requests in work or waiting")
        if paused is None:
            return Sight(None, "nothing in work; whether it is paused it does not say")
        return Sight(paused, "paused, nothing in work" if paused else "nothing in work, not paused")

    def _frozen(self, load: int) -> Sight:
        """Say what requests are that a pause holds: do they go on being written?"""
        written = sum_of(self.get("/metrics").body, "sglang:generation_tokens_total")
        if written is None:
            return Sight(False, f"paused, {load} requests in it; see --enable-metrics")
        if self._still.holds(written, self.clock.mono_us()):
            return Sight(True, f"paused; no token has come of the {load} requests in it")
        return Sight(False, f"paused, and {load} requests in work")

    def release(self) -> Acted:
        """Take our probes back, and let it go on."""
        self.post("/abort_request", {"rid": _PROBE, "abort_all": False})
        answer = self.post("/continue_generation", {})
        if not answer.ok:
            raise self.wrong("/continue_generation", answer)
        self._probed_us = None
        return Acted("goes on; so does what waited, where its client is still there")

    def holds(self) -> tuple[str, ...]:
        """Say how many requests it has."""
        return (f"{self._load()} requests in work or waiting",)

    def _load(self) -> int:
        for path, names in _LOADS:
            answer = self.get(path)
            count = load_of(answer.json(), names) if answer.ok else None
            if count is not None:
                return count
        raise Trouble(f"{self.line.place} does not tell its load", "SGLang 0.5 or later")

    def _paused(self) -> bool | None:
        """Whether it takes no request; None: that cannot be seen."""
        answer = self.get("/ready")
        if answer.ok:
            return False
        if answer.status == _SERVICE_UNAVAILABLE:
            return True
        if not self.settings.probe:
            return None
        now = self.clock.mono_us()
        if self._probed_us is not None and now - self._probed_us < _PROBE_EVERY_US:
            return True
        held = self._probe()
        self._probed_us = now if held else None
        return held

    def _probe(self) -> bool:
        """Ask for one token; whether none came."""
        asked = {
            "rid": f"{_PROBE}{new_nonce()}",
            "input_ids": [0],
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        }
        line = self.dial(self._key)
        try:
            answer = line.ask("POST", "/generate", asked, timeout_s=_PROBE_S)
        except Trouble as trouble:
            if isinstance(trouble.__context__, TimeoutError):
                return True
            raise
        finally:
            line.close()
        if answer.ok:
            return False
        raise self.wrong("/generate", answer)

    def _open_to_all(self, canary: dict[str, object]) -> bool:
        if self._key is None:
            return True
        line = self.dial(None)
        try:
            return line.ask("POST", "/abort_request", canary).status not in DENIED
        except Trouble:
            return False
        finally:
            line.close()

    def _happened(self) -> tuple[str, ...]:
        if self._proven is None:
            return ()
        before = f"when it was last proven {self._proven} requests were in work or waiting"
        return (f"{before}: each was aborted; which ones, the gateway's book tells",)
