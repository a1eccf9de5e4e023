"""What the parts of the gateway hand to one another, and the three contracts between them.

    wire ─ Head, body ─► Steward.read ─ Asked ─► plan ─ Route ─► Steward.admit ─ Verdict | Later
    wire ─ bytes of the answer's body ─► Tap.data          (looks, changes nothing)
                                     └─► Filter.feed ─►    (instead of the bytes themselves)
    wire ─ sent, ended ─► Follower                         (what became of the request)

A steward knows one family of APIs and nothing of sockets; the wire knows sockets and nothing of
APIs. All of it is called in a worker's only thread: nothing here may wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from offswitch.gateway.plan.route import Route, Step
from offswitch.model.level import Level

__all__ = [
    "Asked",
    "Call",
    "Cause",
    "Filter",
    "Follower",
    "Head",
    "Headers",
    "Held",
    "How",
    "Later",
    "Malformed",
    "Pass",
    "Reply",
    "Rewritten",
    "Shape",
    "Steward",
    "Tap",
    "Verdict",
    "Why",
]

Headers = Sequence[tuple[bytes, bytes]]


class Shape(StrEnum):
    """Which call of which API a request is; the shape of an error follows from it."""

    CHAT = "chat"
    """OpenAI: POST …/chat/completions."""
    COMPLETION = "completion"
    """OpenAI: POST …/completions."""
    RESPONSES = "responses"
    """OpenAI: POST …/responses."""
    EMBEDDINGS = "embeddings"
    MODELS = "models"
    """OpenAI and Anthropic: GET …/models, which begins nothing."""
    MESSAGES = "messages"
    """Anthropic: POST …/messages."""
    MCP = "mcp"
    """JSON-RPC over streamable HTTP."""
    REALTIME = "realtime"
    """A websocket."""
    PLAIN = "plain"
    """Anything else: passed or refused whole."""


class Cause(StrEnum):
    """Why something is refused or ended."""

    STOPPED = "stopped"
    """The target is latched."""
    RESTRICTED = "restricted"
    """It may do less just now: no tools, no new sessions, another model."""
    NO_LEASE = "no-lease"
    """Nobody vouches for the page: it counts as stopped."""
    NOT_ALLOWED = "not-allowed"
    """By declaration: a tool that is not on the list, a call that was denied."""
    NO_ROUTE = "no-route"
    """No route of the configuration takes it."""
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UPSTREAM = "upstream"
    """The server behind cannot be reached, or broke off."""
    TIMED_OUT = "timed-out"
    BUSY = "busy"
    """Too many connections, or going down."""


@dataclass(frozen=True, slots=True)
class Why:
    """What is told to whoever is refused or ended."""

    cause: Cause
    target: str = ""
    level: str | None = None
    """The latch's level, for STOPPED and RESTRICTED."""
    text: str = ""
    """What exactly, for people; ours, never an upstream's words."""
    ask: str = ""
    """Who may be asked: from the configuration."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, as it was parsed."""

    method: bytes
    target: bytes
    """Path and query in origin form; begins with a slash."""
    headers: Headers
    """Names in lower case, values stripped; in their order, hop-by-hop ones left out."""

    def get(self, name: bytes) -> bytes | None:
        """Give the value of a header that is there once; None: it is not there, or more often."""
        found = [value for each, value in self.headers if each == name]
        return found[0] if len(found) == 1 else None

    @property
    def path(self) -> bytes:
        """The path without its query."""
        return self.target.partition(b"?")[0]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool that a request makes or carries."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    ident: str = ""
    """By which its answer is known: a JSON-RPC id, an id of a tool call."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, as its steward read it."""

    shape: Shape
    model: str = ""
    stream: bool = False
    """Whether the client wants a stream of events."""
    tools: Sequence[str] = ()
    """Names of the tools that the model is offered."""
    session: str = ""
    """Which session it belongs to; empty: it begins one, or there are none."""
    calls: Sequence[Call] = ()
    """Tools that are called by this very request (MCP)."""
    body: object = None
    """The parsed body, for the steward's own use; a large one is gone once it was sent on."""
    kept: object = None
    """What the steward needs to the end, for `refusal` and `ending`: little."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Headers
    """Without length, date and connection: the wire adds those."""
    body: bytes = b""


class Filter(Protocol):
    """Turns the body of an answer into another; bounded in what it keeps back."""

    def head(self, status: int, headers: Headers) -> None:
        """Hear the head of the upstream's answer, first of all; its 1xx are not told."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's body, give those that the client gets now; never raises."""
        ...

    def end(self) -> bytes:
        """The upstream's body is complete: give what is left."""
        ...

    def reply(self) -> Reply | None:
        """Give the whole answer, if it is made at the end and nothing was given before."""
        ...


