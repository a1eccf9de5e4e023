"""From the configuration to fronts; credentials are read here, while there are rights to."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from offswitch.config.declared import Config
from offswitch.config.gateway import Gateway, GatewayLimits, GatewayRoute, GatewayTools
from offswitch.config.secret_file import read_secret
from offswitch.errors import BadConfig
from offswitch.gateway.plan.front import Front, Limits, Listen
from offswitch.gateway.plan.route import (
    Api,
    Evidence,
    EvidenceKind,
    Fallback,
    Route,
    Step,
    Tools,
)
from offswitch.gateway.plan.upstream import Upstream

__all__ = ["front_of", "fronts", "listen_of", "upstream_of"]

_HTTP, _HTTPS = 80, 443


def fronts(config: Config, home: str) -> tuple[Front, ...]:
    """Give every `[[gateway]]` as a front; paths of files count from `home`."""
    return tuple(front_of(section, home) for section in config.gateway)


def listen_of(text: str) -> Listen:
    """Read `127.0.0.1:8100` or `[::1]:8100`, checked before."""
    host, _, port = text.rpartition(":")
    return Listen(host.strip("[]"), int(port))


def upstream_of(url: str, key: bytes = b"") -> Upstream:
    """Read a URL, checked before."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (_HTTPS if tls else _HTTP)
    return Upstream(parts.hostname or "", port, tls, parts.path.rstrip("/").encode(), key)


def front_of(section: Gateway, home: str) -> Front:
    """Give one `[[gateway]]` as a front."""
    tls = section.tls
    return Front(
        name=section.name,
        listen=tuple(listen_of(text) for text in section.listen),
        routes=tuple(_route(section, route, home) for route in section.route),
        limits=_limits(section.limits),
        workers=section.workers,
        certificate=_file(home, tls.certificate) if tls else "",
        private_key=_file(home, tls.key) if tls else "",
        ca_file=_file(home, section.ca_file) if section.ca_file else "",
    )


def _file(home: str, path: str) -> str:
    return os.path.join(home, path)


def _limits(section: GatewayLimits) -> Limits:
    return Limits(
        head=section.head,
        body=section.body,
        header_s=section.header_time / 1e6,
        body_s=section.body_time / 1e6,
        idle_s=section.idle / 1e6,
        connect_s=section.connect / 1e6,
        connections=section.connections,
    )


def _route(section: Gateway, route: GatewayRoute, home: str) -> Route:
    url = route.upstream or section.upstream or ""
    named = route.key_file or (section.key_file if route.upstream is None else None)
    evidence, fallback = route.evidence, route.fallback
    return Route(
        target=route.target,
        upstream=upstream_of(url, _key(home, named)),
        path=route.path.encode(),
        model=route.model or "",
        key_sha256=route.key_sha256 or "",
        header={name.encode(): text.encode() for name, text in route.header.items()},
        session=(route.session or "").encode(),
        api=Api(route.api),
        reassemble=route.reassemble,
        restrict=frozenset(Step(step) for step in route.restrict),
        steps=frozenset(Step(step) for step in route.steps),
        fallback=Fallback(fallback.model or "", fallback.answer or "") if fallback else None,
        hold_tools=route.hold_tools,
        tools=_tools(route.tools),
        evidence=Evidence(EvidenceKind(evidence.kind), evidence.url or url, evidence.gauge or "")
        if evidence
        else Evidence(),
        ask=route.ask or "",
    )


def _tools(section: GatewayTools) -> Tools:
    return Tools(
        tuple(section.allow),
        tuple(section.writes),
        tuple(section.hold),
        section.within / 1e6,
        section.people,
    )


def _key(home: str, named: str | None) -> bytes:
    """Read a credential: one line that can stand in a header."""
    if named is None:
        return b""
    path = _file(home, named)
    text = read_secret(path)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadConfig(f"{path}: this is no API key", "write the key there and nothing else")
    return text.encode()
