"""Fuzzing what speaks HTTP to us: OTLP in both encodings, pages of metrics, others' alerts.

Each gives samples of bounded size or a refusal that names its reason; nothing else comes out.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fuzz.mutations import JSON, JUNK, broken, budget
from offswitch.clock import SystemClock
from offswitch.config.series import parse_series
from offswitch.model.reading import series
from offswitch.watch.http.exchange import Answer, Head, Request
from offswitch.watch.otlp.wire import PATHS
from offswitch.watch.scrape.exposition import NotText, Reader
from offswitch.watch.scrape.readings import Readings
from offswitch.watch.sensors.contract import Sample, SensorContext
from offswitch.watch.sensors.otlp import Otlp, OtlpSection

PAGE = b"""\
# HELP t help
# TYPE t counter
t_total{a="b",c="d\\"e"} 1 1700000000
# TYPE h histogram
h_bucket{le="0.5"} 1 # {trace_id="x"} 0.3
h_bucket{le="+Inf"} 2
h_sum 3
h_count 2
g NaN
{"q",a="b"} 7
# EOF
"""


def _traces() -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="execute_tool x")
    span.attributes.add(key="gen_ai.tool.name").value.string_value = "x"
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 5
    return request.SerializeToString()


def _metrics() -> bytes:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="g").gauge.data_points.add(as_double=1.5)
    metrics.add(name="s").sum.data_points.add(as_int=3)
    histogram = metrics.add(name="h").histogram
    histogram.data_points.add(count=3, sum=4, bucket_counts=[1, 2], explicit_bounds=[0.5])
    metrics.add(name="e").exponential_histogram.data_points.add(count=1)
    metrics.add(name="q").summary.data_points.add(count=1)
    return request.SerializeToString()


def _logs() -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(severity_number=17).body.string_value = "no such order"
    return request.SerializeToString()


@pytest.fixture(scope="module")
def otlp() -> Iterator[Otlp]:
    keys = {"name": "o", "target": "a", "kind": "otlp", "listen": "127.0.0.1:4318"}
    section = OtlpSection.model_validate({**keys, "token_file": "/t", "most_series": 50})
    one = Otlp(section, SensorContext(SystemClock(), {}))
    yield one
    one.close()


def push(otlp: Otlp, path: str, kind: str, body: bytes) -> Answer:
    """Push as if it had been let in; whatever was read is looked at."""
    answer = otlp._take(Request(Head("POST", path, {"content-type": kind}), body, body))
    bounded(otlp._gather(everything=True))
    return answer


def bounded(samples: list[Sample]) -> None:
    """Hold each sample to what a series may be."""
    for sample in samples:
        assert len(sample.labels) <= 16
        assert all(len(text) <= 300 for text in sample.labels.values())
        assert isinstance(sample.value, float)
        name = series("o", sample.what, sample.labels)
        assert parse_series(name).text == name


@budget(800)
@given(
    st.sampled_from(sorted(PATHS)),
    st.one_of(*(broken(good) for good in (_traces(), _metrics(), _logs())), JUNK),
)
@example("/v1/traces", _traces())
@example("/v1/metrics", _metrics())
@example("/v1/logs", _logs())
@example("/v1/metrics", _traces())
def test_no_protobuf_ends_the_reader_of_otlp(otlp: Otlp, path: str, body: bytes) -> None:
    assert push(otlp, path, "application/x-protobuf", body).status in {200, 400}


@budget(400)
@given(st.sampled_from(sorted(PATHS)), JSON)
@example("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]})
def test_no_json_ends_the_reader_of_otlp(otlp: Otlp, path: str, document: object) -> None:
    key = {"/v1/traces": "resourceSpans", "/v1/metrics": "resourceMetrics"}.get(
        path, "resourceLogs"
    )
    for body in (document, {key: document}, {key: [document]}):
        answer = push(otlp, path, "application/json", json.dumps(body).encode())
        assert answer.status in {200, 400}


@budget(800)
@given(broken(PAGE) | JUNK, broken(PAGE))
@example(PAGE, PAGE)
@example(b'a{b="\\', b"a 1 1 1")
def test_no_page_ends_the_reader_of_metrics(first: bytes, second: bytes) -> None:
    reader, readings = Reader(20), Readings(20)
    for page in (first, second, first):
        with contextlib.suppress(NotText):
            samples = readings.take(reader.read(page))
            bounded(samples)
            assert all(
                one.value >= 0 or math.isnan(one.value) for one in samples if ":new" in one.what
            )
