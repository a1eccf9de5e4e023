"""Log records of OTLP: a line each, with its severity and its text as evidence.

The text is the target's, and is for people and for the miner of templates only: nothing in it is
obeyed. A record of an exception (`exception.message`) without a body is told by that.
"""

from __future__ import annotations

from typing import Any

from offswitch.watch.events import Events
from offswitch.watch.otlp.attributes import read_attributes, text_of
from offswitch.watch.otlp.wire import spell_id

__all__ = ["SEVERITIES", "read_records"]

SEVERITIES = ("unset", "trace", "debug", "info", "warn", "error", "fatal")
"""What the label `severity` may say: four numbers of the data model each."""
_A_SEVERITY = 4


def read_records(request: Any, events: Events) -> int:  # noqa: ANN401 - protobuf's
    """Keep each record of a request; gives how many there were."""
    count = 0
    for resource in request.resource_logs:
        service = read_attributes(resource.resource.attributes).get("service.name")
        name = text_of(service, 100) if service is not None else ""
        for scope in resource.scope_logs:
            for record in scope.log_records:
                count += 1
                detail = {"line": _text(record)}
                if name:
                    detail["service"] = name
                if record.trace_id:
                    detail["trace"] = spell_id(record.trace_id)
                events.add("lines", {"severity": _severity(record.severity_number)}, detail)
    return count


def _severity(number: int) -> str:
    return SEVERITIES[min((number + _A_SEVERITY - 1) // _A_SEVERITY, 6)] if number > 0 else "unset"


def _text(record: Any) -> str:  # noqa: ANN401 - protobuf's
    text = text_of(record.body)
    if not text:
        attributes = read_attributes(record.attributes)
        said = attributes.get("exception.message")
        text = text_of(said) if said is not None else record.event_name[:200]
    return text