class Tap(Protocol):
    """Looks at the body of an answer as it passes. Costs little, keeps little, raises nothing."""

    def head(self, status: int) -> None:
        """The head of the answer came, once, before any of its body."""
        ...

    def data(self, chunk: bytes) -> None:
        """Some bytes of the body, as they came."""
        ...

    def end(self, how: str) -> None:
        """It ended: `complete`, `stopped`, `client`, `upstream`, `timeout`."""
        ...


class How(StrEnum):
    """How a request ended."""

    COMPLETE = "complete"
    """The whole answer was handed on."""
    REFUSED = "refused"
    """It was not sent on: by us, or since the upstream could not be reached."""
    STOPPED = "stopped"
    """The target was stopped meanwhile."""
    CLIENT = "client"
    """The client went away."""
    UPSTREAM = "upstream"
    """The upstream broke off."""
    TIMEOUT = "timeout"


class Follower(Protocol):
    """Hears what becomes of one request; returns at once and raises nothing."""

    def sent(self) -> None:
        """It is handed to the upstream's socket from here on, so it may take effect.

        Called right before the first byte is; again where it is sent once more.
        """
        ...

    def ended(self, how: How) -> None:
        """It is over, and nothing more of it will be passed: the last that is said, once."""
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """It goes on as it came."""

    filter: Filter | None = None
    follow: Follower | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """It goes on with another body."""

    body: bytes
    filter: Filter | None = None
    headers: Headers = ()
    """Headers that take the place of those of the same name, or are added."""
    follow: Follower | None = None


Verdict = Pass | Rewritten | Reply


class Later:
    """A verdict that is not there yet, since somebody is asked; the client waits.

    The wire waits by `then`, and asks nothing of time: whoever made it settles it in time, if need
    be by a refusal. When it comes the word of the target is tested once more. Where the client goes
    away, or the target is stopped, the wire says `drop` instead and forgets it.
    """

    __slots__ = ("_dropped", "_over", "_told", "_verdict")

    def __init__(self, dropped: Callable[[How], None]) -> None:
        """Call `dropped` where nobody waits for it any more."""
        self._dropped = dropped
        self._told: Callable[[Verdict], None] | None = None
        self._verdict: Verdict | None = None
        self._over = False

    def then(self, told: Callable[[Verdict], None]) -> None:
        """Have the verdict told once, from the worker's loop; at once if it is there."""
        self._told = told
        self._tell()

    def settle(self, verdict: Verdict) -> bool:
        """Give the verdict; the first counts. False: nobody waits any more."""
        if self._over or self._verdict is not None:
            return False
        self._verdict = verdict
        self._tell()
        return True

    def drop(self, how: How) -> None:
        """Nobody waits any more; said twice, or after the verdict was told, it does nothing."""
        if not self._over:
            self._over = True
            self._dropped(how)

    def _tell(self) -> None:
        if self._told is not None and self._verdict is not None and not self._over:
            self._over = True
            self._told(self._verdict)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held back for a target just now, though the target itself may go on."""

    level: Level | None = None
    """`RESTRICT`, or None; from *drain* on only what `Steward.passes` lets through comes here."""
    steps: frozenset[Step] = frozenset()
    """Which of the route's steps are held, by stops of their own or by *restrict*."""


class Malformed(Exception):
    """The body is not what its API allows; the text says where."""


class Steward(Protocol):
    """Knows one family of APIs. Nothing waits, nothing is kept between requests."""

    def passes(self, head: Head, level: Level) -> bool:
        """Tell whether it may be read and admitted though its target is held at *drain* or more.

        Only what ends something, or lets end what is in flight; `admit` then says of all of it.
        """
        ...

    def read(self, head: Head, body: bytes) -> Asked:
        """Say what is asked; `Malformed` where that cannot be told."""
        ...

    def admit(
        self, asked: Asked, head: Head, body: bytes, route: Route, held: Held
    ) -> Verdict | Later:
        """Say how it goes on, by what the route declares and what is held just now."""
        ...

    def refusal(self, asked: Asked | None, why: Why) -> Reply:
        """Word a refusal in the API's own shape; `asked` is None where it was not read."""
        ...

    def ending(self, asked: Asked, why: Why) -> bytes:
        """Give the last bytes of a stream of events that is ended at the end of an event."""
        ...
