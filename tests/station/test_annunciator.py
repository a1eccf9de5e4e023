"""What people are told of in a flood, and what is measured of it (HMI-5)."""

from __future__ import annotations

from typing import Any

import pytest

from cascades import Flood, S, flood
from offswitch.station.alarms.annunciator import WINDOW_US, Annunciation, Annunciator
from offswitch.station.alarms.book import AlarmBook
from offswitch.station.alarms.figures import Told, figures
from offswitch.station.alarms.sign import Sign
from scale import LONG

DAY = 86_400 * S


def replay(hour: Flood) -> tuple[Annunciator, list[Annunciation]]:
    """Let an hour pass, event by event, and a second at a time where nothing comes."""
    annunciator, told, now_us = Annunciator(hour.ties), [], 0
    for sign in hour.signs:
        while now_us + S < sign.found_us:
            now_us += S
            told += annunciator.due(now_us)
        now_us = sign.found_us
        annunciator.take(sign, now_us)
        told += annunciator.due(now_us)
    for _ in range(1200):
        now_us += S
        told += annunciator.due(now_us)
    return annunciator, told


def lost(hour: Flood, annunciator: Annunciator, told: list[Annunciation]) -> list[Sign]:
    """Give the causes that stand under another one, or of which nobody was told."""
    found, groups = [], annunciator.groups.groups.values()
    others = {(cause.key, cause.target) for cause in hour.causes}
    for cause in hour.causes:
        [group] = [one for one in groups if (cause.key, cause.target) in one.known]
        swallowed = len(others & group.known) > 1
        if swallowed or group.number not in annunciator._told:
            found.append(cause)
    return found


@pytest.mark.parametrize("seed", [1, 2, 4, 5] if LONG else [1])
def test_HMI_5_of_10_000_events_in_an_hour_people_are_told_ten_times_in_ten_minutes_at_most(
    seed: int,
) -> None:
    hour = flood(seed, early=6, later=12)
    assert len(hour.signs) == 10_000
    annunciator, told = replay(hour)
    early = [one for one in told if one.at_us < WINDOW_US]
    assert 6 <= len(early) <= 10
    assert lost(hour, annunciator, told) == []
    groups = {one.number: one for one in annunciator.groups.groups.values()}
    tops = [group.ranked(hour.ties)[0].target for group in groups.values()]
    on_top = sum(cause.target in tops for cause in hour.causes)
    print(f"{len(early)} annunciations in the first ten minutes, {len(told)} in the hour,"
          f" {on_top} of {len(hour.causes)} causes on top of their group")  # fmt: skip
    assert on_top >= 0.8 * len(hour.causes)
    assert not any(one.flood for one in told)


def test_HMI_5_where_there_are_more_causes_than_people_take_in_none_is_lost_either() -> None:
    hour = flood(3, early=25, later=10)
    annunciator, told = replay(hour)
    times = [one.at_us for one in told]
    assert max(sum(at <= one < at + WINDOW_US for one in times) for at in times) <= 10
    assert lost(hour, annunciator, told) == []
    floods = [one for one in told if one.flood]
    assert floods[0].at_us < WINDOW_US
    assert sum(one.causes for one in told) >= len(hour.causes)
    assert annunciator.flooded == 0
    seen = figures([Told(f"g{one.group}", one.at_us, "x") for one in told], 0, 3600 * S)
    assert (seen.peak_10min, seen.floods) == (10, ())


def test_HMI_5_a_group_is_told_of_once_and_again_when_it_becomes_grave() -> None:
    annunciator = Annunciator()
    annunciator.take(Sign("k", "shop/a", 0), 0)
    assert annunciator.due(S) == [], "what was noticed first need not be the root"
    annunciator.take(Sign("k", "shop/b", S), S)
    [told] = annunciator.due(2 * S)
    assert (told.count, told.grave) == (2, False)
    annunciator.take(Sign("j", "shop/b", 3 * S), 3 * S)
    assert annunciator.due(9 * S) == [], "a consequence is folded in"
    annunciator.take(Sign("stop", "shop/b", 10 * S, grave=True), 10 * S)
    [told] = annunciator.due(10 * S)
    assert told.grave, "at once"
    annunciator.take(Sign("more", "shop/b", 11 * S, grave=True), 11 * S)
    assert annunciator.due(20 * S) == []
    annunciator.take(Sign("k", "bank/x", 20 * S, grave=True), 20 * S)
    assert len(annunciator.due(20 * S)) == 1


