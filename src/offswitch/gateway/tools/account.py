"""What is told of tool calls after a stop: how many were done, and which nobody knows of (ACT-9).

The supervisor tells it, which has the books of all workers and serves nobody: once for each stop
that changed anything, a moment after it, by notes that the warden enters into the ledger. The whole
list is shown by `offswitch mcp calls`, from the books themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from offswitch.gateway.tools.book import CallBook, CallRow, State, counts

__all__ = ["Account"]

_AT_ONCE, _MOST = 5, 50
"""Calls that one note names, and that all of them do."""
_LONGEST = 30


class Account:
    """One front's."""

    def __init__(self, books: Sequence[CallBook]) -> None:
        """Tell of what is in `books`."""
        self._books = books
        self._told: dict[str, Mapping[str, int]] = {}

    def news(self, held: Callable[[str], bool]) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Give what is to be told of targets that are held: target, text, numbers."""
        by_target: dict[str, list[CallRow]] = {}
        for book in self._books:
            for row in book.rows():
                by_target.setdefault(row.target, []).append(row)
        for target, rows in by_target.items():
            if not held(target):
                self._told.pop(target, None)
                continue
            counted = {word: number for word, number in counts(rows).items() if number}
            if self._told.get(target) == counted:
                continue
            self._told[target] = counted
            text = ", ".join(f"{number} {word}" for word, number in counted.items())
            numbers = {"calls": len(rows), "unknown": counted.get(State.UNKNOWN.word, 0)}
            yield target, text, numbers
            for line in _unknown(rows):
                yield target, line, {}


def _unknown(rows: Sequence[CallRow]) -> Iterator[str]:
    cut = [row for row in rows if row.state is State.UNKNOWN][-_MOST:]
    for first in range(0, len(cut), _AT_ONCE):
        named = [
            f"{row.tool[:_LONGEST]} {row.ident.partition(':')[2][:_LONGEST]}"
            for row in cut[first : first + _AT_ONCE]
        ]
        yield f"cut in flight, may have happened: {', '.join(named)}"
