"""What comes again and again, written down once a second with its count (SEC-4).

Each first press, refusal or broken message is an entry of its own. Where the same user does
the same thing more than `_SINGLY` times within a second, what follows is counted, and one
entry at the end of that second says how often: whoever floods us neither fills the journal,
nor pushes out what others did, nor stays unnamed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from offswitch.warden.loop import Loop

__all__ = ["Tally"]

_SINGLY = 16
_A_WHILE_S = 1.0
_MOST_KEYS = 4096
"""Beyond that, whoever comes is counted under one."""

Write = Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], int]


class _Count:
    __slots__ = ("latest", "left", "more")

    def __init__(self) -> None:
        self.left = _SINGLY
        self.more = 0
        self.latest: tuple[str, Mapping[str, Any] | None, Mapping[str, Any]] = ("", None, {})


class Tally:
    """Counts, by a key that names who does what."""

    __slots__ = ("_counts", "_loop", "_write")

    def __init__(self, loop: Loop, write: Write) -> None:
        """`write(kind, sealed, public)` makes an entry, and gives its number."""
        self._loop = loop
        self._write = write
        self._counts: dict[Hashable, _Count] = {}

    def note(
        self,
        key: Hashable,
        kind: str,
        sealed: Mapping[str, Any] | None,
        public: Mapping[str, Any],
    ) -> int | None:
        """Write an entry, or count it; gives its number, or None where it is only counted."""
        if key not in self._counts and len(self._counts) >= _MOST_KEYS:
            key = "others"
        count = self._counts.get(key)
        if count is None:
            if not self._counts:
                self._loop.later(_A_WHILE_S, self.sum_up)
            count = self._counts[key] = _Count()
        if count.left:
            count.left -= 1
            return self._write(kind, sealed, public)
        count.more += 1
        count.latest = (kind, sealed, public)
        return None

    def sum_up(self) -> None:
        """Write what was counted; counting begins anew."""
        counts, self._counts = self._counts, {}
        for count in counts.values():
            if count.more:
                kind, sealed, public = count.latest
                self._write(kind, sealed, {**public, "times": count.more})
