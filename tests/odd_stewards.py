"""Stewards that do one odd thing each, for what the wire has to do with a verdict."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

from bare_steward import Bare
from offswitch.gateway.exchange import (
    Asked,
    Head,
    Headers,
    Held,
    How,
    Later,
    Pass,
    Reply,
    Rewritten,
    Verdict,
)
from offswitch.gateway.plan.route import Api, Route
from offswitch.gateway.stewards import Stewards


@dataclass
class Shout:
    """Makes the body of an answer loud."""

    status: int = 0

    def head(self, status: int, headers: Headers) -> None:
        self.status = status

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def end(self) -> bytes:
        return b"" if self.status != 200 else b"data: !\n\n"

    def reply(self) -> Reply | None:
        return None


@dataclass
class Gather:
    """Makes one whole answer of what comes."""

    got: list[bytes] = field(default_factory=list)

    def head(self, status: int, headers: Headers) -> None:
        pass

    def feed(self, data: bytes) -> bytes:
        self.got.append(data)
        return b""

    def end(self) -> bytes:
        return b""

    def reply(self) -> Reply | None:
        return Reply(201, ((b"content-type", b"text/plain"),), b"".join(self.got))


class Told:
    """Writes down what became of a request, where the test can read it."""

    def sent(self) -> None:
        sys.stdout.write("sent\n")
        sys.stdout.flush()

    def ended(self, how: How) -> None:
        sys.stdout.write(f"{how}\n")
        sys.stdout.flush()


class Odd(Bare):
    """Does as the query says."""

    def admit(  # noqa: PLR0911 - one a query
        self, asked: Asked, head: Head, body: bytes, route: Route, held: Held
    ) -> Verdict | Later:
        match head.target.partition(b"?")[2]:
            case b"shout":
                return Pass(filter=Shout())
            case b"gather":
                return Pass(filter=Gather())
            case b"other":
                return Rewritten(b'{"other": 1}', headers=((b"x-new", b"1"),))
            case b"no":
                return Reply(418, ((b"x-why", b"no"),), b"tea")
            case b"told":
                return Pass(follow=Told())
            case b"held":
                steps = ",".join(sorted(held.steps))
                return Reply(200, (), f"{held.level} {steps}".encode())
            case b"late":
                later = Later(lambda how: Told().ended(how))
                asyncio.get_running_loop().call_later(0.05, later.settle, Pass(follow=Told()))
                return later
            case b"never":
                return Later(lambda how: Told().ended(how))
        return Pass()


def odd_stewards() -> Stewards:
    odd = Odd()
    return Stewards({Api.OPENAI: odd, Api.ANTHROPIC: odd, Api.PLAIN: odd})
