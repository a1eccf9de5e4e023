"""vLLM: `/pause` ends every answer in work and lets none begin, until `/resume`.

The calls are those of its training interface. vLLM 0.14 and 0.15 have them always, later ones where
`VLLM_SERVER_DEV_MODE=1` is set. Its `--api-key` guards `/v1` and not them: whoever reaches the
server can resume it, so a pause holds against those only who do not. Where just this hand and the
gateway reach its port, say `guarded = true`.

What is asked for during a pause waits in its queue and would go on at a resume. So a release has
everything dropped first (`/abort_requests` with no names: everybody's), and then resumes.

Its gauges are renewed when the engine takes a step, and after an abort of everything they may go
on saying what they said (vllm-project/vllm issues 22545 and 29928). It is the tokens that it has
read and written that tell: they stand still, or it works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Sight, Trouble
from offswitch.actuators.hands.serving.server import MISSING, ServingHand, ServingSettings, Still
from offswitch.clock import new_nonce
from offswitch.control.gauges import sum_of

__all__ = ["Vllm"]

_SOON_S = 0.2
_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
_TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
_ABORTED = 'vllm:request_success_total{finished_reason="abort"}'


class VllmSettings(ServingSettings):
    """How a server of vLLM is paused."""

    kind: Literal["vllm"]
    guarded: bool = False
    """Whether nobody but this hand and the gateway reaches its port. Else a pause can be ended."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What its page of metrics says."""

    running: int
    waiting: int
    tokens: float
    """Read and written since it was started."""
    aborted: float
    """Answers that were ended in the middle, since it was started."""


class Vllm(ServingHand):
    """Pauses a server of vLLM."""

    Settings = VllmSettings
    component = "vLLM"
    settings: VllmSettings

    def __init__(self, settings: VllmSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._proven: _Work | None = None
        """What was in work when it was proven last."""
        self._still = Still()

    def arm(self) -> Readiness:
        """Have the engine say whether it is paused, and drop an answer that nobody asked for."""
        paused = self._paused()
        self._proven = self._work()
        self._still = Still()  # of a stop that is over
        if not self.settings.guarded and self.open_to_all("/is_paused"):
            return Readiness(
                Ready.DEGRADED, "whoever reaches its port can resume it: guarded = true if nobody"
            )
        canary = self.post("/abort_requests", {"request_ids": [f"offswitch-{new_nonce()}"]})
        if canary.status in MISSING and self.get("/pause").status not in MISSING:
            detail = "what waits at a reset goes on: no /abort_requests here"
            return self.same_key(Readiness(Ready.READY, detail))
        if not canary.ok:
            raise self.wrong("/abort_requests", canary)
        said = "paused already" if paused else "its engine answers"
        return self.same_key(Readiness(Ready.READY, said))

    def trip(self, level: str) -> Acted:
        """Pause it, by one call. A freeze keeps the answers in work, a drain lets them end."""
        mode = {"restrict": "wait", "drain": "wait", "freeze": "keep"}.get(level, "abort")
        late = ""
        try:
            answer = self.post(
                f"/pause?mode={mode}&clear_cache=false",
                timeout_s=_SOON_S if mode == "wait" else None,
            )
        except Trouble as trouble:
            if mode != "wait" or not isinstance(trouble.__context__, TimeoutError):
                raise
            late = "; it answers when the last one has ended"
        else:
            if not answer.ok:
                raise self.wrong("/pause", answer)
        return Acted(f"paused ({mode}){late}", () if late else self._happened())

    def look(self) -> Sight:
        """Ask the engine whether it is paused, and read whether it writes."""
        try:
            paused = self._paused()
            work = self._work()
        except Trouble as trouble:
            return self.gone(trouble)
        if not paused:
            return Sight(False, f"not paused; {work.running} in work, {work.waiting} wait")
        still = self._still.holds(work.tokens, self.clock.mono_us())
        if not work.running:
            held = f"; {work.waiting} wait, held" if work.waiting else ""
            return Sight(True, f"paused, none in work{held}")
        if still:
            return Sight(True, "paused; its gauge is old, no token has come since")
        return Sight(False, f"paused, and {work.running} still in work")

    def release(self) -> Acted:
        """Drop what waited meanwhile, and resume."""
        dropped = self.post("/abort_requests", {"request_ids": []})
        if not dropped.ok and dropped.status not in MISSING:
            raise self.wrong("/abort_requests", dropped)
        answer = self.post("/resume")
        if not answer.ok:
            raise self.wrong("/resume", answer)
        if not dropped.ok:
            return Acted("resumed; what waited during the pause goes on")
        said = dropped.json()
        count = said.get("aborted") if isinstance(said, dict) else None
        return Acted(f"resumed; dropped before: {count if isinstance(count, int) else 'unknown'}")

    def holds(self) -> tuple[str, ...]:
        """Say how many answers are in work and how many wait."""
        work = self._work()
        return (f"{work.running} answers in work", f"{work.waiting} requests wait")

    def _paused(self) -> bool:
        answer = self.get("/is_paused")
        if answer.status in MISSING:
            raise Trouble(
                f"{self.line.place} has no /pause",
                "vLLM 0.14 or later, started with VLLM_SERVER_DEV_MODE=1",
            )
        said = answer.json() if answer.ok else None
        paused = said.get("is_paused") if isinstance(said, dict) else None
        if not isinstance(paused, bool):
            raise self.wrong("/is_paused", answer)
        return paused

    def _work(self) -> _Work:
        answer = self.get("/metrics")
        counts = [sum_of(answer.body, each) for each in (*_GAUGES, *_TOKENS)] if answer.ok else []
        known = [each for each in counts if each is not None]
        if len(known) != len((*_GAUGES, *_TOKENS)):
            raise Trouble(
                f"{self.line.place} shows no gauge of its requests", "see --disable-log-stats"
            )
        running, waiting, read, written = known
        aborted = sum_of(answer.body, _ABORTED) or 0.0
        return _Work(round(running), round(waiting), read + written, aborted)

    def _happened(self) -> tuple[str, ...]:
        """Tell what was cut off, by vLLM's own count; which ones, the gateway's book tells."""
        before = self._proven
        try:
            now = self._work()
        except Trouble as trouble:
            return (f"vLLM does not say what was in work: {trouble.message}",)
        told = []
        if before is not None:
            told.append(
                f"when it was last proven {before.running} answers were in work and "
                f"{before.waiting} requests waited"
            )
            ended = round(now.aborted - before.aborted)
            told.append(f"since then {ended} answers were ended in the middle (its own count)")
        if now.waiting:
            told.append(f"{now.waiting} requests wait, held by the pause: a reset drops them")
        return tuple(told)