def test_HMI_5_the_figures_of_isa_18_2_are_those_of_a_day_that_was_counted_by_hand() -> None:
    told = [
        Told("old", 0, "advise"),
        Told("quick", DAY, "auto", acked_us=DAY + 30 * S, ended_us=DAY + 60 * S),
        *(Told("flaps", DAY + 3000 * S + second * S, "shadow", ended_us=DAY + 3100 * S)
          for second in (0, 20, 40)),
        *(Told(f"f{number}", DAY + 7200 * S + number * 10 * S, "advise", DAY + 8800 * S,
               shelved=number == 3) for number in range(20)),
    ]  # fmt: skip
    seen = figures(told, DAY, 2 * DAY)
    assert (seen.annunciations, seen.peak_10min) == (24, 20)
    assert seen.average_10min == pytest.approx(24 / 144)
    assert seen.chattering == ("flaps",)
    [(begin, end, count)] = seen.floods
    assert (begin, count) == (DAY + 7200 * S, 20)
    assert end == DAY + 7200 * S + 160 * S + WINDOW_US, "fewer than five are left"
    assert (seen.standing, seen.stale, seen.shelved) == (21, 1, 1)
    assert (seen.acked, seen.unacked) == (21, 3)
    assert seen.acked_median_us == 1500 * S
    assert seen.acked_in_10min == pytest.approx(1 / 21)
    assert seen.priorities["advise"] == pytest.approx(20 / 24)
    assert seen.as_dict()["priorities"]["auto"] == pytest.approx(1 / 24)


def test_HMI_5_a_span_without_alarms_has_figures_too() -> None:
    seen = figures([], 0, DAY)
    assert (seen.annunciations, seen.peak_10min, seen.acked_median_us) == (0, 0, None)
    assert seen.floods == seen.chattering == ()


def alarm(rule: str, target: str, since_s: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"rule": rule, "target": target, "scope": target, "act": "auto", "state": "stands",
            "since_us": since_s * S, "findings": [], "acked_by": None, "acked_us": None,
            "shelved": False, "harm": "h", **more}  # fmt: skip


def test_HMI_5_the_console_keeps_what_it_told_people_of_and_what_became_of_it() -> None:
    book = AlarmBook(0)
    one, other = alarm("a", "shop/a", 10), alarm("b", "shop/b", 11)
    assert book.hear([one], 10 * S) == []
    assert book.hear([one, other], 11 * S) == []
    [told] = book.hear([one, other], 13 * S)
    assert (told.root.key, told.count) == ("rule:a", 2)
    assert book.hear([one, other], 60 * S) == [], "once"
    seen = book.figures(60 * S)
    assert (seen.annunciations, seen.standing, seen.acked, seen.since_us) == (1, 1, 0, 0)
    acked = {"acked_by": "person:ada", "acked_us": 73 * S}
    book.hear([{**one, **acked}, other], 80 * S)
    assert book.figures(80 * S).acked == 0, "all of the group"
    book.hear([{**one, **acked}, {**other, **acked, "shelved": True}], 90 * S)
    assert book.figures(90 * S).acked_median_us == 60 * S
    book.hear([], 100 * S)
    assert (book.figures(101 * S).standing, book.figures(101 * S).annunciations) == (0, 1)
    book.hear([alarm("a", "shop/a", 1000)], 1000 * S)
    assert len(book.hear([alarm("a", "shop/a", 1000)], 1002 * S)) == 1, "it has risen anew"
    book.hear([{}, {"rule": 7}], 1003 * S)
