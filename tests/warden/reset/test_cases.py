"""What is judged of a reset: what has become of its stops, and not only what they say (RST-5)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from offswitch.decide.authority import Mode
from offswitch.decide.people import People, Person
from offswitch.model.latch import Latch, Live
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope
from offswitch.model.target import Target
from offswitch.warden.reset.cases import case_of
from offswitch.warden.reset.grounds import Grounds
from offswitch.warden.reset.news import News
from offswitch.warden.reset.pending import Waiting
from offswitch.warden.reset.rules import ResetRules

TARGET = Target("shop/a", {"tenant": "acme"})


def stop(scope: str, level: Level, by: str = "uid:7", nonce: str = "1") -> Stop:
    return Stop("0" * 32, Scope(scope), level, by, "cli", nonce, 1)


class Room:
    """As much of a warden as a case needs: a latch, one target, and what it was commanded."""

    def __init__(self, *stops: Stop, killed: bool = False, mode: Mode = Mode.PEOPLE) -> None:
        latch = Latch()
        for one in stops:
            latch.add(one)
        row = SimpleNamespace(target=TARGET)
        table = SimpleNamespace(covered=lambda _scopes: [row])
        self.turns: Any = SimpleNamespace(killed=lambda _row: killed)
        self.core: Any = SimpleNamespace(
            latch=latch,
            table=table,
            reset_rules=ResetRules.read({"people": {"freeze": 2}}),
            authority=SimpleNamespace(mode=mode),
        )

    def case(self, *stops: Stop, write_off: bool = False) -> tuple[Level, int]:
        names = tuple(one.digest for one in stops)
        order = Reset("0" * 32, Scope("shop"), names, "uid:7", "cli", "1", 1, "x")
        waiting = Waiting(order, Grounds("x", write_off=write_off))
        live = [Live(one, 1, 1) for one in stops]
        case = case_of(self.core, self.turns, waiting, live)
        return case.level, case.wanted


FREEZE, KILL = stop("tenant=acme", Level.FREEZE), stop("shop/a", Level.KILL, "warden")


def test_RST_5_the_highest_of_the_stops_counts() -> None:
    assert Room(FREEZE, KILL).case(FREEZE, KILL) == (Level.KILL, 2)
    assert Room(FREEZE).case(FREEZE) == (Level.FREEZE, 2)
    restrict = stop("shop/a", Level.RESTRICT)
    assert Room(restrict).case(restrict) == (Level.RESTRICT, 1)


def test_RST_5_a_freeze_beside_the_kill_that_it_became_clears_the_freeze_alone() -> None:
    """The kill holds the target all the same, and its own reset takes two."""
    assert Room(FREEZE, KILL, killed=True).case(FREEZE) == (Level.FREEZE, 2)


def test_RST_5_what_was_killed_and_is_held_by_nothing_else_counts_as_a_kill() -> None:
    assert Room(FREEZE, killed=True).case(FREEZE) == (Level.KILL, 2)


def test_SR_18_a_write_off_takes_as_many_as_a_kill_and_one_person_is_alone() -> None:
    drain = stop("shop/a", Level.DRAIN)
    assert Room(drain).case(drain, write_off=True) == (Level.KILL, 2)
    assert Room(FREEZE, mode=Mode.LOCAL).case(FREEZE) == (Level.FREEZE, 1)


@pytest.mark.parametrize("by", ["person:ada", "uid:1000"])
def test_SR_18_a_person_is_told_of_what_they_stopped_under_any_of_their_names(by: str) -> None:
    ada = Person("ada", 1000, (), None)
    known = People((ada,))
    news, mine = News(), stop("shop", Level.KILL, by)
    reset = Reset("0" * 32, Scope("shop"), (mine.digest,), "person:bob", "console", "1", 1, "x")
    news.add(Live(mine, 1, 1), reset, 1)
    for asked in ("person:ada", "uid:1000"):
        [told] = news.of(news.names(asked, known), Scope("/"), 2)
        assert "your stop of shop was reset by person:bob" in told
    assert news.of(news.names("uid:7", known), Scope("/"), 2) == []
    own = News()
    own.add(Live(mine, 1, 1), replace(reset, by="person:ada"), 1)
    assert own.of(own.names("person:ada", known), Scope("/"), 2) == [], "they know"
