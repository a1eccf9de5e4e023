"""Whom a stop takes along, and who is told of it first, as the plans of what it covers say.

    dependents   each is stopped by an order of its own, by whoever stopped the first and naming it,
                 before it or right after it in the same instant; never further than the first
    tell         an entry each, from which people are called

A dependent may have dependents, and may depend on what it follows: whatever the orders that are
being carried out cover already is not ordered again, so a loop ends. A plan that cannot be
understood takes nobody along, and fails no stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.clock import new_nonce
from offswitch.errors import OffswitchError
from offswitch.model.level import Level, parse_level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope, parse_scope
from offswitch.warden.core import Core
from offswitch.warden.press import Press
from offswitch.warden.table import Tracked

__all__ = ["Dependent", "dependents", "orders", "take_along"]

_MOST = 64
_MOST_FIRST = 64
"""Of one press: so many take some 20 ms. Of more the others come right after it."""
_MOST_TOLD = 200
_WORDS = 200


@dataclass(frozen=True, slots=True)
class Dependent:
    """What a target's plan takes along."""

    scope: Scope
    level: Level | None
    """None: as far as the target itself."""
    first: bool


def _listed(declared: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    plan = (declared or {}).get("stop")
    items = plan.get(key) if isinstance(plan, Mapping) else None
    for item in items[:_MOST] if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            yield item


def dependents(declared: Mapping[str, Any] | None) -> Iterator[Dependent]:
    """Read what a target's plan takes along."""
    for item in _listed(declared, "dependents"):
        try:
            scope = parse_scope(str(item["target"]))
            level = parse_level(str(item["level"])) if item.get("level") is not None else None
        except (OffswitchError, KeyError):
            continue
        yield Dependent(scope, level, item.get("first") is True)


def orders(core: Core, press: Press, under_way: Iterable[Stop], *, first: bool) -> list[Stop]:
    """Give the orders for what a press takes along, `first` or right after it."""
    wanted: dict[tuple[Scope, Level], tuple[str, Stop]] = {}
    known = list(under_way)
    for row in press.rows:
        if not row.declared:
            continue
        for one in dependents(row.declared):
            level = press.levels[row.target.name]
            level = level if one.level is None else min(one.level, level)
            held = any(s.level >= level and s.scope.contains(one.scope) for s in known)
            if one.first is first and not held:
                given = next(s for s in press.given if s.scope.covers(row.target))
                wanted.setdefault((one.scope, level), (row.target.name, given))
    now = core.clock.wall_us()
    return [
        Stop(
            core.installation, scope, level, given.by, given.channel, new_nonce(), now,
            f"stopped along with {name}: {given.reason or 'no reason given'}",
        )
        for (scope, level), (name, given) in wanted.items()
    ]  # fmt: skip


def take_along(
    core: Core,
    press: Press,
    under_way: Iterable[Stop],
    stop_all: Callable[[list[Stop]], object],
    *,
    first: bool,
) -> None:
    """Have stopped whom a press takes along, `first` or right after it; then tell who is told."""
    try:
        before = orders(core, press, under_way, first=True)
        after = [] if first else orders(core, press, under_way, first=False)
        for stop in before[:_MOST_FIRST] if first else [*before[_MOST_FIRST:], *after]:
            stop_all([stop])
        if not first:
            _tell(core, press)
    except Exception as error:  # noqa: BLE001 - whom a plan names must not spoil the stop itself
        why = f"{type(error).__name__}: {error}"
        core.recording.note("note", what="defect", why=f"not taken along: {why}")


def _tell(core: Core, press: Press) -> None:
    """Enter who is to be told of a press before anybody else."""
    told: dict[tuple[str, str], None] = {}
    tellers: dict[str, list[str]] = {}
    for row in press.rows:
        if len(told) >= _MOST_TOLD:
            break  # what waits in the loop is the stop's own confirmation
        if row.declared:
            people = _people(core, row, tellers)
            told.update(dict.fromkeys((row.target.name, who) for who in people))
    stops = [stop.digest for stop in press.stops]
    for name, who in list(told)[:_MOST_TOLD]:
        by = press.given[0].by
        core.recording.note(
            "note",
            {"by": by, "who": who},
            what="tell first",
            target=name,
            orders=stops[:_MOST],
            level=press.levels[name].label,
        )


def _people(core: Core, row: Tracked, tellers: dict[str, list[str]]) -> Iterator[str]:
    """Name them: in the plan's words, or whoever tells of the targets that it names.

    `tellers` keeps who that is, scope by scope: a thousand plans may name the same one.
    """
    for item in _listed(row.declared, "tell"):
        if isinstance(item.get("who"), str):
            yield item["who"][:_WORDS]
        elif isinstance(item.get("target"), str):
            text = item["target"]
            if text not in tellers:
                tellers[text] = list(_tellers(core, text))
            yield from tellers[text]


def _tellers(core: Core, text: str) -> Iterator[str]:
    """Name whoever tells of the targets of a scope; nobody, where it is none."""
    try:
        scope = parse_scope(text)
    except OffswitchError:
        return
    for other in core.table.covered([scope]):
        impact = (other.declared or {}).get("stop_impact")
        who = impact.get("told_by") if isinstance(impact, Mapping) else None
        if isinstance(who, str):
            yield f"{who[:_WORDS]} (of {other.target.name})"
