"""Traces of OTLP as counts: model calls, tokens, tool calls, errors (`otlp.genai` says of what)."""

from __future__ import annotations

import math
from typing import Any

from offswitch.watch.events import Events
from offswitch.watch.otlp.attributes import read_attributes, text_of
from offswitch.watch.otlp.genai import Saying, read_span
from offswitch.watch.otlp.wire import spell_id
from offswitch.watch.tally import Tally

__all__ = ["read_spans"]

_ARGUMENTS = "gen_ai.tool.call.arguments"
_LONGEST_ARGUMENTS = 1000


def read_spans(request: Any, tally: Tally, events: Events) -> None:  # noqa: ANN401 - protobuf's
    """Count what the spans of a request say."""
    for resource in request.resource_spans:
        service = read_attributes(resource.resource.attributes).get("service.name")
        name = text_of(service, 100) if service is not None else ""
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = read_attributes(span.attributes)
                saying = read_span(span, attributes)
                _count(saying, tally)
                if saying.tool:
                    detail = {"tool": saying.tool, "trace": spell_id(span.trace_id)}
                    given = attributes.get(_ARGUMENTS)
                    args = "" if given is None else text_of(given, _LONGEST_ARGUMENTS)
                    more = {"call": saying.call, "service": name, "error": saying.error}
                    more["args"] = args
                    detail.update({key: text for key, text in more.items() if text})
                    events.add("tool_calls", {}, detail)
                elif saying.model and not math.isnan(saying.seconds):
                    events.add("model_seconds", {}, {"model": saying.model}, saying.seconds)


def _count(saying: Saying, tally: Tally) -> None:
    tally.count(("spans", ()), 1.0)
    if saying.operation != "other":
        tally.count(("spans", (("operation", saying.operation),)), 1.0)
    if saying.error:
        tally.count(("errors", ()), 1.0)
        tally.count(("errors", (("type", saying.error),)), 1.0)
    if saying.tool:
        tally.count(("tool_calls", (("tool", saying.tool),)), 1.0)
    for direction, tokens in (("input", saying.tokens_in), ("output", saying.tokens_out)):
        if tokens:
            said = ("direction", direction)
            tally.count(("tokens", (said,)), tokens)
            if saying.model:
                tally.count(("tokens", (said, ("model", saying.model))), tokens)
    for reason in saying.finish:
        tally.count(("finished", (("reason", reason),)), 1.0)
