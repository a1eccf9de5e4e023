"""Assessments in words: a paragraph a target, what is wrong first, the sound ones folded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offswitch.diagnose.assessment import Assessment
from offswitch.diagnose.independence import DIMENSIONS, Sharing
from offswitch.diagnose.points import Point
from offswitch.printable import printable

__all__ = ["independence_words", "soundness_words"]

_MOST_TARGETS = 20
_MOST_POINTS = 12


def soundness_words(found: Sequence[Assessment], left_out: int) -> str:
    """Say what each stop rests on, and what one loss would disarm."""
    bad = [one for one in found if not one.sound]
    if not found:
        return "Nothing is known here, so there is nothing whose stop could fail."
    head = (
        f"{len(bad)} of {_count(len(found))}: a layer is lost, or one loss disarms an effect."
        if bad
        else _good(found, "no layer is lost, and no one loss disarms an effect")
    )
    return "\n".join([head, *_each(found, bad, left_out, _soundness)])


def independence_words(found: Sequence[Assessment], left_out: int) -> str:
    """Say what each two layers share."""
    bad = [one for one in found if not one.diverse]
    if not found:
        return "Nothing is known here, so there is nothing to compare."
    head = (
        f"{len(bad)} of {_count(len(found))}: an effect has no two layers that share nothing, "
        "or two share everything."
        if bad
        else _good(found, "each effect has two layers that share nothing")
    )
    return "\n".join([head, *_each(found, bad, left_out, _independence)])


def _count(number: int) -> str:
    return f"{number} target" if number == 1 else f"{number} targets"


def _good(found: Sequence[Assessment], said: str) -> str:
    """Say it of those that were judged, and of how many nothing is said."""
    judged = sum(one.judged for one in found)
    left = len(found) - judged
    if not judged:
        return f"{_count(left)}: none of them runs, so nothing was judged."
    more = f" {_count(left)} not judged: not running." if left else ""
    return f"{_count(judged)}: {said}.{more}"


def _each(
    found: Sequence[Assessment],
    bad: Sequence[Assessment],
    left_out: int,
    words: Callable[[Assessment], list[str]],
) -> list[str]:
    """Give a paragraph each, those that are not sound first, and count the rest."""
    ranked = [*bad, *(one for one in found if one not in bad)]
    lines = []
    for one in ranked[:_MOST_TARGETS]:
        lines += ["", *words(one)]
    more = len(ranked) - _MOST_TARGETS
    if more > 0:
        lines += ["", f"{more} more: name a scope, or --json"]
    if left_out:
        lines += ["", f"! {_count(left_out)} NOT LOOKED AT: name a scope"]
    return lines


def _title(one: Assessment) -> str:
    not_judged = "" if one.judged else "; it does not run: its own layers come with it"
    return f"{printable(one.target)}  {one.state}{not_judged}"


def _effects(one: Assessment) -> list[str]:
    lines = []
    for reach in one.reach:
        layers = ", ".join(map(printable, reach.layers)) or "NOTHING"
        if reach.independent is not None:
            said = f"{' and '.join(reach.independent)} share nothing"
        elif one.judged:
            said = f"NO TWO THAT SHARE NOTHING: {printable(', '.join(reach.common), 200)}"
        else:
            said = "not judged"
        lines.append(f"  no {reach.effect.value:<8} by {layers}; {said}")
    return lines


def _soundness(one: Assessment) -> list[str]:
    lines = [_title(one), *_effects(one)]
    for lost in one.lost:
        mark = "! LOST" if lost.wanted else "  absent"
        who = "" if lost.name == "nobody" else f" by {printable(lost.name)}"
        said = f"{mark}: {printable(lost.layer)}{who}, {printable(lost.state)}"
        lines.append(f"{said}: {printable(lost.why, 300)}")
    lines += [_point(point) for point in one.points[:_MOST_POINTS]]
    left = len(one.points) - _MOST_POINTS
    return (
        [*lines, f"  and {left} more things, each of which disarms a layer"] if left > 0 else lines
    )


def _point(point: Point) -> str:
    mark = "!" if point.grave else " "
    layers = ", ".join(map(printable, point.layers))
    effects = ", ".join(effect.value for effect in point.effects)
    said = f"{mark} without {point.kind} {printable(point.name, 120)}: {layers} cannot act"
    if not effects:
        return said
    nature = " (so it is for every stop)" if point.by_nature else ""
    return f"{said}, and nothing else stops {effects}{nature}"


def _independence(one: Assessment) -> list[str]:
    lines = [_title(one), *_effects(one)]
    width = max((len(" · ".join(pair.layers)) for pair in one.sharing), default=0)
    if one.sharing:
        head = "  ".join(f"{what:<10}" for what in DIMENSIONS)
        lines.append(f"  {'share':<{width}}  {head}".rstrip())
    lines += [_pair(pair, width) for pair in one.sharing]
    if one.here:
        lines.append("  (the machine on which the target itself runs does not count as shared)")
    return lines


def _pair(pair: Sharing, width: int) -> str:
    names = printable(" · ".join(pair.layers))
    cells = "  ".join(f"{'SAME' if what in pair.shared else 'other':<10}" for what in DIMENSIONS)
    said = "; ".join(
        f"{what}: {printable(', '.join(some), 80)}" for what, some in sorted(pair.shared.items())
    )
    mark = "!" if pair.fully else " "
    return f"{mark} {names:<{width}}  {cells}{said}".rstrip()
