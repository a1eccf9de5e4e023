"""Wrong secrets cost their user a pause: a program can guess faster than a person can type.

Two slips are free; from the third on each pause is twice as long as the one before, up to a
minute. It holds for one user id, the kernel's word, and never for ever, so that nobody is
locked out by what runs under the same user; and it holds for secrets alone, never for a stop.
A guess while another of that user is being checked, or in a pause, is not looked at and does
not count.
"""

from __future__ import annotations

from offswitch.errors import Busy

__all__ = ["LONGEST_S", "Guesses"]

_FREE = 2
_FIRST_S = 4
LONGEST_S = 60
"""The longest pause, in seconds."""
_MOST_USERS = 256


class Guesses:
    """How often each user was wrong, and until when it has to wait. Times are CLOCK_MONOTONIC."""

    __slots__ = ("_checking", "_wrong")

    def __init__(self) -> None:
        """Begin with nobody's mistakes."""
        self._wrong: dict[int, tuple[int, int]] = {}
        """User → how often, and until when (microseconds)."""
        self._checking: set[int] = set()

    def begin(self, uid: int, now_us: int) -> None:
        """A user brings a secret; `Busy` if it is not its turn."""
        if uid in self._checking:
            raise Busy("another secret of yours is being checked", "wait for its answer")
        wrong, until_us = self._wrong.get(uid, (0, 0))
        if now_us < until_us:
            left = -(-(until_us - now_us) // 1_000_000)
            hint = f"wait {left} s, then type the secret again"
            raise Busy(f"{wrong} wrong secrets of user {uid}: this one was not looked at", hint)
        self._checking.add(uid)

    def unanswered(self, uid: int) -> None:
        """The disk did not tell whether it was right."""
        self._checking.discard(uid)

    def right(self, uid: int) -> None:
        """It was right: what came before is forgotten."""
        self._checking.discard(uid)
        self._wrong.pop(uid, None)

    def wrong(self, uid: int, now_us: int) -> int:
        """It was wrong; give the pause that it costs, in seconds."""
        self._checking.discard(uid)
        wrong = self._wrong.pop(uid, (0, 0))[0] + 1
        doublings = min(wrong - _FREE - 1, 16)
        pause_s = 0 if wrong <= _FREE else min(LONGEST_S, _FIRST_S << doublings)
        self._wrong[uid] = (wrong, now_us + pause_s * 1_000_000)
        if len(self._wrong) > _MOST_USERS:
            del self._wrong[next(iter(self._wrong))]
        return pause_s
