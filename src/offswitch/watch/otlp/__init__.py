"""OTLP 1.x over HTTP (opentelemetry.io/docs/specs/otlp): from requests to samples, bounded."""
