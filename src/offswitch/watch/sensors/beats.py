"""Beats as they come: what a datagram says, and what is missing or comes twice.

    alive              a beat
    alive 17           a beat with its number, which grows by one from beat to beat
    TOKEN alive 17     where a token is asked for, it comes first

Numbers that are left out are *gaps*, one that is not above the last is a *repeat*; a program that
begins anew at 0 or 1 is neither. What is no beat, or bears another token, is *refused* and counts
for nothing else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

__all__ = ["LONGEST", "Beats"]

LONGEST = 512
_WORD = b"alive"
_MOST_NUMBER = 1 << 62
_MOST_GAP = 1_000_000
_BEGINS = 1


@dataclass(slots=True)
class Beats:
    """Counts what came since it was asked."""

    token: bytes = b""
    last: int | None = None
    """The number of the last beat that bore one."""
    beats: int = 0
    gaps: int = 0
    repeats: int = 0
    refused: int = 0

    def take(self, data: bytes) -> bool:
        """Take a datagram in; tells whether it is a beat."""
        words = data[:LONGEST].split()
        if self.token:
            given = words.pop(0) if words else b""
            if not hmac.compare_digest(given, self.token):
                self.refused += 1
                return False
        number = words[1] if len(words) == 2 else b""  # noqa: PLR2004 - the word and its number
        numbered = number.isdigit() and int(number[:20]) < _MOST_NUMBER
        if len(data) > LONGEST or words[:1] != [_WORD] or len(words) > 1 + numbered:
            self.refused += 1
            return False
        if numbered:
            self._number(int(number[:20]))
        self.beats += 1
        return True

    def _number(self, number: int) -> None:
        last, self.last = self.last, number
        if last is None or (number <= _BEGINS and number != last):
            return
        if number <= last:
            self.repeats += 1
            self.last = last
        else:
            self.gaps += min(number - last - 1, _MOST_GAP)

    def since(self) -> dict[str, float]:
        """Give the counts since the last call."""
        counts = {
            "beats": float(self.beats),
            "gaps": float(self.gaps),
            "repeats": float(self.repeats),
            "refused": float(self.refused),
        }
        self.beats = self.gaps = self.repeats = self.refused = 0
        return counts
