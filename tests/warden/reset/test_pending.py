"""Resets that wait for people: few, for a quarter of an hour, and through a hand-over (SR-5)."""

from __future__ import annotations

import json

from offswitch.decide.authority import VALID_US
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope
from offswitch.warden.reset.grounds import Grounds
from offswitch.warden.reset.pending import Pending, Waiting

STOP = Stop("0" * 32, Scope("shop"), Level.KILL, "uid:7", "cli", "1", 1)


def latched() -> Latch:
    latch = Latch()
    latch.add(STOP)
    return latch


def waiting(nonce: str, time_us: int = 1, clears: str = STOP.digest) -> Waiting:
    order = Reset("0" * 32, Scope("shop"), (clears,), "person:ada", "console", nonce, time_us, "x")
    return Waiting(order, Grounds("x", "it is gone", "all of it", write_off=True), {"ada"})


def test_SR_5_what_waits_is_passed_on_with_its_grounds_and_who_has_proven_it() -> None:
    before, after = Pending(), Pending()
    one = waiting("1")
    before.keep(one, latched(), 2)
    after.take_up(json.loads(json.dumps(before.passed())))
    assert list(after) == [one]
    assert one.expires_us == 1 + VALID_US


def test_SR_5_what_an_older_code_passed_has_no_grounds_but_its_cause() -> None:
    before, after = Pending(), Pending()
    before.keep(waiting("1"), latched(), 2)
    passed = before.passed()
    del passed["grounds"]
    after.take_up(passed)
    [one] = after
    assert one.grounds == Grounds("x")


def test_SR_5_the_moot_the_expired_and_the_oldest_of_too_many_are_let_go() -> None:
    pending, latch = Pending(), latched()
    for number in range(40):
        pending.keep(waiting(str(number)), latch, 2)
    assert [each.order.nonce for each in pending] == [str(number) for number in range(8, 40)]
    last = waiting("last", VALID_US)
    pending.keep(last, latch, VALID_US + 2)
    assert list(pending) == [last]
    moot = waiting("moot", VALID_US, "f" * 64)
    pending.keep(moot, latch, VALID_US + 2)
    pending.keep(last, latch, VALID_US + 2)
    assert moot.order.digest not in pending
    pending.drop(last.order.digest)
    assert list(pending) == []


def test_SEC_2_the_nonce_covers_all_that_was_said_and_is_the_given_one_where_nothing_was() -> None:
    given = {"nonce": "abc"}
    assert Grounds("x").nonce(given) == "abc"
    more = [
        Grounds("x", "a"),
        Grounds("x", "b"),
        Grounds("x", "", "a"),
        Grounds("x", "a", "a"),
        Grounds("y", "a"),
        Grounds("x", "a", write_off=True),
    ]
    nonces = {one.nonce(given) for one in more}
    assert len(nonces) == len(more)
    assert all(len(nonce) == 32 for nonce in nonces)
