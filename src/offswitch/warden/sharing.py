"""The same press again within an instant: obeyed once, latched and answered each time (SEC-4).

A thousand equal presses a second would keep the loop busy with killing what is dead. So one
whose scopes and level were commanded a moment ago gives no commands of its own: it joins the
latch, is recorded, and gets the answer that the first one gets. The moment is twenty
milliseconds, or ten times what the commands took, so that commanding again and again takes a
tenth of the loop's time at most. Whatever moves meanwhile is stopped by the standing watch.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from offswitch.model.order import Stop
from offswitch.warden.core import Core
from offswitch.warden.press import Press

__all__ = ["Sharing"]

_MOMENT_NS = 20_000_000
_TIMES = 10
_MOST = 256

Key = tuple[tuple[str, ...], int]


class Sharing:
    """Finds the press that another one can share."""

    def __init__(self, core: Core, answer: Callable[[Press], None]) -> None:
        """`answer` answers a press whose proof is done."""
        self._core = core
        self._answer = answer
        self._recent: dict[Key, tuple[Press, int]] = {}
        self._followers: dict[Press, list[Press]] = {}

    def owner(self, stops: list[Stop]) -> Press | None:
        """Give the press that has just commanded what `stops` want; None: command it."""
        press, until_ns = self._recent.get(_key(stops), (None, 0))
        if press is None or time.monotonic_ns() > until_ns:
            return None
        latch, barred = self._core.latch, self._core.barred
        held = all(stop.digest in latch and stop.digest not in barred for stop in press.stops)
        return press if held else None

    def commanded(self, press: Press) -> None:
        """Let others share this press from now on, for a moment."""
        took_ns = press.since_ns()
        key = _key(press.stops)
        self._recent.pop(key, None)
        while len(self._recent) >= _MOST:
            del self._recent[next(iter(self._recent))]
        if press.rows:
            moment_ns = max(_MOMENT_NS, _TIMES * took_ns)
            self._recent[key] = (press, press.accepted_ns + took_ns + moment_ns)

    def follow(self, press: Press, owner: Press) -> None:
        """Have `press` answered when its owner's proof is there."""
        press.rows, press.levels = owner.rows, owner.levels
        press.prior, press.commanded = owner.prior, owner.commanded
        if press.reply is None:
            return
        if owner.done:
            self._core.loop.later(0, lambda: self._answer(press))
        else:
            self._followers.setdefault(owner, []).append(press)

    def finished(self, owner: Press) -> None:
        """Answer all who shared it."""
        for press in self._followers.pop(owner, ()):
            self._answer(press)


def _key(stops: list[Stop]) -> Key:
    return tuple(stop.scope.text for stop in stops), max(stop.level for stop in stops)
