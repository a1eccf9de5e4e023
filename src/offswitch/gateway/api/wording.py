"""What is said to whoever is refused or ended: a status, a code, a sentence.

The sentence says what happened, that trying again is no use, and who may be asked. What holds until
people lift it (a stop, a restriction, a lease that ran out) is a 503 with `x-should-retry: false`,
which the official clients obey, and without `retry-after`, since nobody knows when. A server that
cannot be reached, or that is busy, may well be tried again, so nothing is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from offswitch.gateway.exchange import Cause, Headers, Why
from offswitch.printable import printable

__all__ = ["Word", "headers_of", "may_retry", "sentence", "word_of"]


@dataclass(frozen=True, slots=True)
class Word:
    """How a cause is told."""

    status: int
    code: str
    """For programs: begins with `offswitch_`."""
    text: str
    """For people, where nothing more exact is known."""


_WORDS = {
    Cause.STOPPED: Word(503, "offswitch_stopped", "It was stopped"),
    Cause.RESTRICTED: Word(503, "offswitch_restricted", "It may do less than this just now"),
    Cause.NO_LEASE: Word(
        503, "offswitch_no_lease", "Nobody vouches for it, so it counts as stopped"
    ),
    Cause.NOT_ALLOWED: Word(403, "offswitch_not_allowed", "This is not allowed here"),
    Cause.NO_ROUTE: Word(404, "offswitch_no_route", "No route of the gateway takes this request"),
    Cause.MALFORMED: Word(400, "offswitch_malformed", "The request cannot be read in one way only"),
    Cause.TOO_LARGE: Word(413, "offswitch_too_large", "It is larger than the gateway takes"),
    Cause.UPSTREAM: Word(502, "offswitch_upstream", "The server behind the gateway broke off"),
    Cause.TIMED_OUT: Word(504, "offswitch_timed_out", "It took too long"),
    Cause.BUSY: Word(503, "offswitch_busy", "The gateway takes no more just now"),
}
_TRY_AGAIN = frozenset((Cause.UPSTREAM, Cause.TIMED_OUT, Cause.BUSY))
_UNTIL_LIFTED = frozenset((Cause.STOPPED, Cause.RESTRICTED))
_LONGEST = 600


def word_of(cause: Cause) -> Word:
    """Say how a cause is told."""
    return _WORDS[cause]


def may_retry(cause: Cause) -> bool:
    """Tell whether trying again may be of use."""
    return cause in _TRY_AGAIN


def sentence(why: Why) -> str:
    """Say what happened, to whom, and who may be asked."""
    text = why.text or _WORDS[why.cause].text
    parts = [f"offswitch: {text.rstrip('.')}."]
    if why.target and why.cause in _UNTIL_LIFTED:
        level = f" at level {why.level}" if why.level else ""
        parts.append(f"{why.target} is held{level} until people reset it; do not retry.")
    if why.ask:
        parts.append(f"Ask {why.ask}.")
    return printable(" ".join(parts), _LONGEST)


def headers_of(cause: Cause, kind: bytes = b"application/json") -> Headers:
    """Give the headers of a refusal."""
    told: list[tuple[bytes, bytes]] = [(b"content-type", kind), (b"cache-control", b"no-store")]
    if not may_retry(cause):
        told.append((b"x-should-retry", b"false"))
    return told
