"""What the real OpenTelemetry SDK exports is read, and what is no such thing harms nobody."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from watch.net.speaking import TOKEN, Spoken, raw, spoken

KEYS = {"kind": "otlp", "tools": ["transfer"]}
RESOURCE = Resource.create({"service.name": "shop"})


def test_spans(capsys):
    with spoken(KEYS) as eye:
        exporter = OTLPSpanExporter(
            f"http://127.0.0.1:{eye.port}/v1/traces",
            headers={"authorization": f"Bearer {TOKEN}"},
            compression=Compression.Gzip,
        )
        provider = TracerProvider(resource=RESOURCE)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("chat m-7") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "m-7",
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 32,
                    "gen_ai.response.finish_reasons": ["stop"],
                }
            )
            with tracer.start_as_current_span("execute_tool transfer") as tool:
                tool.set_attributes(
                    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "transfer"}
                )
        t = time.monotonic()
        while eye.sums().get("spans", 0) < 2 and time.monotonic() < t + 5:
            time.sleep(0.01)
        print(eye.sums(), eye.details("tool_calls"), eye.glances["s0"][-1])
        print(raw(eye.port, b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"))
        print(raw(eye.port, b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-length: 4000\r\n\r\n"))
        print(raw(eye.port, b"POST / FOO\r\n\r\n"))
    assert 0
