"""What is offered once and for a while: a link to enrol a phone, a challenge for a passkey.

Kept in memory, bounded, by the digest of what the other side has to bring. Taken once it is
gone; a station that starts anew has forgotten them all, and they are asked for again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from offswitch.station.people.accounts import digest_of

__all__ = ["Offers"]

_MOST = 1000

T = TypeVar("T")


class Offers(Generic[T]):
    """Some of one kind; clocks are monotonic microseconds."""

    def __init__(self, lasts_us: int) -> None:
        """Each is good for `lasts_us`."""
        self._lasts_us = lasts_us
        self._open: OrderedDict[str, tuple[int, T]] = OrderedDict()

    def put(self, key: str, what: T, now_us: int) -> None:
        """Offer `what` to whoever brings `key`; the oldest gives way where there are too many."""
        self._open[digest_of(key)] = (now_us + self._lasts_us, what)
        if len(self._open) > _MOST:
            self._open.popitem(last=False)

    def look(self, key: str, now_us: int) -> T | None:
        """Give what is offered for `key`, and keep it."""
        until_us, what = self._open.get(digest_of(key), (0, None))
        return what if now_us < until_us else None

    def take(self, key: str, now_us: int) -> T | None:
        """Give what is offered for `key`, for this one time."""
        until_us, what = self._open.pop(digest_of(key), (0, None))
        return what if now_us < until_us else None
