"""The steward of what speaks no API that we know: passed or refused whole.

Nothing is read, so nothing can be taken out: while anything is held back, only what begins nothing
passes. A refusal is problem details (RFC 9457); a stream has no ending that we could know, so the
connection is broken off, which no client takes for the end.
"""

from __future__ import annotations

from offswitch.gateway.api import strict, wording
from offswitch.gateway.api.measures import weigh
from offswitch.gateway.api.verdicts import by_declaration
from offswitch.gateway.exchange import Asked, Head, Held, Reply, Shape, Verdict, Why
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level

__all__ = ["Plain"]


class Plain:
    """Passes or refuses."""

    __slots__ = ()

    def passes(self, head: Head, level: Level) -> bool:  # noqa: ARG002 - the contract
        """Tell that nothing does: what ends something cannot be told."""
        return False

    def read(self, head: Head, body: bytes) -> Asked:  # noqa: ARG002 - the contract
        """Ask nothing."""
        return Asked(Shape.PLAIN)

    def admit(self, asked: Asked, head: Head, body: bytes, route: Route, held: Held) -> Verdict:
        """Say whether it goes on."""
        return weigh(self, by_declaration, asked, head, body, route, held)

    def refusal(self, asked: Asked | None, why: Why) -> Reply:  # noqa: ARG002 - the contract
        """Give problem details."""
        word = wording.word_of(why.cause)
        problem = {
            "type": "about:blank",
            "title": word.text,
            "status": word.status,
            "detail": wording.sentence(why),
            "code": word.code,
        }
        headers = wording.headers_of(why.cause, b"application/problem+json")
        return Reply(word.status, headers, strict.dump(problem))

    def ending(self, asked: Asked, why: Why) -> bytes:  # noqa: ARG002 - the contract
        """Give nothing: there is no ending that a client would know."""
        return b""
