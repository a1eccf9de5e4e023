"""What a stop of a target cannot count on, and since when: never shown as ready (HMI-3).

Of what lives every layer that is not ready is named. Of what does not, those that were declared
for it: they stand ready before it starts, or they do not. What runs elsewhere and has a gateway
alone is another matter (SR-26): that it could go round is said, and can be stopped all the same.
"""

from __future__ import annotations

from offswitch.printable import printable

__all__ = ["LOCAL", "acts", "barred", "elsewhere", "lacking", "short_of"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOCAL = frozenset({"guard", "gateway", "process", "sweep", "network"})
"""Layers that come with whatever runs here; all others are declared for a target."""
_SERVED = frozenset({"running", "restricted", "draining"})
_MINUTE_US, _HOUR_US, _DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000


def acts(row: dict[str, Any]) -> bool:
    """Tell whether something of a target runs, here or behind a gateway that serves it."""
    return bool(row["pids"]) or row["state"] in _SERVED


def short_of(row: dict[str, Any]) -> dict[str, str]:
    """Give the layers of a target that a stop cannot count on, each with its state."""
    found = row.get("readiness") or {}
    bad = {layer: str(state) for layer, state in found.items() if state != "ready"}
    if acts(row):
        return {} if elsewhere(row) else bad
    return {layer: state for layer, state in bad.items() if layer not in LOCAL}


def barred(row: dict[str, Any]) -> bool:
    """Tell whether a stop of it would be less than it should: then not everything can be stopped.

    A declared layer that is *degraded* can act; what is less than it should be is named.
    """
    short = short_of(row)
    return any(state != "degraded" or layer in LOCAL for layer, state in short.items())


def elsewhere(row: dict[str, Any]) -> bool:
    """Tell whether all that is here of a target is what its gateway lets through (SR-26)."""
    found = row.get("readiness") or {}
    bad = {(layer, state) for layer, state in found.items() if state != "ready"}
    return not row["pids"] and bad == {("gateway", "degraded")}


def lacking(row: dict[str, Any], now_us: int = 0) -> str:
    """Say it in words, with the age where the time is known; empty: nothing is lacking."""
    dates = row.get("readiness_since") or {}
    said = []
    for layer, state in sorted(short_of(row).items()):
        date = dates.get(layer)
        age = _age(now_us - date) if now_us and type(date) is int and date > 0 else ""
        said.append(f"{layer} {state}{age}")
    return printable(", ".join(said), 200)


def _age(us: int) -> str:
    for size, unit in ((_DAY_US, "d"), (_HOUR_US, "h"), (_MINUTE_US, "min"), (1_000_000, "s")):
        if us >= size:
            return f" for {us // size} {unit}"
    return " just now"
