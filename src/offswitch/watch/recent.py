"""The last findings, numbered, so that whoever shows them can ask for the newer ones only.

A ring of five hundred: who asks too seldom is told how many he has missed; all of them are in the
ledger. Numbers begin anew with each life of watch, so whoever holds one that is ahead begins anew,
too.
"""

from __future__ import annotations

from collections import deque

from offswitch.model.finding import Finding

__all__ = ["MOST", "Recent"]

MOST = 500


class Recent:
    """What was found last."""

    __slots__ = ("_found", "next")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._found: deque[Finding] = deque(maxlen=MOST)
        self.next = 0
        """The number of the finding that comes next."""

    def add(self, finding: Finding) -> None:
        """Keep one."""
        self._found.append(finding)
        self.next += 1

    def after(self, index: int) -> list[tuple[int, Finding]]:
        """Give those from number `index` on; all of them where it is none of this life."""
        first = self.next - len(self._found)
        begin = index if 0 <= index <= self.next else 0
        return [(number, one) for number, one in enumerate(self._found, first) if number >= begin]

    def missed(self, index: int) -> int:
        """Say how many from number `index` on are forgotten."""
        first = self.next - len(self._found)
        return max(first - index, 0) if 0 <= index <= self.next else first
