"""Bringing a helper of ours back when it dies: at once, and later if it dies young.

A helper that lived for a while is replaced in the same breath. One that dies as it comes
up, or that cannot be started (no descriptor, no process, no room for its log), is tried
again later each time, but for ever: what cannot be started now must not be given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from offswitch.warden.loop import Loop

__all__ = ["Respawn"]

_OLD_ENOUGH_S = 2.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Respawn:
    """Starts one helper, again and again."""

    __slots__ = ("_began", "_loop", "_pause", "_start")

    def __init__(self, loop: Loop, start: Callable[[], None]) -> None:
        """`start` brings the helper up; it may raise OSError."""
        self._loop = loop
        self._start = start
        self._pause = 0.0
        self._began = 0.0

    def begin(self) -> None:
        """Start it now; if that fails, again later."""
        self._began = time.monotonic()
        try:
            self._start()
        except OSError as error:
            self._loop.defect(error)
            self._later()

    def lost(self) -> None:
        """It has died: start it again."""
        if time.monotonic() - self._began >= _OLD_ENOUGH_S:
            self._pause = 0.0
            self.begin()
        else:
            self._later()

    def _later(self) -> None:
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._loop.later(self._pause, self.begin)
