"""Whether something has turned from good to bad just now: a token that is refused since the stop.

A token that is refused says nothing by itself. It may be refused for an hour, since it was renewed
and the target works by another one; then a stop has cut nothing, and a look by the old one would
call that *stopped*. So a refusal counts where the same token was seen to be good shortly before, in
the same process. Once it counted it does so as long as the same stop holds, for processes that come
after, too (`Hand.memory`); a reset ends that.

    turned.good(token, now)      whenever it is accepted, by a proof or by a look
    turned.bad(token, now)       in a look: empty, or why the refusal proves nothing
"""

from __future__ import annotations

import hashlib
import threading

from offswitch.actuators.hands.contract import Hand
from offswitch.clock import new_nonce

__all__ = ["Turned"]

_SLACK_US = 10_000_000


class Turned:
    """Remembers, for each thing, when it was good; and which have turned, in the hand's memory."""

    def __init__(self, hand: Hand) -> None:
        """Remember for `hand`."""
        self._hand = hand
        self._limit_us = 2 * int(hand.settings.prove) + _SLACK_US
        self._good: dict[str, int] = {}
        self._lock = threading.Lock()  # a hand may look in several places at once

    def good(self, what: str, now_us: int) -> None:
        """It is good."""
        with self._lock:
            self._good[what] = now_us
            if self.has(what):
                salt, *marks = self._hand.memory.split()
                kept = [mark for mark in marks if mark != _mark(salt, what)]
                self._hand.memory = " ".join([salt, *kept])

    def has(self, what: str) -> bool:
        """Tell whether it has turned during the stop that holds."""
        salt, *marks = self._hand.memory.split() or [""]
        return _mark(salt, what) in marks

    def bad(self, what: str, now_us: int) -> str:
        """It is bad; gives why that proves nothing, or nothing where it does."""
        with self._lock:
            return self._bad(what, now_us)

    def _bad(self, what: str, now_us: int) -> str:
        if self.has(what):
            return ""
        seen_us = self._good.get(what)
        if seen_us is None:
            return ", and it was never seen to be good here: the target may have another"
        if now_us - seen_us > self._limit_us:
            ago_s = (now_us - seen_us) // 1_000_000
            return f", and it was seen to be good {ago_s} s ago: the target may have another"
        salt, *marks = self._hand.memory.split() or [new_nonce()]
        self._hand.memory = " ".join([salt, *marks, _mark(salt, what)])
        return ""


def _mark(salt: str, what: str) -> str:
    """Name something without saying it."""
    return hashlib.sha256(f"{salt} {what}".encode()).hexdigest()[:16]
