"""The steward of OpenAI's API, which vLLM, SGLang, llama.cpp, Ollama and many others speak too.

    read      model, stream, tools and session of chat/completions, completions, responses,
              embeddings; other paths of the API are told apart, and not read
    admit     `measures`: what the route declares, and what is held back just now
    refusal   {"error": {"message", "type", "param", "code"}}, with the status of its cause
    ending    data: {"error": …}, on which the official clients raise `APIError` at once; it is
              followed by nothing, so no answer that was cut looks complete

A session is what the API itself names: `conversation` or `previous_response_id` of a response, else
`prompt_cache_key`. A header that a route declares for it is read by the wire, which puts its value
in the place of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    Shape,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level

__all__ = ["OpenAi"]

_KNOWN = frozenset(
    (
        "conversation",
        "frequency_penalty",
        "function_call",
        "functions",
        "input",
        "instructions",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "web_search_options",
    )
)
"""Names that we go by, and those that usually stand beside them."""
_SERVER_ERROR = "server_error"
_TYPES = {
    Cause.NOT_ALLOWED: "permission_error",
    Cause.NO_ROUTE: "invalid_request_error",
    Cause.MALFORMED: "invalid_request_error",
    Cause.TOO_LARGE: "invalid_request_error",
}


def _session(said: Mapping[str, object]) -> str:
    conversation = said.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    for named in (conversation, said.get("previous_response_id"), said.get("prompt_cache_key")):
        if named is not None:
            return strict.text_of({"session": named}, "session")
    return ""


class OpenAi:
    """Reads, weighs, refuses and ends what is asked of an OpenAI-compatible server."""

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
            model = paths.model_in_query(head) if shape is Shape.REALTIME else ""
            return Asked(shape, model, stream=paths.asks_for_stream(head))
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
            session=_session(said),
            body=said,
        )

    def admit(self, asked: Asked, head: Head, body: bytes, route: Route, held: Held) -> Verdict:
        """Say how it goes on."""
        return weigh(self, self._judges, asked, head, body, route, held)

    def refusal(self, asked: Asked | None, why: Why) -> Reply:  # noqa: ARG002 - the contract
        """Give an error as the API words it."""
        body = strict.dump({"error": _error(why)})
        return Reply(wording.word_of(why.cause).status, wording.headers_of(why.cause), body)

    def ending(self, asked: Asked, why: Why) -> bytes:
        """Give an error event, after which an official client reads no further."""
        error = _error(why)
        if asked.shape is Shape.RESPONSES:
            event = {**error, "type": "error", "sequence_number": 0, "error": error}
            return b"event: error\ndata: " + strict.dump(event) + b"\n\n"
        return b"data: " + strict.dump({"error": error}) + b"\n\n"


def _error(why: Why) -> dict[str, object]:
    return {
        "message": wording.sentence(why),
        "type": _TYPES.get(why.cause, _SERVER_ERROR),
        "param": None,
        "code": wording.word_of(why.cause).code,
    }
