"""What passes through a listener: the head of a request, the whole of it, the answer, the door.

A *door* is what a sensor mounts on a listener: the paths that it serves, and how a sender
proves that it may speak there. The head is judged before a byte of the body is read, so that
a stranger costs sixteen kilobytes at most. A sender whose signature is over the body (Sentry,
Grafana) is let in by its path and by bearing one, and is judged by `take`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Answer", "Door", "Head", "Request", "plain"]


@dataclass(frozen=True, slots=True)
class Head:
    """The first lines of a request; every byte of it is a stranger's."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """Names in lower case; what came twice is joined by a comma."""

    @property
    def kind(self) -> str:
        """The media type of the body, in lower case, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was let in."""

    head: Head
    body: bytes
    """As it was sent, but no longer compressed."""
    raw: bytes
    """As it was sent; a signature is over this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    """The media type of the body."""
    headers: Mapping[str, str] = field(default_factory=dict)


def plain(_head: Head | None, status: int, why: str) -> Answer:
    """Answer with one line of text."""
    return Answer(status, f"{why}\n".encode())


@dataclass(slots=True)
class Door:
    """What a sensor mounts on a listener."""

    paths: frozenset[str]
    """What it serves."""
    token: str
    """What a sender must bring, as bearer or as the password of basic authentication."""
    take: Callable[[Request], Answer]
    """Is given each request that was let in; at once, and never raises for what is in it."""
    explain: Callable[[Head | None, int, str], Answer] = plain
    """How a refusal is worded for this kind of sender."""
    signed_by: str = ""
    """The header with a signature, where the sender signs instead of bringing a token."""
    methods: frozenset[str] = frozenset({"POST"})
    refused: int = 0
    """Requests without what it takes to be let in, since the sensor asked last."""
    away: int = 0
    """How many the listener had turned away when the sensor asked last."""
    defect: str = ""
    """What of ours failed on a request, for people; it stays until watch is started again."""
    broken: int = 0
    """Requests that were let in and could not be read, likewise."""

    def knows(self, head: Head) -> bool:
        """Tell whether the sender has what it takes, as far as the head can show it."""
        if self.signed_by and self.signed_by in head.headers:
            return True
        return bool(self.token) and _brought(head, self.token)


def _brought(head: Head, token: str) -> bool:
    scheme, _, given = head.headers.get("authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())
