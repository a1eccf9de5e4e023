"""OTLP over HTTP: which message a request holds, and how it is answered.

    /v1/metrics  /v1/logs  /v1/traces      application/x-protobuf, application/json

The specification's "OTLP/HTTP Response": full success is an empty response of 200, a partial one
says how much was rejected and why, a refusal is a `google.rpc.Status` in the encoding of the
request; 429 and 503 may be tried again, with a hint when, and nothing else is.

JSON spells ids in hex where protobuf's own mapping has base64. Read by that mapping they become
other bytes, from which the hex can be had again (`spell_id`); we show ids and never look one up.
"""

from __future__ import annotations

import base64
import importlib
import json
from typing import Any

from offswitch.watch.http.exchange import Answer, Head, Request

__all__ = [
    "MODULES",
    "PATHS",
    "Garbled",
    "accepted",
    "explain",
    "kind_of",
    "read",
    "spell_id",
    "warm",
]

PATHS = frozenset({"/v1/metrics", "/v1/logs", "/v1/traces"})
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_PROTO = "opentelemetry.proto.collector"
MODULES = (
    f"{_PROTO}.metrics.v1.metrics_service_pb2",
    f"{_PROTO}.logs.v1.logs_service_pb2",
    f"{_PROTO}.trace.v1.trace_service_pb2",
    "google.protobuf.json_format",
    "h11",
)
"""What is imported to listen."""
_MOST_JSON = 2 << 20
"""Bytes of a JSON body: it is read twenty times as slowly as protobuf."""
_ID_BYTES = (8, 16)
_RETRY_S = "1"
_WHY = {"metrics": "data_points", "logs": "log_records", "traces": "spans"}


class Garbled(Exception):
    """The body is not what its type says."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def kind_of(head: Head) -> str:
    """Give the last part of the path: `metrics`, `logs` or `traces`."""
    return head.path.rpartition("/")[2]


def read(request: Request) -> Any:  # noqa: ANN401 - one of three messages of protobuf's
    """Give the request's message; raises `Garbled`."""
    message = _services()[kind_of(request.head)][0]()
    match request.head.kind:
        case "application/x-protobuf" | "application/protobuf":
            try:
                message.ParseFromString(request.body)
            except (_module("message").DecodeError, RecursionError, ValueError):
                raise Garbled(400, "this is no protobuf of that message") from None
        case "application/json":
            if len(request.body) > _MOST_JSON:
                raise Garbled(413, f"more than {_MOST_JSON} bytes of JSON: send protobuf")
            json_format = _module("json_format")
            try:
                json_format.Parse(request.body, message, ignore_unknown_fields=True)
            except (json_format.Error, RecursionError, ValueError, TypeError, AttributeError):
                raise Garbled(400, "this is no JSON of that message") from None
        case _:
            raise Garbled(415, f"send {_PROTOBUF} or {_JSON}")
    return message


def warm() -> None:
    """Read and answer once for each kind, so that the first sender waits for nothing."""
    for path in PATHS:
        head = Head("POST", path, {"content-type": _PROTOBUF})
        read(Request(head, b"", b""))
        accepted(head, 0, "")


def accepted(head: Head, rejected: int, why: str) -> Answer:
    """Answer that it was taken, `rejected` items of it not."""
    response = _services()[kind_of(head)][1]()
    if rejected:
        setattr(response.partial_success, f"rejected_{_WHY[kind_of(head)]}", rejected)
        response.partial_success.error_message = why
    if head.kind != _JSON:
        return Answer(200, response.SerializeToString(), _PROTOBUF)
    spelt: str = _module("json_format").MessageToJson(response, indent=None)
    return Answer(200, spelt.encode(), _JSON)


def explain(head: Head | None, status: int, why: str) -> Answer:
    """Word a refusal as a `google.rpc.Status`, in the encoding of the request."""
    headers = {"retry-after": _RETRY_S} if status in {429, 503} else {}
    code = {400: 3, 401: 16, 404: 5, 413: 3, 429: 8, 503: 14}.get(status, 2)
    if head is not None and head.kind == _JSON:
        body = json.dumps({"code": code, "message": why}).encode()
        return Answer(status, body, _JSON, headers)
    text = why.encode()[:120]
    # google.rpc.Status: field 1 is the code (a varint), field 2 the message (its length first).
    return Answer(status, bytes((8, code, 18, len(text))) + text, _PROTOBUF, headers)


def spell_id(raw: bytes) -> str:
    """Give a trace's or span's id in hex, from whichever encoding it came."""
    return raw.hex() if len(raw) in _ID_BYTES else base64.b64encode(raw).decode()[:32]


def _module(name: str) -> Any:  # noqa: ANN401 - a module without types
    return importlib.import_module(f"google.protobuf.{name}")


def _services() -> dict[str, tuple[Any, Any]]:
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs  # noqa: PLC0415
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace  # noqa: PLC0415

    return {
        "metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
        "logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
        "traces": (trace.ExportTraceServiceRequest, trace.ExportTraceServiceResponse),
    }
