"""What others wrote, made safe to show.

Names of programs, reasons, log lines and table values come from those who are watched. On
a terminal an escape sequence could paint "all is well" over an alarm, and a character that
turns the direction of writing could swap two names, so every character that is no plain
text is shown as its escape. Standard library only, and without imports: `stop` uses it.
"""

from __future__ import annotations

__all__ = ["printable"]

_BLANKS = " \u00a0\u3000"
"""Blanks that move nothing; Python calls only the first of them printable."""


def printable(text: object, limit: int = 400) -> str:
    """Give `text` with everything that could move a cursor or hide itself spelt out."""
    cut = str(text)[: limit + 1]
    if cut.isprintable():
        shown = cut
    else:
        shown = "".join(c if c.isprintable() or c in _BLANKS else ascii(c)[1:-1] for c in cut)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
