"""A route: which requests belong to which target, where they go, and what may be held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from offswitch.gateway.plan.upstream import Upstream

__all__ = ["Api", "Evidence", "EvidenceKind", "Fallback", "Route", "Step", "Tools"]


class Api(StrEnum):
    """Which family of APIs a route speaks."""

    AUTO = "auto"
    """By the path of each request."""
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    MCP = "mcp"
    PLAIN = "plain"


class Step(StrEnum):
    """What can be held back of a target while the rest goes on (DEC-6)."""

    WRITES = "writes"
    """Tools that change something; those that only read go on."""
    TOOLS = "tools"
    """All tools."""
    SESSIONS = "sessions"
    """New sessions; those that have begun go on."""
    MODEL = "model"
    """The model that is asked for: the fallback answers."""


_CONVERSATIONS = frozenset({b"x-conversation-id"})


class EvidenceKind(StrEnum):
    """How a server is asked whether it has really stopped."""

    NONE = "none"
    LLAMA_CPP = "llama.cpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    OLLAMA = "ollama"
    PROMETHEUS = "prometheus"

    @property
    def withheld(self) -> frozenset[bytes]:
        """Headers by which such a server would write on for a client that has gone (VER-6)."""
        return _CONVERSATIONS if self is EvidenceKind.LLAMA_CPP else frozenset()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where it is asked."""

    kind: EvidenceKind = EvidenceKind.NONE
    url: str = ""
    """Of the server, or for Prometheus of the metrics."""
    gauge: str = ""
    """For Prometheus: the series that counts requests in work."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who answers while the model is held back: one of the two."""

    model: str = ""
    """The name of a smaller model, at the same upstream."""
    answer: str = ""
    """A fixed text."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What is declared of tools, by name; `*` at the end of a name stands for anything."""

    allow: tuple[str, ...] = ("*",)
    writes: tuple[str, ...] = ("*",)
    """Those that change something. Unless declared, all do."""
    hold: tuple[str, ...] = ()
    """Those that wait for a person's leave each time."""
    within_s: float = 120.0
    """For how long they wait; silence is no."""
    people: int = 1
    """How many people's leave it takes."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route; the first that matches a request has it."""

    target: str
    upstream: Upstream
    path: bytes = b"/"
    """What its path begins with."""
    model: str = ""
    """The model that is asked for; `*` at the end stands for anything. Empty: any, or none."""
    key_sha256: str = ""
    """SHA-256, in hex, of the API key that the client shows. Empty: any, or none."""
    header: Mapping[bytes, bytes] = field(default_factory=dict)
    """Headers that must be there, names in lower case."""
    session: bytes = b""
    """The header that names a session, in lower case; empty: the API's own, where it has one."""
    api: Api = Api.AUTO
    reassemble: bool = True
    """Whether a stream is asked for upstream even where the client wants none: only a stream's
    end is noticed by every server."""
    restrict: frozenset[Step] = frozenset({Step.TOOLS, Step.SESSIONS})
    """What *restrict* holds back."""
    steps: frozenset[Step] = frozenset()
    """Which can also be held back one by one, by a stop of `TARGET/step`."""
    fallback: Fallback | None = None
    hold_tools: bool = False
    """Whether tool calls in streams are held until they are judged whole."""
    tools: Tools = Tools()
    evidence: Evidence = Evidence()
    ask: str = ""
    """Who may be asked about a stop: told to whoever is refused."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The target, and those of its steps."""
        return (self.target, *(f"{self.target}/{step}" for step in sorted(self.steps)))
