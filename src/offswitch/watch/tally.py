"""How much of each has come since the last look, over so many series at most.

A total has no label and is always counted. Beyond the limit a new label is counted under
`(other)`: whoever makes up a million names gets one series more, and hides nothing in the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from offswitch.watch.sensors.contract import Sample

__all__ = ["OTHER", "Key", "Tally"]

OTHER = "(other)"
Key = tuple[str, tuple[tuple[str, str], ...]]
"""What is counted, and its labels, sorted."""


class Tally:
    """Counts; every series that was ever counted says 0 when nothing came."""

    __slots__ = ("_changed", "_most", "_sums", "folded")

    def __init__(self, fixed: Iterable[Key], most: int) -> None:
        """Count the `fixed` ones from the first look on, and `most` others."""
        self._sums: dict[Key, float] = dict.fromkeys(fixed, 0.0)
        self._most = most + len(self._sums)
        self._changed: set[Key] = set()
        self.folded = 0
        """Counted under `(other)` since this was last set to 0."""

    def add(self, what: str, amount: float, labels: Mapping[str, str] | None = None) -> None:
        """Count `amount` more."""
        self.count((what, tuple(sorted(labels.items())) if labels else ()), amount)

    def count(self, key: Key, amount: float) -> None:
        """Count `amount` more, the labels being sorted already."""
        if key not in self._sums and key[1] and len(self._sums) >= self._most:
            key = (key[0], tuple((name, OTHER) for name, _text in key[1]))
            self.folded += 1
        self._sums[key] = self._sums.get(key, 0.0) + amount
        self._changed.add(key)

    def take(self, *, everything: bool) -> list[Sample]:
        """Give what has changed, or `everything`, and begin anew."""
        keys = list(self._sums) if everything else list(self._changed)
        samples = [Sample(what, self._sums[what, labels], dict(labels)) for what, labels in keys]
        for key in self._changed:
            self._sums[key] = 0.0
        self._changed.clear()
        return samples
