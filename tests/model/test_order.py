"""Orders: what names them, and that a name never changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.errors import Corrupt, OffswitchError
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop, from_wire, set_digest
from offswitch.model.scope import parse_scope
from offswitch.model.wire import Canonical, canonical, parse
from values import resets, stops

GOLDEN = json.loads((Path(__file__).parent / "golden" / "orders.json").read_text())
STOP = Stop(
    "0123456789abcdef" * 2,
    parse_scope("shop/eu"),
    Level.KILL,
    "uid:1000",
    "cli",
    "f" * 32,
    1_700_000_000_000_000,
    "it repriced everything",
)


@pytest.mark.parametrize("golden", GOLDEN["orders"], ids=lambda golden: golden["name"])
def test_a_digest_that_was_ever_given_out_stays_right(golden: dict[str, str]) -> None:
    """Final from the first entry: old latch files, ledgers and signatures name orders by these."""
    data = golden["canonical"].encode()
    order = from_wire(parse(data))
    assert canonical(order.wire()) == data
    assert order.digest == golden["digest"]
    assert golden["digest"] == hashlib.sha256(b"offswitch/order/v1\0" + data).hexdigest()


def test_a_set_of_orders_has_a_name_that_stays_right() -> None:
    names = [golden["digest"] for golden in GOLDEN["orders"]]
    assert set_digest(names) == GOLDEN["set"]
    assert set_digest(names[::-1]) == GOLDEN["set"]
    assert set_digest(names[:1]) == names[0]


@given(stops | resets)
def test_an_order_is_the_same_on_the_other_side(order: Stop | Reset) -> None:
    again = from_wire(parse(canonical(order.wire())))
    assert again == order
    assert again.digest == order.digest


@given(stops)
def test_each_field_is_part_of_the_name(stop: Stop) -> None:
    others = [
        replace(stop, installation=stop.installation[::-1] + "0"),
        replace(stop, scope=parse_scope("x/y/z")),
        replace(stop, level=Level.RESTRICT if stop.level > Level.RESTRICT else Level.KILL),
        replace(stop, by=stop.by + "x"),
        replace(stop, channel=stop.channel + "x"),
        replace(stop, nonce=stop.nonce + "x"),
        replace(stop, time_us=stop.time_us - 1),
        replace(stop, reason="x" + stop.reason),
    ]
    assert len({stop.digest, *(other.digest for other in others)}) == len(others) + 1


def test_a_reset_and_a_stop_never_share_a_name() -> None:
    body = STOP.wire()
    reset = Reset(STOP.installation, STOP.scope, (), STOP.by, STOP.channel, STOP.nonce, 1, "x")
    assert set(body) != set(reset.wire())
    assert reset.digest != STOP.digest


def changed(**fields: Canonical) -> dict[str, Canonical]:
    body = {**STOP.wire(), **fields}
    return {key: value for key, value in body.items() if value != "GONE"}


@pytest.mark.parametrize(
    "body",
    [
        "text", 7, [], {}, changed(v=2), changed(v="1"), changed(kind="start"), changed(kind=1),
        changed(scope="shop//eu"), changed(scope="/shop/eu"), changed(scope="all"),
        changed(scope=1), changed(level="Kill"), changed(level="off"), changed(level=4),
        changed(time_us="1"), changed(time_us="GONE"), changed(by=["uid:0"]), changed(by="GONE"),
        changed(nonce=5), changed(reason=5), changed(reason=""), changed(installation="GONE"),
        changed(not_after=5), changed(epoch=1), changed(clears=[]), changed(reason="x" * 2001),
        changed(kind="reset"),
        changed(kind="reset", level="GONE", clears=["b", "a"]),
        changed(kind="reset", level="GONE", clears=["a", 1]),
        changed(kind="reset", level="GONE", clears="a"),
        changed(kind="reset", level="GONE", clears=["a"], reason="GONE"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_order_of_ours_is_refused(body: Canonical) -> None:
    """A field that we would drop or respell would give the order another name: it is damage."""
    with pytest.raises(OffswitchError) as refused:
        from_wire(body)
    assert refused.value.kind in {"corrupt", "usage"}


def test_a_boolean_is_no_version_and_no_time() -> None:
    for body in ({**STOP.wire(), "v": True}, {**STOP.wire(), "time_us": True}):
        with pytest.raises(Corrupt):
            from_wire(body)


@given(st.dictionaries(st.sampled_from(sorted(STOP.wire())), st.integers() | st.text(max_size=5)))
def test_no_object_breaks_it(fields: dict[str, Canonical]) -> None:
    body: Canonical = {**STOP.wire(), **fields}
    try:
        order = from_wire(body)
    except OffswitchError:
        return
    assert order.wire() == body


def test_a_long_reason_is_cut_where_it_is_named() -> None:
    long = replace(STOP, reason="x" * 5000)
    assert from_wire(parse(canonical(long.wire()))).digest == long.digest


@given(stops, stops)
def test_a_stop_joins_its_equal_in_scope_level_and_issuer(one: Stop, two: Stop) -> None:
    assert one.joins(replace(two, scope=one.scope, level=one.level, by=one.by))
    if one.scope != two.scope or one.level != two.level or one.by != two.by:
        assert not one.joins(two)
