"""Exporters for a sensor that asks: prometheus-client's own, and one that answers anything."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from offswitch.clock import SystemClock
from offswitch.watch.sensors.contract import Glance, SensorContext
from offswitch.watch.sensors.prometheus import Prometheus, PrometheusSection

__all__ = ["Answering", "Scraping", "answering", "exporter", "scraping"]


@contextmanager
def exporter(registry: CollectorRegistry) -> Iterator[int]:
    """Serve a registry as prometheus-client does; gives the port."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Answering:
    """A server whose every connection is handed to `answer`."""

    def __init__(self, answer: Callable[[socket.socket], None], port: int = 0) -> None:
        self._sock = socket.create_server(("127.0.0.1", port))
        self.port: int = self._sock.getsockname()[1]
        self.answer = answer
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _peer = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        try:
            sock.recv(65536)
            self.answer(sock)
        except OSError:
            pass

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for sock in self._open:
            sock.close()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[Answering]:
    """Serve whatever `answer` sends."""
    server = Answering(answer)
    try:
        yield server
    finally:
        server.close()


class Scraping:
    """A sensor that is looked through as an eye does."""

    def __init__(self, url: str, secrets: Mapping[str, str], **keys: object) -> None:
        raw = {"name": "e", "target": "a", "kind": "prometheus", "url": url, "every": "100ms"}
        self.section = PrometheusSection.model_validate({**raw, **keys})
        self.sensor = Prometheus(self.section, SensorContext(SystemClock(), {}, secrets=secrets))

    def next(self, timeout_s: float = 5.0) -> Glance:
        """Look until there is something to say; holds each look to its time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            begin = time.monotonic()
            glance = self.sensor.look()
            assert time.monotonic() - begin < 1.0, "a look never waits"
            if glance.samples or glance.problem:
                return glance
            poller = select.poll()
            for fd in self.sensor.wake():
                poller.register(fd, select.POLLIN)
            poller.poll(min((glance.again_us or 100_000) / 1000, 100))
        raise AssertionError("nothing was said")

    def values(self) -> dict[str, float]:
        """Look until something was read; gives it, spelt as a rule would."""
        glance = self.next()
        assert not glance.problem, glance.problem
        spelt = {}
        for sample in glance.samples:
            labels = ",".join(f"{key}={text}" for key, text in sorted(sample.labels.items()))
            spelt[f"{sample.what}{{{labels}}}" if labels else sample.what] = sample.value
        return spelt


@contextmanager
def scraping(
    url: str, secrets: Mapping[str, str] | None = None, **keys: object
) -> Iterator[Scraping]:
    """Give a sensor that asks at `url`."""
    one = Scraping(url, secrets or {}, **keys)
    try:
        yield one
    finally:
        one.sensor.close()
