"""What others wrote, made safe to show.

Names of programs, reasons, log lines and table values come from those who are watched. On
a terminal an escape sequence could paint "all is well" over an alarm, so every character
that is no plain text is shown as its escape.
"""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: object, limit: int = 400) -> str:
    """Give `text` with everything that could move a cursor or hide itself spelt out."""
    shown = "".join(
        char if unicodedata.category(char) not in _HIDDEN else ascii(char)[1:-1]
        for char in str(text)[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
