"""What drills have found of each layer: one that failed, or has changed since, is *unproven*.

Whoever drills may lower a layer by what they saw, or did not see; it is raised again by a clean
drill alone, in which the warden's own observer confirmed it, too. What was found is kept in
`$OFFSWITCH_HOME/drilled.json`, so that a restart makes nothing look ready; a file that cannot be
read leaves every layer unproven (HMI-3). What a clean drill has proven holds for the code, the
kernel and the rung that it ran on: a layer that was proven on others is in doubt, too, until the
next clean drill (DRL-4, `proven`). A layer that no drill has tried is what it always was: the drill
adds a doubt, and never a promise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.warden.whole_file import write_whole

__all__ = ["CHANGE", "LAYERS", "Doubt", "Drilled", "load", "writer"]

LAYERS = ("process", "sweep", "network")
"""The layers that a canary tries."""
CHANGE = "changed"
"""In the place of a drill's name: it has passed, and what it ran on is not there any more."""
_FILE = "drilled.json"
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a layer is unproven."""

    drill: str
    """The drill that found it so."""
    why: str
    time_us: int
    """When, UTC in microseconds."""


class Drilled:
    """The layers in doubt, of one warden."""

    __slots__ = ("_changed_us", "doubts")

    def __init__(self, doubts: Mapping[str, Doubt] | None = None) -> None:
        """Begin with none, or with these."""
        self.doubts: dict[str, Doubt] = dict(doubts or {})
        self._changed_us = {layer: one.time_us for layer, one in self.doubts.items()}

    def changed_us(self, layer: str) -> int:
        """Give when a layer came into doubt, or out of it; 0: never, as far as is known."""
        return self._changed_us.get(layer, 0)

    def state(self, layer: str, state: str) -> str:
        """Give a layer's readiness, as far as drills have to do with it."""
        return "unproven" if layer in self.doubts and state != "absent" else state

    def detail(self, layer: str, detail: str) -> str:
        """Likewise in words."""
        doubt = self.doubts.get(layer)
        return detail if doubt is None else f"{doubt.drill}: {doubt.why}"

    def note(self) -> str | None:
        """Give the banner of `status`; None where no layer is in doubt."""
        if not self.doubts:
            return None
        all_changed = all(doubt.drill == CHANGE for doubt in self.doubts.values())
        by, mend = ("a change", "Prove it") if all_changed else ("a drill", "Mend it, then")
        said = "; ".join(f"{layer} ({doubt.why})" for layer, doubt in sorted(self.doubts.items()))
        return f"UNPROVEN by {by}: {said}. {mend}: offswitch drill run canary"

    def lower(self, layer: str, doubt: Doubt) -> None:
        """A drill did not see a layer act, or what it was seen to act on has changed."""
        if layer in LAYERS:
            if layer not in self.doubts:
                self._changed_us[layer] = doubt.time_us
            self.doubts[layer] = doubt

    def raise_(self, layer: str, time_us: int) -> None:
        """A clean drill has seen it act, and so has the observer."""
        if self.doubts.pop(layer, None) is not None:
            self._changed_us[layer] = time_us

    def body(self) -> bytes:
        """Give what is kept of it."""
        kept = {
            layer: {"drill": one.drill, "why": one.why, "time_us": one.time_us}
            for layer, one in self.doubts.items()
        }
        return json.dumps(kept).encode()


def load(home: str) -> Drilled:
    """Read what an earlier warden found; what cannot be read puts every layer in doubt."""
    try:
        with open(f"{home}/{_FILE}", "rb") as file:
            kept = json.loads(file.read(1 << 16))
        doubts = {str(layer): _doubt(one) for layer, one in kept.items() if layer in LAYERS}
    except FileNotFoundError:
        return Drilled()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        doubt = Doubt("a drill", f"what it found cannot be read: {type(error).__name__}", 0)
        return Drilled(dict.fromkeys(LAYERS, doubt))
    return Drilled(doubts)


def _doubt(one: Mapping[str, Any]) -> Doubt:
    return Doubt(str(one["drill"])[:_LONGEST], str(one["why"])[:_LONGEST], int(one["time_us"]))


def writer(home: str, drilled: Drilled) -> Callable[[], None]:
    """Give what keeps it as it is now. For the disk's thread."""
    body = drilled.body()
    return lambda: write_whole(f"{home}/{_FILE}", body, durable=True)
