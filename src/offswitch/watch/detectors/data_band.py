"""Data-set band: what is written to a table is not what is usual there.

It judges the series `batch` of a sensor of data, whose detail says in counts and quantiles what was
done (`watch.batches`). What the table held when it was first seen, and calm batches since, are the
usual; a kind of tampering counts rows, those of the last `window` added up, so that it is the same
whether a thousand rows are spoilt in one statement or one after the other. It trips at `rows`:

    score = most rows of one kind in one column within the window / rows

A single batch shows what `watch.suspicions` lists. Over several are found
    factor      most changes of a number by one factor, beyond 1 ± `uniform`
    constant    most changes to one value, where many were different
    flooded     half of the table changed: to one value, or numbers by more than `uniform`
    letters     other characters than before; |p - q| summed over seven kinds of characters is
                beyond 0.35 + 1.5 / sqrt(characters)
    deleted     more than `deleted`; not if one statement deletes the oldest, up to `archive`
    drift       steps in one direction, each small: six of them that touched the table half as much
                again as it has rows, 3 % in all; or together more than `drift`

What benign work looks like is left alone: columns that are filled from empty, one small factor over
everything, rows that look like those that are there, timestamps of now, a table that is read anew
and holds the same. Whoever writes may say of himself what he likes; nothing of that is asked.

    { kind = "data_band", series = 'orders-db.batch{table="prices"}' }
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.rows.batches import BatchFacts, ColumnFacts, read_batch
from offswitch.watch.rows.suspicions import Suspicion, suspicions, suspicions_at_first
from offswitch.watch.rows.usual import Usual

__all__ = ["DataBand", "DataBandSection"]

_MOST_BATCHES = 200
_MOST_COLUMNS = 200
_MOST_STEPS = 60
_CALM = 0.5
_TIGHT = 0.05
"""How far apart the logarithms of ratios may lie to be one factor."""
_MOSTLY, _NEARLY_ALL = 0.6, 0.8
_VARIED, _SEVERAL = 20, 5
_FLOODED, _FLOOD_ROWS = 0.5, 50
_LETTERS, _LETTERS_NOISE = 0.35, 1.5
_STEPS, _STEP_ROWS, _COVERED, _CREPT = 6, 20, 1.5, math.log(1.03)
_HALF_LIFE_US = 7 * 86_400_000_000
_NO_REST = 0.02
_DELETED_SHARE, _MOST_DELETED = 0.01, 50.0
_DAY_S = 86_400.0
_LESS_SAID = frozenset({"outside", "drift"})
_SIZE = 10
"""Without a detail: so many times the largest so far."""
_LEARN_SIZES = 20


class DataBandSection(DeadbandSection):
    """The keys of a data-set band."""

    kind: Literal["data_band"]
    rows: Annotated[int, Field(ge=1)] = 10
    """How many suspicious rows trip it."""
    window: Duration = 10_000_000
    """Within what time."""
    uniform: Annotated[float, Field(gt=0, lt=1)] = 0.10
    """Up to what share a column may be raised or lowered at once."""
    deleted: Annotated[int, Field(ge=1)] | None = None
    """How many rows may be deleted within the window; unless given 1 % of the table, but no fewer
    than `rows` and no more than 50. It is never learnt: whoever deletes would be the teacher."""
    archive: Annotated[float, Field(ge=0, le=1)] = 0.5
    """What share of a table one statement may delete, if it is the oldest."""
    drift: Annotated[float, Field(gt=0, lt=1)] = 0.12
    """How far a column may be raised or lowered in many steps, within weeks."""


@dataclass(slots=True)
class _Seen:
    """One batch within the window."""

    mono_us: int
    rows: int
    deleted: float
    suspicious: list[Suspicion] = field(default_factory=list)
    columns: tuple[ColumnFacts, ...] = ()


@dataclass(slots=True)
class _Steps:
    """How a column of numbers was moved lately, small steps included."""

    moved: float = 0.0
    """Mean logarithm over all rows of the table."""
    at_us: int = 0
    way: int = 0
    steps: int = 0
    covered: float = 0.0
    crept: float = 0.0


class DataBand:
    """What is usual of a table, and what was done within the window."""

    Settings: ClassVar[type[DataBandSection]] = DataBandSection
    EVENTS: ClassVar[bool] = True

    def __init__(self, settings: DataBandSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._usual: dict[str, Usual] = {}
        self._rows = 0
        self._window: deque[_Seen] = deque(maxlen=_MOST_BATCHES)
        self._steps: dict[str, _Steps] = {}
        self._sizes = 0
        self._largest = 0.0

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Judge one batch by what is usual and by those before it; learn it if it is calm."""
        while self._window and mono_us - self._window[0].mono_us > self._settings.window:
            self._window.popleft()
        if not detail or "batch" not in detail:
            return self._sized(mono_us, value)
        batch = read_batch(detail)
        if batch.first and not self._usual:
            self._begin(batch)
            return self._verdict(mono_us, 0.0, f"{batch.rows} rows are the usual", "")
        if batch.first:
            found = list(suspicions_at_first(batch, self._usual, self._rows))
            seen = _Seen(mono_us, batch.rows, 0.0, found)
        else:
            seen = _Seen(mono_us, batch.touched, self._gone(batch), columns=batch.columns)
            for facts in batch.columns:
                usual = self._usual.get(facts.name)
                if usual is not None:
                    seen.suspicious += suspicions(facts, usual, batch)
                    seen.suspicious += self._drift(facts, usual, batch, mono_us)
        self._window.append(seen)
        score, worst = self._worst(batch)
        if score < _CALM:
            self._learn(batch)
        if worst is None:
            return self._verdict(mono_us, score, f"{batch.touched} rows, as is usual", "")
        why = f"{worst.kind}: {worst.rows:.0f} rows"
        why += f" of {ascii(worst.column)[1:-1]}" if worst.column else ""
        return self._verdict(mono_us, score, f"{why}, {batch.touched} touched", worst.band)

    def _verdict(self, mono_us: int, score: float, why: str, band: str) -> Verdict:
        inside = score < 1 - self._settings.deadband
        raised = self._alarm.update(mono_us, beyond=score >= 1, inside=inside)
        evidence = {"band": band} if band else {}
        if raised:
            evidence["contradicts"] = "a person who meant this; the rows as they were are kept"
        return Verdict(score * 1.0000001 if score >= 1 else score, raised, why, evidence)

    def _sized(self, mono_us: int, value: float) -> Verdict:
        """Judge a reading without a detail: by its size alone; nought is a quiet one."""
        if value <= 0 or not math.isfinite(value):
            return self._verdict(mono_us, 0.0, "nothing was done", "")
        limit = max(_SIZE * self._largest, float(self._settings.rows))
        if self._sizes < _LEARN_SIZES or value < limit:
            self._sizes += 1
            self._largest = max(self._largest, min(value, 2 * self._largest or value))
            return self._verdict(mono_us, min(value / limit, _CALM), f"{value:g} rows", "")
        return self._verdict(mono_us, value / limit, f"{value:g} rows", f"up to {limit:g}")

    def rearm(self) -> None:
        """Let the alarm fall; what led to it is forgotten."""
        self._alarm.rearm()
        self._window.clear()
        self._steps.clear()

    # --- learning -----------------------------------------------------------------

    def _begin(self, batch: BatchFacts) -> None:
        self._usual = {facts.name: Usual.of(facts) for facts in batch.columns[:_MOST_COLUMNS]}
        self._rows = batch.rows

    def _learn(self, batch: BatchFacts) -> None:
        if batch.first:
            self._begin(batch)
            return
        self._rows = batch.rows
        for facts in batch.columns:
            usual = self._usual.get(facts.name)
            if usual is not None:
                usual.learn(facts)

    # --- judging ------------------------------------------------------------------

    def _gone(self, batch: BatchFacts) -> float:
        """Count the rows deleted, but not those that one statement archives."""
        if not batch.deleted:
            return 0.0
        whole = batch.rows + batch.deleted
        oldest = any(
            facts.rest <= _NO_REST * batch.deleted
            for facts in batch.columns
            if facts.kind == "t" or facts.unique
        )
        one = batch.transactions == 1 and batch.deleted >= self._settings.rows
        if one and oldest and batch.deleted <= self._settings.archive * whole:
            return 0.0
        return float(batch.deleted)

    def _drift(
        self, facts: ColumnFacts, usual: Usual, batch: BatchFacts, mono_us: int
    ) -> Iterator[Suspicion]:
        """Follow how a column of numbers is moved over many batches."""
        if facts.kind != "n" or usual.unique or facts.ratio is None or not batch.rows:
            return
        _, tenth, middle, ninetieth, _ = facts.ratio
        share = facts.changed / batch.rows
        one = self._steps.setdefault(facts.name, _Steps(at_us=mono_us))
        one.moved *= 0.5 ** ((mono_us - one.at_us) / _HALF_LIFE_US)
        one.at_us = mono_us
        one.moved += middle * min(share, 1.0)
        way = (tenth > 0) - (ninetieth < 0)
        if facts.changed >= _STEP_ROWS:
            if way != one.way or not way:
                one.way, one.steps, one.covered, one.crept = way, 0, 0.0, 0.0
            if way:
                one.steps += 1
                one.covered += share
                one.crept += middle
        crept = one.steps >= _STEPS and one.covered >= _COVERED and abs(one.crept) >= _CREPT
        far = abs(one.moved) > math.log1p(self._settings.drift)
        if crept or far:
            moved = math.expm1(one.crept if crept else one.moved)
            band = f"moved by {moved:+.1%} in steps; up to {self._settings.drift:.0%}"
            yield Suspicion(
                "drift", facts.name, float(max(facts.changed, self._settings.rows)), band
            )

    def _worst(self, batch: BatchFacts) -> tuple[float, Suspicion | None]:
        """Give the score, and the kind of tampering that has most rows within the window."""
        sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        bands: dict[tuple[str, str], str] = {}
        for seen in self._window:
            for one in seen.suspicious:
                sums[one.kind, one.column] += one.rows
                bands[one.kind, one.column] = one.band
        for facts in batch.columns:
            usual = self._usual.get(facts.name)
            if usual is not None and usual.known:
                for one in self._over_several(facts, usual, batch):
                    sums[one.kind, one.column] = max(sums[one.kind, one.column], one.rows)
                    bands[one.kind, one.column] = one.band
        deleted = sum(seen.deleted for seen in self._window)
        share = min(_DELETED_SHARE * batch.rows, _MOST_DELETED)
        limit = float(self._settings.deleted or max(self._settings.rows, share))
        worst, score = None, 0.0
        if deleted:
            worst, score = Suspicion("deleted", "", deleted, f"up to {limit:g}"), deleted / limit
        # What is beyond its range, or moved far, often is so for a reason with a better name.
        for (kind, column), rows in sorted(sums.items(), key=lambda one: one[0][0] in _LESS_SAID):
            if rows / self._settings.rows > score:
                score = rows / self._settings.rows
                worst = Suspicion(kind, column, rows, bands[kind, column])
        return score, worst

    def _over_several(
        self, facts: ColumnFacts, usual: Usual, batch: BatchFacts
    ) -> Iterator[Suspicion]:
        """Judge what was done to one column within the window."""
        lately = [one for seen in self._window for one in seen.columns if one.name == facts.name]
        now_s = batch.time_us / 1e6
        touched_now = facts.kind == "t" and all(
            one.new is None or one.new[0] > now_s - _DAY_S for one in lately
        )
        changed = sum(one.changed - one.filled for one in lately)
        if changed and not touched_now:
            yield from self._factor(facts, usual, lately)
            yield from self._constant(facts, usual, lately)
            yield from self._flooded(facts, lately, batch)
        if facts.kind == "s" and usual.distinct >= _VARIED:
            yield from self._letters(facts, usual, lately)

    def _factor(
        self, facts: ColumnFacts, usual: Usual, lately: list[ColumnFacts]
    ) -> Iterator[Suspicion]:
        if facts.kind != "n" or usual.unique:
            return
        factors: Counter[int] = Counter()
        total = 0
        for one in lately:
            if one.ratio is None:
                continue
            total += one.changed
            if one.ratio[3] - one.ratio[1] <= _TIGHT:
                factors[round(one.ratio[2] / _TIGHT)] += one.changed
        if not factors:
            return
        [(place, rows)] = factors.most_common(1)
        factor = math.exp(place * _TIGHT)
        large = abs(place * _TIGHT) > math.log1p(self._settings.uniform) + _TIGHT / 2
        if large and rows >= _MOSTLY * total:
            band = f"all times {factor:.3g}; up to {self._settings.uniform:.0%} is usual"
            yield Suspicion("factor", facts.name, float(rows), band)

    def _constant(
        self, facts: ColumnFacts, usual: Usual, lately: list[ColumnFacts]
    ) -> Iterator[Suspicion]:
        if usual.distinct < _VARIED:
            return
        values: Counter[str] = Counter()
        total = 0
        for one in lately:
            rows = one.changed - one.filled
            if one.inserted >= _VARIED and one.only and usual.distinct >= 0.2 * usual.rows:
                rows += one.inserted
            total += rows
            values[one.only] += rows
        del values[""]
        if not values:
            return
        [(_, rows)] = values.most_common(1)
        if rows >= _NEARLY_ALL * total:
            band = f"{usual.distinct} different values"
            yield Suspicion("constant", facts.name, float(rows), band)

    def _flooded(
        self, facts: ColumnFacts, lately: list[ColumnFacts], batch: BatchFacts
    ) -> Iterator[Suspicion]:
        changed = sum(one.changed - one.filled for one in lately)
        if changed < _FLOOD_ROWS or changed < _FLOODED * batch.rows:
            return
        collapsed = bool(facts.only) and facts.distinct_old > 1
        ratios = [one.ratio[2] for one in lately if one.ratio is not None and one.kind == "n"]
        moved = abs(sorted(ratios)[len(ratios) // 2]) if ratios else 0.0
        if collapsed or moved > math.log1p(self._settings.uniform):
            band = f"{changed} of {batch.rows} rows"
            yield Suspicion("flooded", facts.name, float(changed), band)

    def _letters(
        self, facts: ColumnFacts, usual: Usual, lately: list[ColumnFacts]
    ) -> Iterator[Suspicion]:
        sums = [0.0] * len(usual.letters)
        characters, rows = 0.0, 0
        for one in lately:
            if len(one.letters) != len(sums):
                continue
            weight = one.length * (one.inserted - one.nulls + one.changed - one.emptied)
            rows += one.inserted - one.nulls + one.changed - one.emptied
            characters += weight
            sums = [have + weight * share for have, share in zip(sums, one.letters, strict=True)]
        if not characters:
            return
        pairs = zip(sums, usual.letters, strict=True)
        apart = sum(abs(have / characters - share) for have, share in pairs)
        limit = _LETTERS + _LETTERS_NOISE / math.sqrt(characters)
        if apart > limit:
            band = f"kinds of characters are {apart:.2f} apart, usually {limit:.2f} at most"
            yield Suspicion("letters", facts.name, float(rows), band)
