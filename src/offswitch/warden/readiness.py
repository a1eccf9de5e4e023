"""How ready each layer is, all told, since when, and an entry whenever that changes (DRL-4, REL-7).

A row says how ready each of its layers was found. That is not all: a drill may have put a layer
in doubt for every target (HMI-3), and with code that is not what was released none is proven
(SEC-7). What people and scripts are told is all of it together: `states`, `since`.

`Readiness` looks four times a second at the rows that have shifted, and writes what has changed:

    note  what=readiness  layer  prior  state  cause  targets  ·  why (sealed: others' words)

One entry a layer and a step, however many targets took it at once, and of very many the most are
counted. `cause` says what the change rests on: `layer` where the layer itself was found so (its
credential, its route, what would act), `code` where our own files are not those that were
released, `drill` where a drill has seen it. What has fallen for another cause than a drill voids
what drills have proven before (`drills.voids`).
"""

from __future__ import annotations

from collections.abc import Mapping

from offswitch.model.level import Level
from offswitch.model.reserved import is_drill
from offswitch.warden.core import Core
from offswitch.warden.plan import HAND_LAYERS, LOCAL
from offswitch.warden.self_check import unproven
from offswitch.warden.table import Tracked

__all__ = ["Readiness", "details", "since", "states"]

_LOOK_S = 0.25
_AT_ONCE = 500
"""Targets that are looked at between two stops."""
_NAMED = 20
_LONGEST = 500
_ABSENT = "absent"
_GONE = "gone"
"""The state of a layer whose target is known no more."""
_NOBODY = "its stop plan names it, and no [[actuator]] is declared for it"
_POWEROFF = Level.POWEROFF.label

Step = tuple[str, str, str, str]
"""Layer, state before, state now, cause."""


def states(core: Core, row: Tracked) -> dict[str, str]:
    """Give each layer's state: as it was found, unless a drill or our own files say otherwise.

    A layer that its stop plan names, and that nothing here can do, is *absent*: it looks like none
    that is ready (HMI-3).
    """
    found = core.drilled
    known = {layer: found.state(layer, state) for layer, (state, _d) in row.readiness.items()}
    known |= dict.fromkeys(_missing(row), _ABSENT)
    if not unproven(core):
        return known
    return {layer: "unproven" if state == "ready" else state for layer, state in known.items()}


def since(core: Core, row: Tracked) -> dict[str, int]:
    """Give since when each layer's state is so, UTC in microseconds; 0: not known."""
    dates = dict.fromkeys(_missing(row), 0)
    for layer, (state, _why) in row.readiness.items():
        date = max(row.ready_since.get(layer, 0), core.drilled.changed_us(layer))
        doubted = state == "ready" and unproven(core)
        dates[layer] = max(date, core.doubted_us) if doubted else date
    return dates


def details(core: Core, row: Tracked) -> dict[str, str]:
    """Say how each layer would act, or why it would not."""
    found = row.readiness.items()
    words = {layer: core.drilled.detail(layer, detail) for layer, (_state, detail) in found}
    return words | dict.fromkeys(_missing(row), _NOBODY)


def _missing(row: Tracked) -> list[str]:
    """Name the layers of its plan that only a hand can do, and that has none here."""
    plan = (row.declared or {}).get("stop")
    levels = plan.items() if isinstance(plan, Mapping) else ()
    named = {
        str(layer)
        for level, layers in levels
        if isinstance(layers, list) and level != _POWEROFF
        for layer in layers
    }
    return sorted(named & HAND_LAYERS - LOCAL - row.readiness.keys())


class _Known:
    """One target as it was looked at last."""

    __slots__ = ("code", "found", "states")

    def __init__(self, core: Core, row: Tracked) -> None:
        self.states = states(core, row)
        self.found = {layer: state for layer, (state, _why) in row.readiness.items()}
        """As the row alone has it: what else has changed has another cause."""
        self.code = unproven(core)


class Readiness:
    """Writes down what becomes more or less ready. Of one warden, in its loop."""

    def __init__(self, core: Core) -> None:
        """Look at the rows of `core`; nothing is known of them yet."""
        self._core = core
        self._known: dict[str, _Known] = {}
        self._doubts: tuple[bool, frozenset[str]] = (False, frozenset())

    def begin(self) -> None:
        """Look from now on."""
        self._core.loop.every(_LOOK_S, self.look)

    def look(self) -> None:
        """Write down what has changed since the last look, of some hundred targets at a time."""
        core, shifted = self._core, self._core.table.shifted
        doubts = (unproven(core), frozenset(core.drilled.doubts))
        if doubts != self._doubts:
            self._doubts = doubts
            shifted.update(dict.fromkeys(core.table.names()))
        steps: dict[Step, list[tuple[str, str]]] = {}
        for name in list(shifted)[:_AT_ONCE]:
            del shifted[name]
            if not is_drill(name):
                self._compare(name, steps)
        for step, those in steps.items():
            self._enter(step, those)

    def _compare(self, name: str, steps: dict[Step, list[tuple[str, str]]]) -> None:
        core, row = self._core, self._core.table.get(name)
        before = self._known.pop(name, None)
        if row is None:
            for layer, fell in before.states.items() if before is not None else ():
                if fell != "ready":  # whoever was told that it has fallen is told that it is over
                    steps.setdefault((layer, fell, _GONE, "layer"), []).append((name, ""))
            return
        self._known[name] = now = _Known(core, row)
        if before is None:
            return  # a target that is new has not changed
        why = details(core, row)
        for layer, was in before.states.items():  # what it did not have before it has not lost
            state = now.states.get(layer, _ABSENT)
            if was == state:
                continue
            itself = before.found.get(layer) != now.found.get(layer)
            cause = "layer" if itself else "code" if before.code != now.code else "drill"
            steps.setdefault((layer, was, state, cause), []).append((name, why.get(layer, "")))

    def _enter(self, step: Step, those: list[tuple[str, str]]) -> None:
        layer, before, state, cause = step
        sealed: Mapping[str, object] = {"why": those[0][1][:_LONGEST] or None}
        self._core.recording.often(
            ("readiness", layer, state),
            "note",
            sealed,
            what="readiness",
            layer=layer,
            prior=before,
            state=state,
            cause=cause,
            targets=[name for name, _why in those[:_NAMED]],
            count=len(those),
        )
