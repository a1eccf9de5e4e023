"""Merging stops may stop more, never less (SR-17)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.merge import CHANNEL, merged
from offswitch.model.order import Reset, Stop, set_digest
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.target import Target
from values import levels, scopes, targets

HERE = "0" * 32


def stop(number: int, scope: Scope | str, level: Level = Level.KILL, by: str = "uid:1") -> Stop:
    where = scope if isinstance(scope, Scope) else parse_scope(scope)
    return Stop(HERE, where, level, by, "cli", f"{number:032x}", number + 1)


@given(
    st.lists(st.tuples(scopes, levels), min_size=1, max_size=12),
    st.integers(1, 12),
    st.lists(targets, max_size=6),
)
def test_SR_17_merged_stops_cover_all_that_they_stand_for_at_no_lower_level(
    pressed: list[tuple[Scope, Level]], most: int, some: list[Target]
) -> None:
    latch = Latch()
    for number, (scope, level) in enumerate(pressed):
        latch.add(stop(number, scope, level))
    before = {target.name: latch.level(target) for target in some}
    names = {live.stop.digest for live in latch}
    made = latch.merge(most, 99)
    assert len(latch) <= max(most, 1)
    for target in some:
        known, now = before[target.name], latch.level(target)
        assert known is None or (now is not None and now >= known)
    stood_for = [each.digest for one in made for each in one.instead_of]
    assert len(stood_for) == len(set(stood_for)), "each is stood for once"
    assert names == set(stood_for) | {live.stop.digest for live in latch if live.stop.time_us != 99}
    for one in made:
        assert one.stop.nonce == set_digest([each.digest for each in one.instead_of])
        assert one.stop.level == max(each.level for each in one.instead_of)


def test_SR_17_a_flood_is_merged_and_its_neighbours_are_left_alone() -> None:
    kept = [stop(1, "shop/eu"), stop(2, "shop/us"), stop(3, "tenant=acme")]
    flood = [stop(100 + number, f"flood/a/{number}") for number in range(50)]
    [one] = merged([*kept, *flood], 10, 99)
    assert one.stop.scope.text == "flood/a"
    assert set(one.instead_of) == set(flood)


def test_SR_17_of_one_scope_they_become_one_of_that_scope() -> None:
    many = [stop(number, "shop/eu", by=f"uid:{number}") for number in range(50)]
    [one] = merged([*many, stop(99, "shop/us")], 5, 99)
    assert one.stop.scope.text == "shop/eu"


def test_SR_17_stops_by_label_become_one_of_everything() -> None:
    """No path is above a label, and the safe side is to stop more."""
    [one] = merged([stop(number, f"tenant=t{number}") for number in range(9)], 3, 99)
    assert one.stop.scope.text == "/"


def test_SR_17_a_press_joins_what_stands_for_many_and_covers_it() -> None:
    latch = Latch()
    for number in range(9):
        latch.admit(stop(number, f"flood/{number}", Level.FREEZE))
    [one] = latch.merge(3, 99)
    assert latch.admit(stop(50, "flood/new", Level.FREEZE, "uid:7")) == one.stop.digest
    live = latch.get(one.stop.digest)
    assert live is not None
    assert live.count == 10
    higher, elsewhere = stop(51, "flood/new"), stop(52, "shop", Level.FREEZE)
    assert latch.admit(higher) == higher.digest, "a kill is more than a freeze"
    assert latch.admit(elsewhere) == elsewhere.digest
    late = stop(53, "flood/late", Level.FREEZE)
    assert latch.admit(late, barred=[one.stop.digest]) == late.digest, "a reset of that is open"


def test_SR_17_what_an_open_reset_names_is_merged_last() -> None:
    latch = Latch()
    named = [stop(number, f"old/{number}") for number in range(4)]
    for each in [*named, *(stop(50 + number, f"new/{number}") for number in range(9))]:
        latch.admit(each)
    order = Reset(HERE, parse_scope("old"), tuple(s.digest for s in named), "b", "c", "n", 5, "r")
    [one] = latch.merge(6, 99, barred=order.clears)
    assert one.stop.scope.text == "new"
    assert sorted(latch.clear(order)) == sorted(order.clears)
    assert [live.stop.channel for live in latch] == [CHANNEL]
