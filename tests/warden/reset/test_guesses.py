"""Wrong secrets: each costs a longer pause, and none for ever (SR-2)."""

from __future__ import annotations

import pytest

from offswitch.errors import Busy
from offswitch.warden.reset.guesses import LONGEST_S, Guesses

MINUTE_US = LONGEST_S * 1_000_000


def wrong(guesses: Guesses, uid: int, now_us: int) -> int:
    guesses.begin(uid, now_us)
    return guesses.wrong(uid, now_us)


def test_SR_2_the_pause_doubles_up_to_a_minute_and_never_beyond() -> None:
    guesses = Guesses()
    pauses = [wrong(guesses, 7, n * MINUTE_US) for n in range(100)]
    assert pauses[:8] == [0, 0, 4, 8, 16, 32, 60, 60]
    assert set(pauses[6:]) == {LONGEST_S}
    guesses.begin(7, 100 * MINUTE_US)


def test_SR_2_a_guess_in_a_pause_neither_counts_nor_lengthens_it() -> None:
    guesses = Guesses()
    for _ in range(3):
        wrong(guesses, 7, 0)
    for now_us in (0, 1, 3_999_999):
        with pytest.raises(Busy, match="not looked at"):
            guesses.begin(7, now_us)
    assert wrong(guesses, 7, 4_000_000) == 8


def test_SR_2_one_secret_of_a_user_is_checked_at_a_time_and_users_are_apart() -> None:
    guesses = Guesses()
    guesses.begin(7, 0)
    with pytest.raises(Busy, match="being checked"):
        guesses.begin(7, 0)
    guesses.begin(0, 0)
    assert [guesses.wrong(7, 0), wrong(guesses, 7, 0), wrong(guesses, 7, 0)] == [0, 0, 4]
    assert guesses.wrong(0, 0) == 0, "root has a count of its own"
    guesses.begin(0, 0)
    guesses.right(0)
    assert [wrong(guesses, 0, 0) for _ in range(2)] == [0, 0], "the right one clears it"
