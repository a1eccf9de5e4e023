"""Fan-out: how fast it begets children, and children's children.

    born   = what was begun within `per`: the readings' sum, or with reads = "alive" the rise of
             a series that says how many there are now
    depth  = the reading's detail `depth`, or one more than that of its `parent`
    score  = max(born / above, depth / (deepest + 1));  beyond when born > above or depth > deepest

A reading's detail `id` and `parent` name a child and who begot it; the last 4,096 are known, and
who is not known is at the top. Processes are `reads = "alive"` on `processes.count`; sub-agents
that report themselves are `reads = "born"` on `guard.step{kind="session"}`.

    { kind = "fan_out", series = "processes.count", reads = "alive", above = 50, per = "10s" }
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["FanOut", "FanOutSection"]

_GRAINS = 256
_MOST_KNOWN = 4096
_DEEPEST = 1_000_000
_MOST_BORN = 1e12


class FanOutSection(DeadbandSection):
    """The keys of a fan-out."""

    kind: Literal["fan_out"]
    reads: Literal["born", "alive"]
    """What the series says: how many began, or how many there are."""
    above: Annotated[float, Field(ge=1)]
    """Trips when more than this many began within `per`."""
    per: Duration = 60_000_000
    deepest: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many generations below the first there may be."""


class FanOut:
    """Children and their children."""

    Settings: ClassVar[type[FanOutSection]] = FanOutSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_alive", "_depths", "_recent", "_settings")

    def __init__(self, settings: FanOutSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._alive: float | None = None
        self._recent: deque[tuple[int, float]] = deque()
        """The end of a grain of time, and what was born in it."""
        self._depths: dict[str, int] = {}

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Take in what began, or how many there are."""
        settings = self._settings
        born = min(max(self._born(value), 0.0), _MOST_BORN)
        grain = settings.per // _GRAINS
        if born > 0:
            if self._recent and mono_us - self._recent[-1][0] <= grain:
                born += self._recent.pop()[1]
            self._recent.append((mono_us, born))
        while self._recent and self._recent[0][0] <= mono_us - settings.per:
            self._recent.popleft()
        total = sum(count for _, count in self._recent)
        depth = self._depth(detail) if detail and value > 0 else 0
        score = total / settings.above
        beyond = total > settings.above
        if settings.deepest is not None:
            score = max(score, depth / (settings.deepest + 1))
            beyond = beyond or depth > settings.deepest
        inside = score < 1 - settings.deadband
        raised = self._alarm.update(mono_us, beyond=beyond, inside=inside)
        why = f"{total:g} begun in {format_duration(settings.per)}, limit {settings.above:g}"
        if settings.deepest is not None:
            why += f"; {depth} deep, limit {settings.deepest}"
        evidence = {
            "band": f"up to {settings.above:g}",
            "contradicts": "the work is one that is split up like this",
        }
        return Verdict(score, raised, why, evidence)

    def _born(self, value: float) -> float:
        if self._settings.reads == "born":
            return value
        before, self._alive = self._alive, min(max(value, 0.0), _MOST_BORN)
        return 0.0 if before is None else self._alive - before

    def _depth(self, detail: Mapping[str, str]) -> int:
        said = detail.get("depth", detail.get("arg.depth", ""))
        if said.isascii() and said.isdecimal():
            depth = min(int(said[:9]), _DEEPEST)
        else:
            parent = detail.get("parent", detail.get("arg.parent", ""))
            depth = min(self._depths[parent] + 1, _DEEPEST) if parent in self._depths else 0
        name = detail.get("id", detail.get("arg.id", ""))
        if name:
            self._depths.setdefault(name, depth)  # nobody gets higher up by naming another parent
            depth = max(depth, self._depths[name])
            if len(self._depths) > _MOST_KNOWN:
                self._depths.pop(next(iter(self._depths)))
        return depth

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._recent.clear()
        self._depths.clear()
        self._alarm.rearm()
