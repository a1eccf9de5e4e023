"""A steward of no API in particular: what the wire needs, and no more."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from offswitch.gateway.exchange import (
    Asked,
    Cause,
    Head,
    Held,
    Malformed,
    Pass,
    Reply,
    Shape,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import Api, Route
from offswitch.gateway.stewards import Stewards
from offswitch.model.level import Level

STATUS = {
    Cause.NO_ROUTE: 404,
    Cause.MALFORMED: 400,
    Cause.TOO_LARGE: 413,
    Cause.UPSTREAM: 502,
    Cause.TIMED_OUT: 504,
}


@dataclass
class Bare:
    """Reads `model` and `stream` of a JSON body; ends streams by one event."""

    reads: bool = True

    def passes(self, head: Head, level: Level) -> bool:
        return head.method == b"DELETE"

    def read(self, head: Head, body: bytes) -> Asked:
        if not (self.reads and body):
            return Asked(Shape.PLAIN)
        try:
            said = json.loads(body)
        except ValueError:
            raise Malformed("the body is not JSON") from None
        return Asked(Shape.CHAT, said.get("model", ""), bool(said.get("stream")), body=said)

    def admit(self, asked: Asked, head: Head, body: bytes, route: Route, held: Held) -> Verdict:
        return Pass()

    def refusal(self, asked: Asked | None, why: Why) -> Reply:
        said = {"error": {"cause": why.cause, "target": why.target, "level": why.level}}
        kind = ((b"content-type", b"application/json"), (b"x-should-retry", b"false"))
        return Reply(STATUS.get(why.cause, 503), kind, json.dumps(said).encode())

    def ending(self, asked: Asked, why: Why) -> bytes:
        return b"" if not self.reads else b'data: {"error": "%b"}\n\n' % why.cause.encode()


@dataclass
class Bares:
    """All of them bare."""

    by_api: dict[Api, Bare] = field(default_factory=dict)


def bare_stewards() -> Stewards:
    return Stewards({Api.OPENAI: Bare(), Api.ANTHROPIC: Bare(), Api.PLAIN: Bare(reads=False)})
