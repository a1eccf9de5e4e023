"""Requests of model APIs as a client sends them, and a route that they come by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from offswitch.gateway.exchange import Asked, Head, Held, Reply, Rewritten, Steward, Verdict
from offswitch.gateway.plan.route import Route, Step
from offswitch.gateway.plan.upstream import Upstream
from offswitch.model.level import Level

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
GOES_ON = [*HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "on"}]


def head(path: str = CHAT, method: str = "POST", **headers: str) -> Head:
    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Head(method.encode(), path.encode(), [(b"content-type", b"application/json"), *named])


def body(**said: object) -> bytes:
    return json.dumps({"model": "m-7", **said}).encode()


def route(**declared: Any) -> Route:  # noqa: ANN401 - whatever a route declares
    return Route("shop/checkout", Upstream("127.0.0.1", 1), ask="the duty desk", **declared)


def held(*steps: Step, level: Level | None = None) -> Held:
    return Held(level, frozenset(steps))


def tool(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def flat(name: str) -> dict[str, object]:
    return {"type": "function", "name": name, "parameters": {"type": "object"}}


def read(steward: Steward, said: bytes, path: str = CHAT) -> Asked:
    return steward.read(head(path), said)


def admitted(steward: Steward, by: Route, said: bytes, *steps: Step, path: str = CHAT) -> Verdict:
    verdict = steward.admit(read(steward, said, path), head(path), said, by, held(*steps))
    assert isinstance(verdict, Verdict)
    return verdict


def sent_on(verdict: Verdict) -> dict[str, Any]:
    assert isinstance(verdict, Rewritten), verdict
    return dict(json.loads(verdict.body))


def told(reply: object) -> dict[str, Any]:
    assert isinstance(reply, Reply), reply
    return dict(json.loads(reply.body))


def headers_of(reply: Reply) -> Mapping[bytes, bytes]:
    return dict(reply.headers)
