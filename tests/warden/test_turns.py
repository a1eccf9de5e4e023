"""Which command to a target counts: what was seen before something moved says nothing."""

from __future__ import annotations

import json

from offswitch.model.level import Level
from offswitch.warden.table import Tracked
from offswitch.warden.turns import Turns

A, B = Tracked.named("shop/a"), Tracked.named("shop/b")


def test_VER_3_what_was_seen_in_an_earlier_turn_does_not_count() -> None:
    turns = Turns()
    first = turns.begin(A, Level.KILL)
    assert turns.counts(A, Level.KILL, first, latched=Level.KILL)
    turns.begin(B, Level.KILL)
    assert turns.counts(A, Level.KILL, first, latched=Level.KILL), "B moved, not A"
    turns.begin(A, Level.KILL)
    assert not turns.counts(A, Level.KILL, first, latched=Level.KILL)


def test_VER_3_of_a_target_that_was_never_commanded_the_latched_level_counts() -> None:
    turns = Turns()
    assert turns.counts(A, Level.FREEZE, turns.now(A), latched=Level.FREEZE)
    assert not turns.counts(A, Level.FREEZE, turns.now(A), latched=Level.KILL)


def test_SR_23_the_next_code_knows_what_was_commanded_and_goes_on_counting() -> None:
    turns, after = Turns(), Turns()
    freeze, kill = turns.begin(A, Level.FREEZE), turns.begin(B, Level.KILL)
    after.take_up(json.loads(json.dumps(turns.passed())))
    assert (after.commanded(A, Level.FREEZE), after.commanded(A, Level.KILL)) == (freeze, 0)
    assert (after.killed(A), after.killed(B)) == (False, True)
    assert after.begin(A, Level.KILL) > kill
    after.forget(B)
    assert (after.commanded(B, Level.KILL), after.killed(B), after.now(B)) == (0, False, 0)
