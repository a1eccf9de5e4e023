"""Layers that have fallen: a stop would be less than it should be, and a person hears of it.

The warden enters each change of a layer's readiness (`warden.readiness`). One that has fallen to
*unproven* or *absent* is told at once, but for two seconds in which a process of ours may come
back by itself, and once a layer, however many targets it is about; that it is well again is told,
too. What a drill has found is told as the drill's own failure, and not again here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from offswitch.config.notify import Event
from offswitch.reports.said import Said
from offswitch.station.notify.context import Context, command
from offswitch.station.notify.notice import Notice, Page, Phase

__all__ = ["Fallen"]

_HOLD_US = 2_000_000
_LOW = frozenset({"unproven", "absent"})
_NAMED = 5


@dataclass(slots=True)
class _Layer:
    """One layer that is not as it was."""

    state: str
    why: str
    since_us: int
    targets: set[str] = field(default_factory=set)
    more: int = 0
    """How many targets besides are not named; none is below zero."""
    told: bool = False

    @property
    def over(self) -> bool:
        return not self.targets and not self.more

    def fell(self, targets: set[str], count: int, *, was_low: bool) -> None:
        """Take in `count` targets, of which some are named; who was low may be known unnamed."""
        new = targets - self.targets
        self.targets |= new
        self.more = max(self.more - len(new), 0) if was_low else self.more + count - len(targets)

    def rose(self, targets: set[str], count: int) -> None:
        """Let them go: by name, and then as many of those whom nobody has named."""
        named = self.targets & targets
        self.targets -= named
        unnamed = min(count - len(named), self.more)
        self.more -= unnamed
        if count > len(targets):  # most of them were not named: it is their number that counts
            left = count - len(named) - unnamed
            self.targets -= set(sorted(self.targets)[:left])

    def names(self) -> str:
        listed = sorted(self.targets)
        left = len(listed) - min(len(listed), _NAMED) + self.more
        return ", ".join(listed[:_NAMED]) + (f" and {left} more" if left > 0 else "")


class Fallen:
    """Folds the entries of readiness into notices."""

    def __init__(self, context: Context) -> None:
        """Begin with every layer as it is."""
        self._context = context
        self._layers: dict[str, _Layer] = {}
        self._out: list[Notice] = []

    def take(self, said: Said) -> None:
        """Take in a change of one layer's readiness."""
        layer, state, targets = said.text("layer"), said.text("state"), set(said.texts("targets"))
        count = max(said.number("count") or 0, len(targets))
        if not layer or not targets:
            return
        known, was_low = self._layers.get(layer), said.text("prior") in _LOW
        by_drill = said.text("cause") == "drill"
        if state in _LOW:
            if by_drill:
                return
            if known is None:
                why = said.words("why") or "nobody says why"
                known = self._layers[layer] = _Layer(state, why, said.time_us)
                was_low = False
            known.fell(targets, count, was_low=was_low)
        elif known is not None:
            if by_drill or not was_low:  # of them only those count that are known to have fallen
                targets &= known.targets
                count = len(targets)
            known.rose(targets, count)
            if known.over:
                del self._layers[layer]
                if known.told:
                    self._out.append(self._notice(layer, known, Phase.CLOSE, said.time_us))

    def due(self, now_us: int) -> list[Notice]:
        """Give what is to be told now."""
        told, self._out = self._out, []
        for layer, known in self._layers.items():
            if not known.told and now_us - known.since_us >= _HOLD_US:
                known.told = True
                told.append(self._notice(layer, known, Phase.OPEN, known.since_us))
        return told

    def settle(self) -> None:
        """Forget what was told: all that stands is to be told anew."""
        self._out.clear()
        for known in self._layers.values():
            known.told = False

    def _notice(self, layer: str, known: _Layer, phase: Phase, time_us: int) -> Notice:
        link = self._context.link("readiness")
        first = min(known.targets, default="")
        look = command("target", "show", first) if first else command("doctor")
        page = Page(
            f"LAYER {layer} {known.state}: {known.names()}",
            f"{layer} could act, and now: {known.why}",
            (),
            (f"whatever only {layer} would stop of {known.names()}",),
            "nothing is stopped by this",
            "a stop goes out all the same, and says what it has not seen",
            link,
            look,
        )
        if phase is Phase.CLOSE:
            said = (f"{layer} is ready again", "it has proven that it could act")
            page = Page(*said, (), (), "", "nothing more", link, look)
        return Notice(
            f"ready-{layer[:40]}-{known.since_us // 1_000_000}",
            Event.READINESS,
            phase,
            "ready" if phase is Phase.CLOSE else known.state,
            "/",
            page.bounded(),
            time_us,
            urgent=phase is Phase.OPEN,
        )
