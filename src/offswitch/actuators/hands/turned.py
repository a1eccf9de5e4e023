"""Whether something has turned from good to bad just now: a token that is refused since the stop.

A token that is refused says nothing by itself. It may be refused for an hour, since it was renewed
and the target works by another one; then a stop has cut nothing, and a look by the old one would
call that *stopped*. So a refusal counts where the same token was seen to be good shortly before, in
the same process; once it counted it goes on doing so, until the token is seen to be good again.

A process that was started while a stop was latched has seen nothing good: it cannot tell, and says
so.
"""

from __future__ import annotations

__all__ = ["Turned"]

_SLACK_US = 10_000_000


class Turned:
    """Remembers, for each thing, when it was good."""

    def __init__(self, prove_us: int) -> None:
        """`prove_us` is how often it is seen to be good while nothing is stopped."""
        self._limit_us = 2 * prove_us + _SLACK_US
        self._good: dict[str, int] = {}
        self._turned: set[str] = set()

    def good(self, what: str, now_us: int) -> None:
        """It is good."""
        self._good[what] = now_us
        self._turned.discard(what)

    def has(self, what: str) -> bool:
        """Tell whether it has turned."""
        return what in self._turned

    def bad(self, what: str, now_us: int) -> str:
        """It is bad; gives why that proves nothing, or nothing where it does."""
        if what in self._turned:
            return ""
        seen_us = self._good.get(what)
        if seen_us is None:
            return ", and it was never seen to be good here: the target may have another"
        if now_us - seen_us > self._limit_us:
            ago_s = (now_us - seen_us) // 1_000_000
            return f", and it was seen to be good {ago_s} s ago: the target may have another"
        self._turned.add(what)
        return ""
