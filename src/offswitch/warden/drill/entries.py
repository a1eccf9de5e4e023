"""What the ledger is told of a drill: that it began, what each layer did, how it ended (REC-2).

The warden writes it, since it alone knows both halves: what whoever drilled has seen, and what the
observer confirmed. Figures count what stands here and nothing else (`drills.figures`): a layer
has passed only where both saw it, and what is `dry` or was overtaken by a real stop earns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.warden.core import Core
from offswitch.warden.drill.rule import Made

__all__ = ["DEMAND", "KIND", "LayerResult", "began", "ended", "refused", "tried"]

KIND = "canary"
DEMAND = "resisting"
"""The class of demand that a canary is: it ignores signals, has a child, gives its socket away."""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """What a drill showed of one layer. Times are nanoseconds since the order was accepted."""

    layer: str
    seen: bool
    """Whether whoever drilled saw the last act, and nothing after it."""
    confirmed: bool
    """Whether the observer did."""
    commanded_ns: int | None
    last_act_ns: int | None
    confirmed_ns: int | None
    why: str
    """What was not seen, or how it was; for people."""

    @property
    def passed(self) -> bool:
        """Both saw it."""
        return self.seen and self.confirmed

    def as_dict(self) -> dict[str, Any]:
        """Give the object that goes over the socket."""
        return {
            "layer": self.layer,
            "passed": self.passed,
            "seen": self.seen,
            "confirmed": self.confirmed,
            "commanded_ns": self.commanded_ns,
            "last_act_ns": self.last_act_ns,
            "confirmed_ns": self.confirmed_ns,
            "why": self.why,
        }


def began(core: Core, made: Made, by: str, channel: str, layers: Sequence[str]) -> None:
    """A target was made for it, and lives."""
    core.recording.note(
        "drill",
        {"by": by},
        **_common(made, "begin", channel),
        layers=list(layers),
        prior="no drill",
        state="running",
    )


def tried(core: Core, made: Made, by: str, channel: str, result: LayerResult) -> None:
    """What one layer did."""
    core.recording.note(
        "drill",
        {"by": by, "why": result.why or None},
        **_common(made, "layer", channel),
        layer=result.layer,
        seen=result.seen,
        confirmed=result.confirmed,
        passed=result.passed,
        commanded_ns=result.commanded_ns,
        last_act_ns=result.last_act_ns,
        confirmed_ns=result.confirmed_ns,
        prior="commanded",
        state="passed" if result.passed else "failed",
    )


def ended(
    core: Core, made: Made, by: str, channel: str, state: str, results: Sequence[LayerResult]
) -> None:
    """It is over: how, and each layer's time of the last act."""
    lasts = {one.layer: one.last_act_ns for one in results if one.last_act_ns is not None}
    core.recording.note(
        "drill",
        {"by": by},
        **_common(made, "end", channel),
        order=made.row.order,
        tried=[one.layer for one in results],
        failed=[one.layer for one in results if not one.passed],
        last_act_ns=lasts or None,
        dry=True if state == "dry" else None,
        prior="running",
        state=state,
    )


def refused(core: Core, drill: str, by: str, why: str) -> None:
    """Somebody asked for the automatic reset of what is no drill's of this warden."""
    core.recording.note(
        "refused",
        {"by": by},
        what="drill",
        drill=drill[:200],
        channel="drill",
        why=why,
        prior="unchanged",
        state="unchanged",
    )


def _common(made: Made, what: str, channel: str) -> dict[str, Any]:
    return {
        "drill": made.drill,
        "what": what,
        "rehearsal": KIND,
        "demand": DEMAND,
        "target": made.target,
        "channel": channel,
    }
