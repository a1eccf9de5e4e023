"""Texts on their way to watch: so much a second of each target, and what is more is counted.

A target that talks without end takes nothing from the room of others (SR-6), and what a reader
looks at once a second is still there when it looks: the ring holds twice what may come in that
time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from offswitch.control.sensed import At, SensedFile, TextKind

__all__ = ["Texts"]

_ROOM = 256 << 10
"""Bytes a second of all targets together."""
_LEAST = 4 << 10
_OVERHEAD = 24
_FEW = 200
"""Prompts a second, of each target."""
_SECOND_NS = 1_000_000_000


class Texts:
    """The texts of one worker."""

    __slots__ = ("_each", "_few", "_file", "_left", "_now", "_until")

    def __init__(self, file: SensedFile, now: Callable[[], int] = time.monotonic_ns) -> None:
        """Write into the ring of `file`; `now` is a clock in nanoseconds."""
        self._file = file
        self._now = now
        self._each = max(_ROOM // max(len(file.targets), 1), _LEAST)
        self._until = [0] * len(file.targets)
        self._left = [0] * len(file.targets)
        self._few = [0] * len(file.targets)
        """How many more prompts are taken in this second."""

    def wants_prompt(self, target: int) -> bool:
        """Tell whether one more prompt is to be handed over; else count it.

        Of many a second a part tells as much as all, and to find their last words is dear.
        """
        now = self._now()
        if now > self._until[target]:
            self._begin(target, now)
        self._few[target] -= 1
        if self._few[target] < 0:
            self._file.words[self._file.block(target) + At.DROPPED] += 1
            return False
        return True

    def _begin(self, target: int, now: int) -> None:
        self._until[target] = now + _SECOND_NS
        self._left[target], self._few[target] = self._each, _FEW

    def put(self, kind: TextKind, target: int, text: bytes) -> None:
        """Hand a text over, or drop and count it."""
        now = self._now()
        if now > self._until[target]:
            self._begin(target, now)
        left = self._left[target] - len(text) - _OVERHEAD
        if left < 0:
            self._file.words[self._file.block(target) + At.DROPPED] += 1
            return
        self._left[target] = left
        self._file.put(kind, target, text)
