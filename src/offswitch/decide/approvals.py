"""What may not go on without leave: a tool call, a start. Silence means no (DEC-3).

    asked ─┬─ granted by others than who asks, as many as it takes, in time ─► it may, once
           ├─ denied by anybody ─► it may not
           └─ silence ─► it may not

The other way round than a question of a rule (`questions`), where silence stops: there something
runs that a rule calls harmful, here something wants to begin. Both end on the safe side. An answer
names what it grants by its digest, so a late one, one to another request and the same one twice
grant nothing; and what was granted is used up by being done (AISVS 9.6.2, 9.2.8).

Pure: what is asked is a value, and an answer gives the next one or is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum

from offswitch.decide.who import Who, surely_two
from offswitch.errors import NotFound, Refused

__all__ = ["Leave", "Request", "deny", "grant", "request", "stands", "used"]

_DOMAIN = b"offswitch approval v1\0"


class Leave(StrEnum):
    """How a request stands."""

    WAITS = "waits"
    GRANTED = "granted"
    DENIED = "denied"
    """By a person, by silence, or since it was used."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that asks for leave."""

    digest: str
    """Its name: SHA-256 over what it is about, who asks, when, and a nonce."""
    what: str
    by: Who
    """Who asks: a target's user, or the person on whose behalf it acts."""
    due_us: int
    """When silence has answered, monotonic microseconds."""
    people: int = 1
    """How many people it takes."""
    granted: tuple[Who, ...] = ()
    closed: bool = False
    """Whether it was denied, or used."""


def request(what: str, by: Who, *, nonce: str, mono_us: int, within_us: int, people: int = 1) -> (
    Request
):  # fmt: skip
    """Ask for leave; the digest is another one each time, by `nonce` and time."""
    about = [what, by.text, nonce, mono_us, within_us, people]
    digest = hashlib.sha256(_DOMAIN + json.dumps(about).encode()).hexdigest()
    return Request(digest, what, by, mono_us + within_us, people)


def stands(asked: Request, mono_us: int) -> Leave:
    """Say how it stands now; what is granted holds until its time, too, and not beyond."""
    if asked.closed or mono_us >= asked.due_us:
        return Leave.DENIED
    return Leave.GRANTED if len(asked.granted) >= asked.people else Leave.WAITS


def grant(asked: Request | None, digest: str, who: Who, mono_us: int) -> Request:
    """Take in that `who` grants it; raises where that counts for nothing."""
    asked = _open(asked, digest, mono_us)
    if not surely_two(asked.by, who):
        raise Refused("nobody grants his own request", "somebody else must, for sure another")
    if not all(surely_two(earlier, who) for earlier in asked.granted):
        raise Refused(f"{who.words} may have granted it already", "somebody else must, too")
    return replace(asked, granted=(*asked.granted, who))


def deny(asked: Request | None, digest: str, mono_us: int) -> Request:
    """Take in that somebody denies it: anybody may, and one is enough."""
    return replace(_open(asked, digest, mono_us), closed=True)


def used(asked: Request, mono_us: int) -> Request:
    """Use it, once; `Refused` unless it is granted."""
    if stands(asked, mono_us) is not Leave.GRANTED:
        raise Refused("it is not granted: unanswered, denied, too late or used", "ask again")
    return replace(asked, closed=True)


def _open(asked: Request | None, digest: str, mono_us: int) -> Request:
    if asked is None or asked.digest != digest or asked.closed:
        raise NotFound("that request is closed: it was denied, used, or another one", "ask again")
    if mono_us >= asked.due_us:
        raise Refused("the answer comes too late: silence has denied it", "ask again")
    return asked
