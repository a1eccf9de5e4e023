"""The data-set band, by the public suite and by batches of a small shop."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.data_band import DataBand, DataBandSection
from offswitch.watch.rows.batches import read_batch, spell_batch
from offswitch.watch.sensors.postgres.standing import Standing, Value
from offswitch.watch.sensors.postgres.tally import Tally

S = 1_000_000
NOW_S = 1_800_000_000.0
COLUMNS = (("id", "n"), ("owner", "n"), ("price", "n"), ("note", "s"), ("status", "s"), ("at", "t"))
WORDS = "leave the parcel with our neighbour please and ring twice".split()  # noqa: SIM905
Row = tuple[Value, ...]
Edit = Callable[[dict[float, Row]], Sequence[tuple[Row | None, Row | None]]]


class TestSuite(DetectorSuite):
    kind = "data_band"
    keys: ClassVar[Mapping[str, Any]] = {"series": 'db.batch{table="orders"}'}
    calm = 2.0
    loud = 100_000.0


class Shop:
    """A table in memory, told in batches as a sensor does, and the detector that judges them."""

    def __init__(self, rows: int = 1000) -> None:
        self.rng = random.Random(5)
        self.rows = {float(n): self.plausible(float(n), n / rows) for n in range(1, rows + 1)}
        self.standing = [Standing(kind in "nt") for _, kind in COLUMNS]
        tally = Tally(COLUMNS)
        for place, standing in enumerate(self.standing):
            standing.begin(row[place] for row in self.rows.values())
        for row in self.rows.values():
            tally.insert(row)
        settings = DataBandSection(kind="data_band", series='db.batch{table="orders"}')
        self.detector = DataBand(settings)
        self.now_us = 0
        self._tell(tally, first=True)

    def plausible(self, key: float, share: float) -> Row:
        rng = self.rng
        note = " ".join(rng.choices(WORDS, k=rng.randint(3, 9)))
        status = rng.choice(["new", "paid", "sent"])
        owner, price = float(rng.randint(1, 200)), round(20 * rng.lognormvariate(0, 0.6), 2)
        return key, owner, price, note, status, NOW_S - 90 * 86_400 * (1 - share)

    def _tell(self, tally: Tally, *, first: bool = False) -> Verdict:
        facts = tally.told(self.standing, len(self.rows), int(NOW_S * S), first=first)
        if first:
            facts = replace(
                facts, columns=tuple(replace(one, ordered=1.0) for one in facts.columns)
            )
        detail = spell_batch(facts)
        assert read_batch(detail).touched == facts.touched
        self.now_us += S
        return self.detector.update(self.now_us, float(facts.touched), detail)

    def transaction(self, edits: Sequence[tuple[Row | None, Row | None]]) -> Verdict:
        """Apply old and new rows as one transaction; None: it is not there."""
        tally = Tally(COLUMNS)
        for old, new in edits:
            for place, standing in enumerate(self.standing):
                if old is not None:
                    standing.remove(old[place])
                if new is not None:
                    standing.add(new[place])
            if old is None and new is not None:
                tally.insert(new)
            elif new is None and old is not None:
                tally.delete(old)
            elif old is not None and new is not None:
                tally.change(old, new)
            if old is not None:
                self.rows.pop(old[0], None)  # type: ignore[arg-type]
            if new is not None:
                self.rows[new[0]] = new  # type: ignore[index]
        tally.end(len(edits))
        return self._tell(tally)

    def changed(self, column: str, value: Callable[[Any], Value], rows: int = 60) -> Verdict:
        place = [name for name, _ in COLUMNS].index(column)
        chosen = self.rng.sample(sorted(self.rows), rows)
        edits = []
        for key in chosen:
            old = self.rows[key]
            edits.append((old, (*old[:place], value(old[place]), *old[place + 1 :])))
        return self.transaction(edits)


TAMPERED: dict[str, Callable[[Shop], Verdict]] = {
    "factor": lambda shop: shop.changed("price", lambda price: price * 2.54),
    "mirrored": lambda shop: shop.changed("price", lambda price: -price),
    "constant": lambda shop: shop.changed("price", lambda _price: 9.99),
    "cut": lambda shop: shop.changed("note", lambda note: note[:4]),
    "letters": lambda shop: shop.changed("note", lambda note: "#7%~"[::-1] * (len(note) // 4)),
    "nulled": lambda shop: shop.changed("note", lambda _note: None),
    "nonsense": lambda shop: shop.changed("price", lambda _price: float("nan")),
    "outside": lambda shop: shop.changed("price", lambda _price: shop.rng.uniform(1e6, 1e9)),
    "dated": lambda shop: shop.changed("at", lambda at: at - 20 * 86_400),
    "repeated": lambda shop: shop.transaction(
        [(None, (float(n), *shop.plausible(1, 1)[1:])) for n in range(1, 40)]
    ),
    "deleted": lambda shop: shop.transaction(
        [(shop.rows[key], None) for key in shop.rng.sample(sorted(shop.rows), 60)]
    ),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_each_kind_of_tampering_trips_in_one_transaction_and_is_named(kind: str) -> None:
    verdict = TAMPERED[kind](Shop())
    assert verdict.tripped, verdict.why
    assert verdict.score > 1
    same = {"mirrored": {"mirrored", "negative"}, "outside": {"outside", "factor", "drift"}}
    assert verdict.why.split(":")[0] in same.get(kind, {kind}), verdict.why
    assert verdict.evidence["band"]
    assert verdict.evidence["contradicts"]


def test_a_shuffled_key_is_told_though_each_value_is_a_good_one() -> None:
    shop = Shop()
    owners = [row[1] for row in shop.rows.values()][:200]
    shop.rng.shuffle(owners)
    edits = [
        (old, (old[0], owner, *old[2:]))
        for old, owner in zip(list(shop.rows.values())[:200], owners, strict=True)
        if old[1] != owner
    ]
    verdict = shop.transaction(edits)
    assert verdict.tripped
    assert verdict.why.startswith("shuffled")


def test_rows_that_are_spoilt_one_by_one_trip_at_the_declared_number() -> None:
    shop = Shop()
    tripped = [shop.changed("price", lambda price: price * 100, 1).tripped for _ in range(10)]
    assert tripped == [False] * 9 + [True]


def test_small_steps_in_one_direction_are_a_drift() -> None:
    shop = Shop()
    verdicts = [shop.changed("price", lambda price: price * 1.01, 900) for _ in range(10)]
    assert not verdicts[0].tripped
    assert verdicts[-1].tripped
    assert verdicts[-1].why.startswith("drift")


HONEST: dict[str, Callable[[Shop], Verdict]] = {
    "a price rise of 5 %": lambda shop: shop.changed("price", lambda price: price * 1.05, 1000),
    "a bulk load": lambda shop: shop.transaction(
        [(None, shop.plausible(float(n), 1.0)) for n in range(2000, 3500)]
    ),
    "an archive of the oldest": lambda shop: shop.transaction(
        [(shop.rows[key], None) for key in sorted(shop.rows)[:300]]
    ),
    "orders that go on": lambda shop: shop.changed("status", lambda _status: "sent", 300),
    "another word for a state": lambda shop: shop.changed(
        "status", lambda status: "dispatched" if status == "sent" else status, 600
    ),
    "a touch of every row": lambda shop: shop.changed("at", lambda _at: NOW_S, 1000),
    "new measurements": lambda shop: shop.changed(
        "price", lambda price: price * shop.rng.uniform(0.9, 1.1), 500
    ),
}


@pytest.mark.parametrize("what", HONEST)
def test_honest_work_does_not_trip(what: str) -> None:
    verdict = HONEST[what](Shop())
    assert not verdict.tripped, verdict.why
    assert verdict.score < 1


def test_a_table_read_anew_is_judged_by_what_it_was() -> None:
    shop = Shop()
    tally = Tally(COLUMNS)
    for row in shop.rows.values():
        tally.insert((*row[:2], 1.0, *row[3:]))
    verdict = shop._tell(tally, first=True)
    assert verdict.tripped
    assert verdict.why.startswith("constant")
    again = Shop()
    tally = Tally(COLUMNS)
    for row in again.rows.values():
        tally.insert(row)
    assert not again._tell(tally, first=True).tripped


def test_what_is_no_batch_is_a_failed_channel_and_never_a_calm_one() -> None:
    shop = Shop()
    for text in ("", "[]", '{"first": false}', '{"first": false, "rows": -1}'):
        with pytest.raises(ValueError, match=r"batch|count|Expecting"):
            shop.detector.update(shop.now_us, 5.0, {"batch": text})
