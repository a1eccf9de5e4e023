"""How states look: grey while all is well, colour only for the abnormal, never colour alone.

Red on yellow is kept for the stop button. Each state has a sign, so that a screen without
colours says the same.
"""

from __future__ import annotations

from typing import Any

from rich.text import Text

from offswitch.printable import printable

__all__ = ["STOP_STYLE", "abnormal", "level_text", "signals_text", "state_text"]

STOP_STYLE = "bold red on yellow"
_SIGNS = {
    "running": ("●", ""),
    "restricted": ("◐", "bold"),
    "draining": ("◐", "bold"),
    "stopping": ("◌", "bold reverse"),
    "frozen": ("◫", "bold"),
    "stopped": ("■", "bold"),
    "idle": ("○", "dim"),
    "exited": ("○", "dim"),
    "unreachable": ("?", "bold reverse"),
    "unknown": ("?", "bold reverse"),
}


def state_text(row: dict[str, Any]) -> Text:
    """Show a target's state with its sign, and what is wrong with it."""
    state = str(row.get("state", "unknown"))
    sign, style = _SIGNS.get(state, _SIGNS["unknown"])
    text = Text(f"{sign} {state}", style=style)
    if row.get("blind"):
        text.append(" blind", style="bold reverse")
    return text


def level_text(row: dict[str, Any]) -> Text:
    """Show the latch's level and whether it was seen to hold."""
    if not row.get("latched"):
        return Text("")
    level = printable(row.get("level") or "?")
    if row.get("confirmed"):
        return Text(f"{level}, confirmed")
    return Text(f"{level}, NOT CONFIRMED", style="bold reverse")


def signals_text(row: dict[str, Any]) -> Text:
    """Show which signals are stale, or how many are fresh."""
    signals = row.get("signals") or {}
    stale = sorted(kind for kind, signal in signals.items() if signal.get("stale"))
    if stale:
        return Text("stale: " + printable(", ".join(stale), 40), style="bold reverse")
    return Text(f"{len(signals)} fresh" if signals else "")


def abnormal(row: dict[str, Any]) -> bool:
    """Tell whether a target wants a person's eye."""
    calm = row.get("state") in {"running", "idle", "exited"}
    stale = any(signal.get("stale") for signal in (row.get("signals") or {}).values())
    return not calm or bool(row.get("latched")) or bool(row.get("blind")) or stale
