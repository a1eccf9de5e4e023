"""What in a batch looks like tampering: for each kind of it so many rows. Pure.

    outside    values beyond where they lie           negative   below nought where none was
    mirrored   the sign alone was turned              nulled     emptied where nothing was empty
    nonsense   no numbers where numbers were          repeated   an identity given twice
    shuffled   the old values in another order        cut        a beginning is left of a text
    dated      older than what is there already, younger than the clock, or set back
    rescaled   a whole batch of new rows, all on another scale

Those that need several batches together, because each row came by itself, are the detector's:
the same factor, the same value, other letters, deletion, drift.

A count of rows that a single row shows is exact. What rests on quantiles counts only the share
that lies beyond for certain. Columns that came after the table was first seen are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from offswitch.watch.rows.batches import BatchFacts, ColumnFacts, Five
from offswitch.watch.rows.usual import Usual

__all__ = ["Suspicion", "suspicions", "suspicions_at_first"]

_FEW_NULLS = 0.05
_FEW = 0.005
_SPACES = 0.02
_DAY_S = 86_400.0
_HOUR_S = 3_600.0
_ORDERED = 0.9
_MANY = 50
_SEVERAL = 5
_SOME = 20
_RESCALED, _SAME_SHAPE = math.log(1.8), 0.7
_OFTEN = 3
_BRIM, _USUAL_BRIM = 0.8, 0.3


@dataclass(frozen=True, slots=True)
class Suspicion:
    """So many rows look like one kind of tampering."""

    kind: str
    column: str
    rows: float
    band: str
    """What is usual."""


def _beyond(five: Five | None, low: float, high: float) -> float:
    """Give the share of values that are outside for certain, as far as five of them tell."""
    if five is None:
        return 0.0
    least, tenth, middle, ninetieth, most = five
    shares = ((most, 1.0), (ninetieth, 0.9), (middle, 0.5), (tenth, 0.1), (least, 0.02))
    below = next((share for value, share in shares if value < low), 0.0)
    shares = ((least, 1.0), (tenth, 0.9), (middle, 0.5), (ninetieth, 0.1), (most, 0.02))
    above = next((share for value, share in shares if value > high), 0.0)
    return min(below + above, 1.0)


def suspicions(facts: ColumnFacts, usual: Usual, batch: BatchFacts) -> Iterator[Suspicion]:
    """Say what of one column in a batch is suspicious."""
    name = facts.name
    if not usual.known:
        return
    came, altered = facts.inserted - facts.nulls, facts.changed - facts.emptied
    if facts.kind in {"n", "t"}:
        yield from _numbers(facts, usual, batch, came, altered)
    elif facts.kind == "s":
        yield from _texts(facts, usual, came, altered)
    if usual.nulls < _FEW_NULLS:
        extra = facts.nulls - _OFTEN * usual.nulls * facts.inserted
        share = f"usually {usual.nulls:.1%} are empty"
        yield Suspicion("nulled", name, facts.emptied + max(extra, 0.0), share)
    spaced = facts.kind == "s" and len(usual.letters) > 4 and usual.letters[4] > _SPACES  # noqa: PLR2004
    if facts.again and usual.unique and usual.rows >= _MANY and facts.kind != "t" and not spaced:
        yield Suspicion("repeated", name, float(facts.again), "every value was different")
    if facts.permuted and facts.distinct_old >= _SEVERAL:
        rows = float(facts.changed)
        yield Suspicion("shuffled", name, rows, "new values are not the old ones, reordered")


def _numbers(
    facts: ColumnFacts, usual: Usual, batch: BatchFacts, came: int, altered: int
) -> Iterator[Suspicion]:
    name = facts.name
    if usual.odd < _FEW:
        yield Suspicion("nonsense", name, float(facts.odd), "all are numbers")
    if facts.kind == "t":
        yield from _times(facts, usual, batch, came, altered)
        return
    low, high = usual.band()
    if usual.unique:
        high = math.inf  # a number that names rows grows
    rows = came * _beyond(facts.fresh, low, high) + altered * _beyond(facts.new, low, high)
    yield Suspicion("outside", name, rows, f"{low:g} to {high:g}")
    if usual.negative < _FEW:
        yield Suspicion("negative", name, float(facts.negative), "none is negative")
    yield Suspicion("mirrored", name, float(facts.mirrored), "no sign is turned alone")
    factor = _scale(facts.fresh, usual.values)
    if came >= _MANY and factor is not None and not usual.unique:
        yield Suspicion("rescaled", name, 0.9 * came, f"on another scale, about x {factor:.3g}")


def _scale(fresh: Five | None, usual: Five | None) -> float | None:
    """Give the factor between two distributions, if one is the other on another scale."""
    if fresh is None or usual is None or fresh[1] <= 0 or usual[1] <= 0:
        return None
    steps = [math.log(fresh[at] / usual[at]) for at in (1, 2, 3)]
    if max(steps) - min(steps) > _SAME_SHAPE:
        return None
    if min(steps) > _RESCALED or max(steps) < -_RESCALED:
        return math.exp(steps[1])
    return None


def _times(
    facts: ColumnFacts, usual: Usual, batch: BatchFacts, came: int, altered: int
) -> Iterator[Suspicion]:
    assert usual.values is not None  # noqa: S101 - it is known
    now_s = batch.time_us / 1e6
    low, high = usual.band()
    if usual.ordered >= _ORDERED:
        # What comes is as young as what came last: the youngest tenth is wide enough.
        low, high = usual.values[3], max(now_s, usual.values[4]) + 2 * _DAY_S
    rows = came * _beyond(facts.fresh, low, high)
    if facts.ratio is not None and usual.ordered >= _ORDERED:
        rows += altered * _beyond(facts.ratio, -_HOUR_S, math.inf)
    elif altered and usual.ordered < _ORDERED:
        # A column of the latest touch goes on with the clock.
        rows += altered * _beyond(facts.new, low, max(high, now_s + _DAY_S))
    yield Suspicion("dated", facts.name, rows, f"from {low:.0f} s on, and never back")


def _texts(facts: ColumnFacts, usual: Usual, came: int, altered: int) -> Iterator[Suspicion]:
    assert usual.values is not None  # noqa: S101 - it is known
    low, high = usual.band()
    rows = came * _beyond(facts.fresh, low, high) + altered * _beyond(facts.new, low, high)
    yield Suspicion("outside", facts.name, rows, f"up to {high:g} characters")
    yield Suspicion("cut", facts.name, float(facts.cut), "no text loses its end")
    few = usual.distinct < _SOME and usual.rows >= _OFTEN * _MANY
    if few and facts.distinct > 2 * usual.distinct + _SEVERAL:
        words = f"{usual.distinct} different words"
        yield Suspicion("nonsense", facts.name, float(came + altered), words)
    brimful = facts.brim >= _BRIM and usual.brim < _USUAL_BRIM and facts.distinct > _SEVERAL
    if brimful and came >= _SOME and facts.fresh is not None and facts.fresh[4] < usual.values[3]:
        yield Suspicion("cut", facts.name, facts.brim * came, "texts differ in length")


def suspicions_at_first(
    batch: BatchFacts, usual: dict[str, Usual], rows: int
) -> Iterator[Suspicion]:
    """Say what is suspicious of a table that was read anew: another shape, or after a gap."""
    if rows >= _SOME and batch.rows < rows / 2:
        yield Suspicion("deleted", "", float(rows - batch.rows), f"{rows} rows")
    for facts in batch.columns:
        known = usual.get(facts.name)
        if known is None or not known.known or facts.inserted < _SOME:
            continue
        nulls = facts.nulls / facts.inserted
        if nulls > known.nulls + 0.5:
            yield Suspicion("nulled", facts.name, float(facts.nulls), f"{known.nulls:.1%} empty")
        if facts.only and known.distinct >= _SOME:
            many = f"{known.distinct} different values"
            yield Suspicion("constant", facts.name, float(facts.inserted), many)
        factor = _scale(facts.fresh, known.values) if facts.kind == "n" else None
        if factor is not None and not known.unique:
            scale = f"on another scale, about x {factor:.3g}"
            yield Suspicion("rescaled", facts.name, float(facts.inserted), scale)
        if facts.kind == "n" and known.negative < _FEW and facts.negative:
            yield Suspicion("negative", facts.name, float(facts.negative), "none is negative")
