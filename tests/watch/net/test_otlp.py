"""What the real OpenTelemetry SDK exports is read, and what is no such thing harms nobody."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer

from installation import until
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts
from offswitch.watch.sensors.otlp import OtlpSection
from watch.net.speaking import TOKEN, Spoken, asked, free_port, post, spoken

KEYS = {"kind": "otlp", "tools": ["transfer"]}
RESOURCE = Resource.create({"service.name": "shop"})
AUTH = {"authorization": f"Bearer {TOKEN}"}
PROTOBUF, JSON = "application/x-protobuf", "application/json"


class TestOtlpSuite(SensorSuite):
    kind = "otlp"

    @pytest.fixture(autouse=True)
    def _held(self) -> Iterator[None]:
        self.port = free_port()
        self.blocker = socket.create_server(("127.0.0.1", self.port))
        yield
        self.blocker.close()

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"listen": f"127.0.0.1:{self.port}", "token_file": "/t"}

    def source(self, folder: str) -> CellFacts | None:
        self.blocker.close()
        return None

    def stir(self, folder: str) -> None:
        # In a process of its own: the sensor is served by ours.
        child = multiprocessing.get_context("fork").Process(
            target=post, args=(self.port, "/v1/traces", b"", {**AUTH, "content-type": PROTOBUF})
        )
        child.start()
        child.join(0.05)
        child.kill()
        child.join()
        child.close()


@contextmanager
def tracing(port: int, compression: Compression = Compression.Gzip) -> Iterator[Tracer]:
    """Give a tracer of the SDK that exports each span at its end."""
    exporter = OTLPSpanExporter(
        f"http://127.0.0.1:{port}/v1/traces", headers=AUTH, compression=compression
    )
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("agent")
    provider.shutdown()


def test_MON_1_an_agents_spans_are_model_calls_tokens_and_tool_calls() -> None:
    with spoken(KEYS) as eye, tracing(eye.port) as tracer:
        with tracer.start_as_current_span("invoke_agent shop") as agent:
            agent.set_attribute("gen_ai.operation.name", "invoke_agent")
            agent.set_attribute("gen_ai.usage.output_tokens", 32)
            with tracer.start_as_current_span("chat m-7") as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                span.set_attribute("gen_ai.request.model", "m-7")
                span.set_attribute("gen_ai.usage.input_tokens", 10)
                span.set_attribute("gen_ai.usage.output_tokens", 32)
                span.set_attribute("gen_ai.response.finish_reasons", ["tool_calls"])
            with tracer.start_as_current_span("execute_tool transfer") as tool:
                tool.set_attribute("gen_ai.operation.name", "execute_tool")
                tool.set_attribute("gen_ai.tool.name", "transfer")
                tool.set_attribute("gen_ai.tool.call.id", "call-1")
                tool.set_status(Status(StatusCode.ERROR))
        sums = until(lambda: eye.sums() if eye.sums().get("spans") == 3 else None, "it is seen")
        assert sums["tokens{direction=output}"] == 32, "an agent's span repeats its calls' tokens"
        assert sums["tokens{direction=input,model=m-7}"] == 10
        assert sums["tool_calls"] == sums["tool_calls{tool=transfer}"] == 1
        assert sums["finished{reason=tool_calls}"] == 1
        assert sums["errors"] == sums["errors{type=error}"] == 1
        assert sums["model_seconds"] > 0
        [call] = eye.details("tool_calls")
        assert call["tool"] == "transfer"
        assert call["call"] == "call-1"
        assert call["service"] == "shop"
        assert len(call["trace"]) == 32


def test_the_sdks_metrics_are_values_increases_and_quantiles() -> None:
    with spoken(KEYS) as eye:
        exporter = OTLPMetricExporter(
            f"http://127.0.0.1:{eye.port}/v1/metrics", headers=AUTH, compression=Compression.Gzip
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)
        provider = MeterProvider([reader], resource=RESOURCE)
        meter = provider.get_meter("m")
        counter = meter.create_counter("gen_ai.client.requests")
        histogram = meter.create_histogram("gen_ai.client.operation.duration")
        gauge = meter.create_gauge("queue-length")
        for amount in (5, 7):
            counter.add(amount, {"gen_ai.request.model": "m-7"})
            histogram.record(30.0)
            gauge.set(3)
            assert provider.force_flush()
        provider.shutdown()
        sums = eye.sums()
        labels = "{gen_ai.request.model=m-7,service.name=shop}"
        values = [s.value for s in eye.samples() if s.what == "gen_ai.client.requests"]
        assert values[:2] == [5, 12]
        assert sums[f"gen_ai.client.requests:new{labels}"] == 12
        assert sums["gen_ai.client.operation.duration_count:new{service.name=shop}"] == 2
        assert any(25 <= s.value <= 50 for s in eye.samples() if s.what.endswith(":p50"))
        assert sums["queue_length{service.name=shop}"] >= 6, "a dash is no letter of a name"


def test_the_sdks_log_records_are_lines_with_their_text() -> None:
    with spoken(KEYS) as eye:
        provider = LoggerProvider(resource=RESOURCE)
        exporter = OTLPLogExporter(f"http://127.0.0.1:{eye.port}/v1/logs", headers=AUTH)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        logger = provider.get_logger("agent")
        logger.emit(LogRecord(severity_number=SeverityNumber.ERROR2, body="no such order"))
        logger.emit(LogRecord(severity_number=SeverityNumber.INFO, body={"said": ["fine"]}))
        provider.shutdown()
        sums = until(
            lambda: eye.sums() if eye.sums().get("lines{severity=info}") else None, "it is seen"
        )
        assert sums["lines{severity=error}"] == 1
        plain, structure = [one["line"] for one in eye.details("lines")]
        assert plain == "no such order"
        assert "fine" in structure


def _span(name: str = "chat m", count: int = 1, **attributes: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(count):
        span = spans.add(name=name, trace_id=bytes(range(16)))
        for key, text in attributes.items():
            span.attributes.add(key=key.replace("__", ".")).value.string_value = text
    return request


def test_json_is_read_as_protobuf_is() -> None:
    body = json.dumps(
        {
            "resourceSpans": [
                {
                    "scopeSpans": [
                        {
                            "spans": [
                                {
                                    "name": "execute_tool transfer",
                                    "traceId": "5b8efff798038103d269b633813fc60c",
                                    "spanId": "eee19b7ec3c1b174",
                                    "attributes": [
                                        {
                                            "key": "gen_ai.tool.name",
                                            "value": {"stringValue": "transfer"},
                                        }
                                    ],
                                }
                            ]
                        }
                    ]
                }
            ]
        }
    ).encode()
    with spoken(KEYS) as eye:
        answer = asked(eye.port, "/v1/traces", body, {**AUTH, "content-type": JSON})
        assert answer.status == 200
        assert answer.kind == JSON
        assert json.loads(answer.body) == {}
        [call] = until(lambda: eye.details("tool_calls"), "it is seen")
        assert call == {"tool": "transfer", "trace": "5b8efff798038103d269b633813fc60c"}


def test_SR_6_the_target_comes_from_the_token_and_a_stranger_is_refused_and_counted() -> None:
    mine, other = {**KEYS, "_token_file": "mine"}, {**KEYS, "_token_file": "other"}
    body = _span("execute_tool transfer", target="shop/a1", service__name="s1").SerializeToString()
    with spoken(mine, other) as eye:
        headers = {"content-type": PROTOBUF}
        answer = asked(eye.port, "/v1/traces", body, {**headers, "authorization": "Bearer other"})
        assert answer.status == 200
        for odd in ({}, {"authorization": "Bearer guess"}, {"authorization": "Basic !"}):
            refusal = asked(eye.port, "/v1/traces", body, {**headers, **odd})
            assert refusal.status == 401
            assert refusal.body.startswith(b"\x08\x10\x12"), "a google.rpc.Status"
        until(lambda: eye.sums("s1").get("refused") == 3, "it is seen")
        assert eye.sums("s1")["tool_calls"] == 1
        assert eye.sums("s0")["tool_calls"] == 0
    assert OtlpSection.model_validate(_section()).hearsay, "whoever holds the token speaks"


def _section(**more: object) -> dict[str, Any]:
    keys = {"name": "o", "target": "a", "kind": "otlp", "listen": "127.0.0.1:4318"}
    return {**keys, "token_file": "/t", **more}


def test_a_million_made_up_names_are_one_series_more_and_hide_nothing() -> None:
    with spoken({**KEYS, "most_series": 20}) as eye:
        for batch in range(3):
            request = ExportTraceServiceRequest()
            spans = request.resource_spans.add().scope_spans.add().spans
            for number in range(1000):
                span = spans.add(name="execute_tool")
                name = span.attributes.add(key="gen_ai.tool.name").value
                name.string_value = f"tool-{batch}-{number}"
            post(
                eye.port,
                "/v1/traces",
                request.SerializeToString(),
                {**AUTH, "content-type": PROTOBUF},
            )
        sums = until(lambda: eye.sums() if eye.sums()["spans"] == 3000 else None, "it is seen")
        assert sums["tool_calls"] == 3000
        assert sums["tool_calls{tool=(other)}"] > 2900
        assert sums["dropped"] > 2900
        assert len([key for key in sums if key.startswith("tool_calls{")]) <= 22


def test_points_beyond_the_limit_are_rejected_as_the_specification_says() -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="g")
    for number in range(30):
        point = metric.gauge.data_points.add(as_double=float("nan") if number else float("inf"))
        point.attributes.add(key="n").value.int_value = number
    ours = request.resource_metrics[0].scope_metrics[0].metrics.add(name="tool_calls")
    ours.gauge.data_points.add(as_double=0)
    with spoken({**KEYS, "most_series": 20}) as eye:
        headers = {**AUTH, "content-type": PROTOBUF}
        answer = asked(eye.port, "/v1/metrics", request.SerializeToString(), headers)
        assert answer.status == 200
        said = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert said.rejected_data_points == 11
        assert said.error_message
        assert eye.sums()["tool_calls"] == 0, "no metric takes the name of what is counted here"


def test_a_counter_that_began_before_us_is_the_past_and_a_delta_is_new() -> None:
    def pushed(value: int, *, delta: bool = False) -> bytes:
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="t")
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = 1 if delta else 2
        metric.sum.data_points.add(as_int=value, start_time_unix_nano=1)
        return request.SerializeToString()

    with spoken(KEYS) as eye:
        headers = {**AUTH, "content-type": PROTOBUF}
        for body in (pushed(1000), pushed(1003), pushed(2), pushed(40, delta=True)):
            assert post(eye.port, "/v1/metrics", body, headers).startswith(b"HTTP/1.1 200")
        news = 0 + 3 + 2 + 40
        sums = until(lambda: eye.sums() if eye.sums().get("t:new") == news else None, "all is new")
        assert sums["gaps"] == 1, "it fell: it began anew"


HOSTILE = {
    "no protobuf": (b"\xff" * 50, PROTOBUF, {}, 400),
    "no JSON": (b"{", JSON, {}, 400),
    "JSON of another kind": (b"[1]", JSON, {}, 400),
    "JSON without an end": (b"[" * 100_000, JSON, {}, 400),
    "odd JSON": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": {}}]}]}]}',
        JSON,
        {},
        400,
    ),
    "long JSON": (b" " * (3 << 20), JSON, {}, 413),
    "another type": (b"x", "text/html", {}, 415),
    "another coding": (b"x", PROTOBUF, {"content-encoding": "zstd"}, 415),
    "a bomb": (gzip.compress(bytes(100 << 20)), PROTOBUF, {"content-encoding": "gzip"}, 413),
    "a broken archive": (b"\x1f\x8b\x08", PROTOBUF, {"content-encoding": "gzip"}, 400),
    "a cut archive": (gzip.compress(b"x" * 999)[:-9], PROTOBUF, {"content-encoding": "gzip"}, 400),
    "a giant": (b"", PROTOBUF, {"content-length": str(1 << 40)}, 413),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_is_no_otlp_is_refused_and_counted(how: str) -> None:
    body, kind, more, status = HOSTILE[how]
    with spoken(KEYS) as eye:
        answer = asked(eye.port, "/v1/traces", body, {**AUTH, "content-type": kind, **more})
        assert answer.status == status
        until(lambda: eye.sums().get("broken", 0) >= 1, "it is seen")
        assert asked(eye.port, "/v1/traces", b"", {**AUTH, "content-type": PROTOBUF}).status == 200


def test_what_must_come_and_does_not_is_a_failure_and_else_it_is_listening() -> None:
    with spoken(KEYS, {**KEYS, "_token_file": "b", "expect_every": "50ms"}) as eye:
        until(lambda: "has not come yet" in eye.glances["s1"][-1].problem, "it is seen")
        assert "nothing has come yet" in eye.glances["s0"][0].note
        headers = {"content-type": PROTOBUF, "authorization": "Bearer b"}
        post(eye.port, "/v1/traces", b"", headers)
        assert any(not glance.problem for glance in eye.glances["s1"])
        until(lambda: "has not come since" in eye.glances["s1"][-1].problem, "it is seen")
        assert not any(glance.problem for glance in eye.glances["s0"])


def test_an_address_that_is_taken_is_a_problem_that_is_told() -> None:
    first = Spoken(KEYS)
    try:
        second = Spoken({**KEYS, "listen": f"127.0.0.1:{first.port}"})
        assert "nobody can be heard" in second.glances["s0"][0].problem
        second.close()
    finally:
        first.close()


@pytest.mark.parametrize(
    ("series", "why"),
    [
        ("tool_calls", ""),
        ("vllm.some_metric:new", ""),
        ("tokens{direction=output}", ""),
        ("tokens", "direction"),
        ("tokens{direction=output,model=m-9}", "models"),
        ("tool_calls{tool=drop}", "tools"),
        ("lines{severity=loud}", "severity"),
        ("9", "reads no"),
    ],
)
def test_a_rule_may_rest_on_what_is_there_before_the_first_call(series: str, why: str) -> None:
    what, _, rest = series.rstrip("}").partition("{")
    labels = dict(pair.split("=") for pair in rest.split(",") if pair)
    problem = OtlpSection.model_validate(_section(tools=["transfer"])).problem(what, labels)
    assert (why in (problem or "")) == bool(why) or (problem is None and not why)
    assert (problem is None) == (not why)
