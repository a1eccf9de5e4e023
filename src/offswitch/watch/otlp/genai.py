"""The semantic conventions for generative AI: what a span says of a model or of a tool.

From opentelemetry.io/docs/specs/semconv/gen-ai, with the names that it had before and those of
two instrumentations that are as common (OpenInference's and OpenLLMetry's):

    gen_ai.operation.name      chat, generate_content, text_completion, embeddings: a model call
                               execute_tool: a tool call; invoke_agent, create_agent: an agent
    gen_ai.request.model, gen_ai.response.model
    gen_ai.usage.input_tokens, gen_ai.usage.output_tokens
    gen_ai.tool.name, gen_ai.tool.call.id
    gen_ai.response.finish_reasons
    error.type, and the span's status

Tokens are counted on model calls only: the span of an agent repeats the sum of its calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.watch.otlp.attributes import number_of, text_of

__all__ = ["OPERATIONS", "Saying", "read_span"]

_MODEL_CALLS = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_AGENTS = frozenset({"invoke_agent", "create_agent", "invoke_workflow"})
OPERATIONS = (*sorted(_MODEL_CALLS | _AGENTS), "execute_tool", "other")
"""What the label `operation` may say; a span of nothing of the kind is `other`."""

_MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_INPUT = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
)
_OUTPUT = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
_TOOL = ("gen_ai.tool.name", "tool.name", "traceloop.entity.name")
_KINDS = ("openinference.span.kind", "traceloop.span.kind", "llm.request.type")
_OPERATION_OF = {
    "llm": "chat",
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
    "tool": "execute_tool",
    "agent": "invoke_agent",
    "workflow": "invoke_agent",
}
_LONGEST = 100
_MOST_TOKENS = 1e9
_ERROR = 2
"""`STATUS_CODE_ERROR`."""


@dataclass(frozen=True, slots=True)
class Saying:
    """What a span says."""

    operation: str
    """One of `OPERATIONS`."""
    model: str
    tool: str
    """The tool's name; empty: it is no tool call."""
    call: str
    """The id of the tool call."""
    tokens_in: float
    tokens_out: float
    finish: tuple[str, ...]
    """Why the model ended, each in few characters."""
    error: str
    """Its type; empty: there was none."""
    seconds: float
    """How long it took; not a number: it does not say."""


def read_span(span: Any, attributes: Mapping[str, Any]) -> Saying:  # noqa: ANN401 - protobuf's
    """Read a span by the conventions."""
    operation = _operation(span, attributes)
    tool = call = ""
    tokens_in = tokens_out = 0.0
    finish: tuple[str, ...] = ()
    if operation == "execute_tool":
        tool = _first(attributes, _TOOL) or span.name[:_LONGEST].removeprefix("execute_tool")
        tool = tool.strip() or "(unnamed)"
        call = _first(attributes, ("gen_ai.tool.call.id",))
    elif operation not in _AGENTS:
        tokens_in, tokens_out = _tokens(attributes, _INPUT), _tokens(attributes, _OUTPUT)
        finish = _finish(attributes)
    error = _first(attributes, ("error.type",))
    if not error and span.status.code == _ERROR:
        error = "error"
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    return Saying(
        operation,
        "" if tool else _first(attributes, _MODEL),
        tool,
        call,
        tokens_in,
        tokens_out,
        finish,
        error,
        took if span.end_time_unix_nano and took >= 0 else math.nan,
    )


def _operation(span: Any, attributes: Mapping[str, Any]) -> str:  # noqa: ANN401 - protobuf's
    said = _first(attributes, ("gen_ai.operation.name",))
    if said in OPERATIONS:
        return said
    for key in _KINDS:
        known = _OPERATION_OF.get(_first(attributes, (key,)).lower())
        if known is not None:
            return known
    mcp = _first(attributes, ("mcp.method.name",)) == "tools/call"
    if mcp or "gen_ai.tool.name" in attributes or span.name.startswith("execute_tool "):
        return "execute_tool"
    return "other"


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = attributes.get(key)
        if value is not None and (text := text_of(value, _LONGEST)):
            return text
    return ""


def _tokens(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> float:
    for key in keys:
        number = number_of(attributes[key]) if key in attributes else None
        if number is not None and 0 <= number <= _MOST_TOKENS:
            return number
    return 0.0


def _finish(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    value = attributes.get("gen_ai.response.finish_reasons")
    if value is None:
        return ()
    if value.WhichOneof("value") != "array_value":
        return (text_of(value, 30),)
    return tuple(text_of(one, 30) for one in value.array_value.values[:4])
