"""Which came first, and what belongs to it (HMI-7)."""

from __future__ import annotations

import pytest

from cascades import S, cascade, noticed
from offswitch.station.alarms.grouping import Groups, grouped
from offswitch.station.alarms.sign import Sign
from scale import LONG

BENCH = 400 if LONG else 24


def sign(target: str, found: float, lag: float = 0, key: str = "k", scope: str = "") -> Sign:
    return Sign(key, target, int(found * S), int(lag * S), scope=scope)


def share(hop_us: float, *, tied: bool) -> tuple[float, float]:
    """Say how often the root stands on top of the one group, and how often it was noticed first."""
    right = first = 0
    for seed in range(BENCH):
        one = cascade(seed, hop_us=hop_us)
        ties = one.ties if tied else {}
        groups = grouped(one.signs, ties)
        assert len(groups) == 1, f"seed {seed}: a cascade is one group"
        assert groups[0].count == 200
        right += groups[0].ranked(ties)[0].target == one.root
        first += min(one.signs, key=lambda each: each.found_us).target == one.root
    return right / BENCH, first / BENCH


@pytest.mark.parametrize("by", ["neighbours", "names"])
def test_HMI_7_a_cascade_of_200_has_its_root_on_top(by: str) -> None:
    right, first = share(2 * S, tied=by == "neighbours")
    print(f"by {by}: root on top in {right:.1%} of {BENCH} cascades; noticed first in {first:.1%}")
    assert right >= 0.95


@pytest.mark.skipif(not LONG, reason="a run count")
@pytest.mark.parametrize("hop_us", [S // 2, S, 4 * S])
def test_HMI_7_how_often_the_root_is_on_top_where_faults_spread_faster_or_slower(
    hop_us: int,
) -> None:
    for tied in (True, False):
        right, first = share(hop_us, tied=tied)
        print(f"hop {hop_us / S} s, tied {tied}: {right:.1%}; noticed first in {first:.1%}")
        assert right >= 0.6


def test_HMI_7_a_slow_detector_of_the_root_does_not_put_its_consequence_on_top() -> None:
    ties = {"a": {"b", "c", "d"}, "b": {"a"}, "c": {"a"}, "d": {"a"}}
    signs = [sign("a", 4.9, lag=5), sign("b", 2, 0.1), sign("c", 2.3, 0.1), sign("d", 1.8, 0.1)]
    [group] = grouped(signs, ties)
    assert [one.target for one in group.ranked(ties)][:2] == ["a", "d"]


def test_HMI_7_what_was_surely_first_is_the_root_wherever_it_lies() -> None:
    ties = {"hub": {"leaf", "x", "y", "z"}, **{name: {"hub"} for name in ("leaf", "x", "y", "z")}}
    signs = [sign("leaf", 1, 0.1), sign("hub", 3, 0.1), *(sign(n, 4, 0.1) for n in "xyz")]
    assert grouped(signs, ties)[0].ranked(ties)[0].target == "leaf"


def test_HMI_7_an_alarm_that_covers_others_is_one_group_with_them() -> None:
    signs = [
        sign("shop/eu/db", 1, 1, scope="shop/eu"),
        sign("shop/eu/a", 1.5),
        sign("shop/eu/b", 2),
    ]
    [group] = grouped(signs)
    assert group.ranked({})[0].scope == "shop/eu"
    apart = grouped([sign("a", 1, scope="/"), sign("shop/x", 1), sign("bank/y", 1)])
    assert len(apart) == 3, "a rule about everything ties no two targets"


def test_HMI_7_what_has_nothing_to_do_with_it_is_another_group() -> None:
    groups = grouped([sign("shop/a", 1), sign("bank/b", 1.1), sign("shop/c", 1.2)])
    assert [[one.target for one in group.ranked({})] for group in groups] == [
        ["shop/a", "shop/c"], ["bank/b"],
    ]  # fmt: skip
    later = grouped([sign("shop/a", 1), sign("shop/c", 62)])
    assert len(later) == 2, "a minute later it is another thing"


def test_HMI_7_two_halves_of_one_cascade_meet_in_what_lay_between_them() -> None:
    ties = {"a": {"b"}, "b": {"a", "c"}, "c": {"b"}}
    groups = Groups(ties)
    one, _ = groups.take(sign("a", 1))
    other, _ = groups.take(sign("c", 1.5))
    assert one is not other
    kept, merged = groups.take(sign("b", 4, lag=5))
    assert (kept, merged) == (one, [other])
    late = Groups(ties)
    late.take(sign("a", 1))
    late.take(sign("c", 1.5))
    _, merged = late.take(sign("b", 4))
    assert merged == [], "what began after both is no cause of both"


def test_the_same_thing_again_is_counted_and_not_listed_again() -> None:
    groups = Groups()
    for second in range(100):
        groups.take(sign("shop/a", second))
    [group] = groups.groups.values()
    assert (group.count, len(group.signs)) == (100, 1)


def test_no_signs_are_no_groups_and_one_is_its_own_root() -> None:
    assert grouped([]) == []
    [group] = grouped([sign("a", 1)])
    assert group.ranked({}) == [sign("a", 1)]


def test_a_thousand_groups_are_remembered_and_no_more() -> None:
    groups = Groups()
    for number in range(1500):
        groups.take(sign(f"t{number}", number * 400))
    assert len(groups.groups) == 1000
    assert noticed  # the bench's generator is what the cascades above are made of
