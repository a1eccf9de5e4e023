"""The steward of Anthropic's API: messages, and what stands around them.

    refusal   {"type": "error", "error": {"type", "message"}}, with the status of its cause
    ending    event: error, on which the official clients raise `APIStatusError` at once; it is
              followed by nothing, so no message that was cut looks complete

The API names no sessions: one is known by a header that the route declares, which the wire reads,
or by an assistant's turn in the messages, which shows that it has begun.
"""

from __future__ import annotations

from offswitch.gateway.api import paths, strict, wording
from offswitch.gateway.api.measures import weigh
from offswitch.gateway.api.offers import offered_names
from offswitch.gateway.api.verdicts import Judges, by_declaration
from offswitch.gateway.exchange import (
    Asked,
    Cause,
    Head,
    Held,
    Malformed,
    Reply,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level

__all__ = ["Anthropic"]

_KNOWN = frozenset(
    (
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    )
)
"""Names that we go by, and those that usually stand beside them."""
_TYPES = {
    Cause.NOT_ALLOWED: "permission_error",
    Cause.NO_ROUTE: "not_found_error",
    Cause.MALFORMED: "invalid_request_error",
    Cause.TOO_LARGE: "request_too_large",
    Cause.TIMED_OUT: "timeout_error",
}


class Anthropic:
    """Reads, weighs, refuses and ends what is asked of Anthropic's messages."""

    __slots__ = ("_judges",)

    def __init__(self, judges: Judges = by_declaration) -> None:
        """Have calls of tools judged by whom `judges` gives for a route."""
        self._judges = judges

    def passes(self, head: Head, level: Level) -> bool:  # noqa: ARG002 - the contract
        """Tell whether it only ends something: that is never refused."""
        return paths.cancels(head)

    def read(self, head: Head, body: bytes) -> Asked:
        """Say what is asked; a body that has two meanings is `Malformed`."""
        shape = paths.shape_of(head)
        if head.method != b"POST" or shape not in paths.READ:
            return Asked(shape)
        strict.plain_bytes(head)
        said = strict.names_of(strict.parse(body), _KNOWN, "the body")
        stream = said.get("stream")
        if stream is not None and type(stream) is not bool:
            raise Malformed("stream is neither true nor false")
        return Asked(
            shape,
            model=strict.name_of(said, "model"),
            stream=bool(stream),
            tools=offered_names(said),
            body=said,
        )

    def admit(self, asked: Asked, head: Head, body: bytes, route: Route, held: Held) -> Verdict:
        """Say how it goes on."""
        return weigh(self, self._judges, asked, head, body, route, held)

    def refusal(self, asked: Asked | None, why: Why) -> Reply:  # noqa: ARG002 - the contract
        """Give an error as the API words it."""
        word = wording.word_of(why.cause)
        return Reply(word.status, wording.headers_of(why.cause), strict.dump(_error(why)))

    def ending(self, asked: Asked, why: Why) -> bytes:  # noqa: ARG002 - the contract
        """Give an error event, after which an official client reads no further."""
        return b"event: error\ndata: " + strict.dump(_error(why)) + b"\n\n"


def _error(why: Why) -> dict[str, object]:
    error = {
        "type": _TYPES.get(why.cause, "api_error"),
        "message": wording.sentence(why),
        "code": wording.word_of(why.cause).code,
    }
    return {"type": "error", "error": error}
