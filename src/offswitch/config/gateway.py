"""The tables `[[gateway]]` and `[[gateway.route]]`: where requests come in, and where they go on.

A gateway may hold the credential of a server behind it. One that anybody in a network may reach,
and that asks nobody for a key of their own, would hand that credential's use to all: refused.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.section import Duration, Name, Section, TargetName, Text
from offswitch.config.size import Size

__all__ = [
    "Gateway",
    "GatewayEvidence",
    "GatewayFallback",
    "GatewayLimits",
    "GatewayRoute",
    "GatewayTls",
    "GatewayTools",
]

_MOST_PORT = 65535
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")

StepName = Literal["writes", "tools", "sessions", "model"]


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError('an address and a port, such as "127.0.0.1:8100"') from None
    if not colon or not port.isdigit() or not 0 <= int(port) <= _MOST_PORT:
        raise ValueError('an address and a port, such as "127.0.0.1:8100"')
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    try:
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username is not None:
        raise ValueError('such as "http://127.0.0.1:8000"; a credential stands in key_file')
    return value.rstrip("/")


def _headers(value: dict[str, str]) -> dict[str, str]:
    lower = {name.lower(): text for name, text in value.items()}
    for name, text in lower.items():
        if _HEADER.fullmatch(name) is None or not text.isprintable():
            raise ValueError(f"{name!r} is no header with a plain value")
    if len(lower) != len(value):
        raise ValueError("one header is named twice")
    return lower


def _header(value: str) -> str:
    if _HEADER.fullmatch(value.lower()) is None:
        raise ValueError('the name of a header, such as "x-session"')
    return value.lower()


def _path(value: str) -> str:
    if not value.startswith("/") or not value.isascii() or set(value) & set(" ?#%\\"):
        raise ValueError('what a path begins with, such as "/v1/"')
    return value


Url = Annotated[str, AfterValidator(_url)]
ToolNames = list[Annotated[str, Field(pattern=r"^[^\s*]{0,200}\*?$", min_length=1)]]


class GatewayTls(Section):
    """The certificate that clients are shown."""

    certificate: Text
    """File of the chain, PEM."""
    key: Text
    """File of its key, PEM, for its owner's eyes only."""


class GatewayLimits(Section):
    """What a client may take up."""

    head: Size = 64 << 10
    """Of a request's head."""
    body: Size = 32 << 20
    """Of a request's body, where it must be read whole."""
    header_time: Duration = 10_000_000
    """For a head to be complete."""
    body_time: Duration = 60_000_000
    """For the next bytes of a body."""
    idle: Duration = 300_000_000
    """For the next bytes of an answer, and the next request on a connection."""
    connect: Duration = 5_000_000
    """For a connection to the server behind."""
    connections: Annotated[int, Field(ge=1, le=65_536)] = 4096
    """Of clients, for each worker."""


class GatewayEvidence(Section):
    """How the server behind is asked whether it has really stopped."""

    kind: Literal["none", "llama.cpp", "vllm", "sglang", "ollama", "prometheus"]
    url: Url | None = None
    """Of the server, or of the metrics; the upstream's unless given."""
    gauge: Text | None = None
    """For `prometheus`: the series that counts requests in work."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "prometheus") != (self.gauge is not None):
            raise ValueError("kind prometheus, and no other, names its gauge")
        return self


class GatewayFallback(Section):
    """Who answers while the model is held back."""

    model: Text | None = None
    """The name of a smaller one, at the same server."""
    answer: Text | None = None
    """A fixed text."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.model is None) == (self.answer is None):
            raise ValueError("a fallback is a model or an answer, one of the two")
        return self


class GatewayTools(Section):
    """What is declared of tools; `*` at the end of a name stands for anything."""

    allow: ToolNames = Field(default_factory=lambda: ["*"])
    """What may be called at all."""
    writes: ToolNames = Field(default_factory=lambda: ["*"])
    """What changes something; unless declared, everything does."""
    hold: ToolNames = Field(default_factory=list)
    """What waits for a person's leave, each time."""
    within: Annotated[Duration, Field(le=3_600_000_000)] = 120_000_000
    """For how long it waits; silence is no. Clients wait for a while only: many, one minute."""
    people: Annotated[int, Field(ge=1, le=4)] = 1
    """How many people it takes."""


class GatewayRoute(Section):
    """Which requests belong to which target; the first route that fits has a request."""

    target: TargetName
    path: Annotated[str, AfterValidator(_path)] = "/"
    """What its path begins with."""
    model: Text | None = None
    """The model that is asked for; `*` at its end stands for anything."""
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256, in hex, of the API key that the client shows."""
    header: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    """Headers that must be there, with these values."""
    session: Annotated[str, AfterValidator(_header)] | None = None
    """The header that names a session; the API's own way unless given."""
    upstream: Url | None = None
    """The server behind; the gateway's unless given."""
    key_file: Text | None = None
    """File with the credential for it; the gateway's unless given."""
    api: Literal["auto", "openai", "anthropic", "mcp", "plain"] = "auto"
    """What is spoken; by the path unless given."""
    reassemble: bool = True
    """Ask for a stream even where the client wants none: only a stream's end is always noticed."""
    restrict: list[StepName] = Field(default_factory=lambda: list[StepName](["tools", "sessions"]))
    """What a stop at level restrict holds back."""
    steps: list[StepName] = Field(default_factory=list)
    """What can be held back by itself, by a stop of TARGET/STEP."""
    fallback: GatewayFallback | None = None
    """Who answers while the model is held back; nobody unless given."""
    hold_tools: bool = False
    """Hold tool calls in streams until they are whole and were judged."""
    tools: GatewayTools = GatewayTools()
    evidence: GatewayEvidence | None = None
    """How the server is asked whether it has stopped; it is not unless given."""
    ask: Text | None = None
    """Who may be asked about a stop: told to whoever is refused."""


class Gateway(Section):
    """One gateway."""

    name: Name
    listen: Annotated[list[Annotated[str, AfterValidator(_address)]], Field(min_length=1)]
    """Addresses and ports; port 0 takes a free one."""
    upstream: Url | None = None
    """The server behind, for routes that name none."""
    key_file: Text | None = None
    """File with the credential for it, for its owner's eyes only: it lives here alone."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the work."""
    tls: GatewayTls | None = None
    """Towards clients; none unless given."""
    ca_file: Text | None = None
    """Whose certificates servers behind may show; the system's unless given."""
    limits: GatewayLimits = GatewayLimits()
    route: Annotated[list[GatewayRoute], Field(min_length=1)]

    @model_validator(mode="after")
    def _leads_on(self) -> Self:
        for route in self.route:
            if route.upstream is None and self.upstream is None:
                raise ValueError(f"the route of {route.target} names no upstream, nor does this")
            if route.upstream is None and route.key_file is None and self.key_file is None:
                continue
            keyed = route.key_file or (self.key_file if route.upstream is None else None)
            if keyed and route.key_sha256 is None and not self._near:
                raise ValueError(
                    f"beyond this machine the route of {route.target} would lend its credential"
                    " to anybody: give it key_sha256"
                )
        return self

    @property
    def _near(self) -> bool:
        hosts = [each.rpartition(":")[0].strip("[]") for each in self.listen]
        return all(ipaddress.ip_address(host).is_loopback for host in hosts)
