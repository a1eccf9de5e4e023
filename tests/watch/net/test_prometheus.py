"""What real exporters show is read, and an exporter that lies or hangs is a failed source."""

from __future__ import annotations

import contextlib
import gzip
import math
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.parser import text_string_to_metric_families as theirs

from offswitch.testing import SensorSuite
from offswitch.watch.counters import Counters, spread
from offswitch.watch.scrape.exposition import NotText, Reader
from offswitch.watch.scrape.known import KNOWN, meaning
from offswitch.watch.sensors.contract import CellFacts
from offswitch.watch.sensors.prometheus import PrometheusSection
from scale import runs
from watch.net.showing import answering, exporter, scraping
from watch.net.speaking import free_port

_OK = b"HTTP/1.1 200 OK\r\n"


class TestPrometheusSuite(SensorSuite):
    kind = "prometheus"

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        # In a process of its own: the suite counts the descriptors of this one.
        self.port, self.count = free_port(), multiprocessing.Value("i", 0)
        self.server = multiprocessing.get_context("fork").Process(target=self._serve)
        self.server.start()
        self.there = False
        yield
        self.server.kill()
        self.server.join()
        self.server.close()

    def _serve(self) -> None:
        registry = CollectorRegistry()
        tokens = Counter("tokens", "t", registry=registry)
        told = 0
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            while True:
                sock, _peer = listening.accept()
                while sock.recv(65536):
                    tokens.inc(self.count.value - told)
                    told = self.count.value
                    body = generate_latest(registry)
                    sock.sendall(_OK + b"content-length: %d\r\n\r\n" % len(body) + body)

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"url": f"http://127.0.0.1:{self.port if self.there else 1}/metrics"}

    def source(self, folder: str) -> CellFacts | None:
        self.there = True
        return None

    def stir(self, folder: str) -> None:
        self.count.value += 3


def test_MON_1_an_llm_servers_exporter_is_read_with_how_much_is_new() -> None:
    registry = CollectorRegistry()
    tokens = Counter("vllm:generation_tokens", "written", ["model_name"], registry=registry)
    running = Gauge("vllm:num_requests_running", "now", registry=registry)
    latency = Histogram(
        "vllm:time_to_first_token_seconds", "t", buckets=(0.1, 1, 10), registry=registry
    )
    tokens.labels("m-7").inc(1000)
    with exporter(registry) as port, scraping(f"http://127.0.0.1:{port}/metrics") as engine:
        first = engine.values()
        assert first["vllm:generation_tokens_total{model_name=m-7}"] == 1000
        assert first["vllm:generation_tokens_total:new{model_name=m-7}"] == 0, "that is the past"
        assert first["vllm:time_to_first_token_seconds:p99"] == 0, "idle is no blind spot"
        tokens.labels("m-7").inc(50)
        tokens.labels("m-8").inc(7)
        running.set(3)
        for seconds in (0.05, 0.05, 5.0):
            latency.observe(seconds)
        second = engine.values()
        assert second["vllm:num_requests_running"] == 3
        assert second["vllm:generation_tokens_total:new{model_name=m-7}"] == 50
        assert second["vllm:generation_tokens_total:new{model_name=m-8}"] == 7, "it began since"
        assert second["vllm:generation_tokens_total:new"] == 57
        assert second["vllm:time_to_first_token_seconds_count:new"] == 3
        assert 0 < second["vllm:time_to_first_token_seconds:p50"] <= 0.1
        assert 1 < second["vllm:time_to_first_token_seconds:p99"] <= 10
        third = engine.values()
        assert third["vllm:generation_tokens_total:new"] == 0
        assert (
            third["vllm:time_to_first_token_seconds:p99"]
            == second["vllm:time_to_first_token_seconds:p99"]
        )


def test_a_connection_is_kept_and_made_anew_when_the_server_has_closed_it() -> None:
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n"
    asked: list[bytes] = []

    def three_times(sock: socket.socket) -> None:
        for _ in range(3):
            sock.sendall(body)
            asked.append(sock.recv(65536))
        sock.close()

    with answering(three_times) as server, scraping(f"http://127.0.0.1:{server.port}/m") as one:
        for _ in range(7):
            assert one.values()["a"] == 1
    assert server.connections == 3
    assert b"GET /m HTTP/1.1" in asked[0]
    assert b"openmetrics" in asked[0].lower()


def test_a_counter_that_begins_anew_is_told_and_counts_from_nought() -> None:
    pages = iter([b"# TYPE t counter\nt 90\n", b"# TYPE t counter\nt 4\n"])

    def show(sock: socket.socket) -> None:
        for page in pages:
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(page) + page)
            sock.recv(65536)

    with answering(show) as server, scraping(f"http://127.0.0.1:{server.port}/") as one:
        assert one.values()["t:new"] == 0
        after = one.values()
        assert after["t:new"] == 4
        assert after["scrape:resets"] == 1


def _say(data: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(data)


def _drip(sock: socket.socket) -> None:
    for _ in range(200):
        sock.sendall(b"H")
        time.sleep(0.02)


def _endless(start: bytes, more: bytes) -> Callable[[socket.socket], None]:
    def send(sock: socket.socket) -> None:
        sock.sendall(start)
        while True:
            sock.sendall(more)

    return send


_BOMB = gzip.compress(bytes(64 << 20))
HOSTILE = {
    "says nothing": (lambda sock: time.sleep(3), "in time"),
    "drips": (_drip, "in time"),
    "hangs up": (lambda sock: sock.close(), "closed"),
    "speaks no HTTP": (_say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no HTTP"),
    "endless headers": (_endless(_OK, b"x-a: " + b"b" * 4000 + b"\r\n"), "no HTTP"),
    "an endless body": (_endless(_OK + b"\r\n", b"a 1\n" * 20_000), "more than"),
    "a bomb": (
        _say(_OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(_BOMB) + _BOMB),
        "more than",
    ),
    "a broken archive": (
        _say(_OK + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"),
        "not compressed",
    ),
    "another coding": (
        _say(_OK + b"content-encoding: br\r\ncontent-length: 3\r\n\r\nabc"),
        "not asked for",
    ),
    "a redirect": (
        _say(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
        "not followed",
    ),
    "an error": (_say(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"), "answers 500"),
    "a page for people": (_say(_OK + b"content-length: 6\r\n\r\n<html>"), "another kind"),
    "no UTF-8": (_say(_OK + b"content-length: 4\r\n\r\na \xff\n"), "UTF-8"),
    "garbage": (_say(_OK + b"content-length: 8\r\n\r\na b c d\n"), "not a line"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_an_exporter_that_lies_or_hangs_is_a_failed_source(how: str) -> None:
    answer, why = HOSTILE[how]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(answering(answer))
        url = f"http://127.0.0.1:{server.port}/"
        one = stack.enter_context(scraping(url, timeout="200ms"))
        glance = one.next()
        assert why in glance.problem
        assert not glance.samples
        assert one.sensor.look().problem, "it has failed until it answers again"


def test_a_failed_source_is_asked_less_and_less_often() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(answering(_say(b"nonsense\r\n\r\n")))
        one = stack.enter_context(scraping(f"http://127.0.0.1:{server.port}/"))
        end = time.monotonic() + 0.75
        while time.monotonic() < end:
            one.next()
            time.sleep(0.01)
        assert 2 <= server.connections <= 4, "at 0, 100, 300 and 700 ms"


def test_a_token_goes_only_where_nobody_on_the_way_reads_it() -> None:
    heard: list[bytes] = []

    def show(sock: socket.socket) -> None:
        while not heard or heard[-1]:
            sock.sendall(_OK + b"content-length: 4\r\n\r\na 1\n")
            heard.append(sock.recv(65536))

    with answering(show) as server:
        url = f"http://127.0.0.1:{server.port}/"
        with scraping(url, token_file="/t", secrets={"token_file": "s3cret"}) as one:
            one.values()
            one.values()
    assert b"authorization: Bearer s3cret" in heard[0]
    with scraping(url, token_file="/t", secrets={"token_file": "s3c\nret"}) as garbled:
        problem = garbled.next().problem
        assert "token_file" in problem
        assert "s3c" not in problem, "a secret stands in no message"
    keys = {"name": "e", "target": "a", "kind": "prometheus", "token_file": "/t"}
    with pytest.raises(ValueError, match="only sent over https"):
        PrometheusSection.model_validate({**keys, "url": "http://example.com/metrics"})
    PrometheusSection.model_validate({**keys, "url": "https://example.com/metrics"})


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "http://u:p@a/", "http://a/ b", "http://a:99999/", "x"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write it as|secret|blanks"):
        PrometheusSection.model_validate(
            {"name": "e", "target": "a", "kind": "prometheus", "url": url}
        )


def test_a_rule_on_what_is_not_read_is_refused_with_the_name_that_was_meant() -> None:
    keys = {"name": "e", "target": "a", "kind": "prometheus", "url": "http://127.0.0.1:1/"}
    section = PrometheusSection.model_validate({**keys, "only": ["vllm:num_*", "up"]})
    assert section.problem("vllm:num_requests_running", {}) is None
    assert section.problem("vllm:num_x:new", {"a": "b"}) is None
    wrong = section.problem("vllm:generation_tokens_totl", {})
    assert wrong is not None
    assert "vllm:generation_tokens_total" in wrong
    assert section.problem("scrape:nonsense", {}) is not None
    assert meaning("vllm:generation_tokens_total:new") == "vLLM: tokens written"
    assert all(section.problem("vllm:" + name, {}) for name in ("x", "y"))
    assert len(KNOWN) > 50


def _read(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    values = Reader(10_000).read(page).values
    return {
        (line.name, tuple(sorted(line.labels.items()))): value for line, value in values.items()
    }


LABEL = st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True).filter(
    lambda one: not one.startswith("__")
)
VALUES = st.floats() | st.integers(-(10**6), 10**6)
NAMED = st.from_regex(r"[a-z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)


@settings(max_examples=runs(800), deadline=None)
@given(
    st.dictionaries(
        NAMED,
        st.tuples(st.dictionaries(LABEL, st.text(max_size=8), max_size=3), VALUES),
        max_size=5,
    )
)
@example({"a": ({"b": 'x"\\\n} 5'}, 1.0)})
def test_what_prometheus_client_reads_is_read_likewise(series: dict[str, Any]) -> None:
    lines = []
    for name, (labels, value) in series.items():
        quoted = ",".join(
            '{}="{}"'.format(
                key, text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
            )
            for key, text in labels.items()
        )
        lines.append(f"{name}{{{quoted}}} {value}" if labels else f"{name} {value}")
    page = "\n".join(lines) + "\n"
    wanted = {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for family in theirs(page)
        for sample in family.samples
    }
    read = _read(page.encode("utf-8", "surrogatepass")) if page.isascii() else _read(page.encode())
    assert {key: str(value) for key, value in read.items()} == {
        key: str(value) for key, value in wanted.items()
    }


def test_a_real_registry_is_read_likewise_in_both_formats() -> None:
    registry = CollectorRegistry()
    for number in range(3):
        Counter(f"c{number}", "help \\ \n text", ["l"], registry=registry).labels('q"\\\n').inc(
            number
        )
    Histogram("h", "x", ["a"], registry=registry).labels("b c").observe(0.2, {"trace_id": "t 1"})
    Summary("s", "x", registry=registry).observe(2)
    Gauge("g", "x", registry=registry).set(math.inf)
    page = generate_latest(registry)
    wanted = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in theirs(page.decode())
        for sample in family.samples
    }
    assert _read(page) == wanted
    open_page = _read(openmetrics(registry))
    assert {key: open_page[key] for key in wanted if key in open_page} == {
        key: value for key, value in wanted.items() if key in open_page
    }
    assert len(open_page) >= len(wanted) - 4


def test_what_is_too_long_malformed_or_twice_is_left_out_and_counted() -> None:
    odd = [
        "a 1",
        "a 2",
        'b{x="' + "y" * 300 + '"} 1',
        'c{x="1",x="2"} 1',
        'd{x="1} 1',
        "e 1_000",
        "f one",
        "9g 1",
        "h" * 5000 + " 1",
        "i{" + ",".join(f'l{n}="v"' for n in range(20)) + "} 1",
        "j 1 2 3",
        "k NaN",
        '{"m",a="b"} 1',
        '{"no.such.name",a="b"} 1',
        "l -Inf 1700000000000",
    ]
    reader = Reader(100)
    for _ in range(2):
        page = reader.read("\n".join(odd).encode())
        assert {line.name for line in page.values} == {"a", "k", "l", "m"}
        assert page.dropped == 11
    assert Reader(10).read(b"\n".join(b"x%d 1" % n for n in range(50))).dropped == 40
    with pytest.raises(NotText):
        reader.read(b"\xff\xfe")


def test_a_source_with_ever_new_names_costs_a_bounded_memory() -> None:
    reader, counters = Reader(50), Counters(100)
    for turn in range(200):
        page = reader.read(b"\n".join(b'x{n="%d"} 1' % (turn * 50 + n) for n in range(50)))
        for line, value in page.values.items():
            counters.grow(line, value)
        counters.turn()
    assert len(reader._known) < 2000
    assert len(counters._before) <= 100


def test_quantiles_lie_where_prometheus_puts_them() -> None:
    assert spread({1.0: 5, 2.0: 10, math.inf: 10}, [0.5, 0.75, 1.0]) == [1.0, 1.5, 2.0]
    assert spread({1.0: 0, math.inf: 4}, [0.5]) == [1.0], "beyond the last bound: at least that"
    assert math.isnan(spread({1.0: 0, math.inf: 0}, [0.5])[0])
    assert math.isnan(spread({}, [0.5])[0])
    assert math.isnan(spread({1.0: 3}, [0.5])[0]), "a histogram without +Inf is none"


@pytest.mark.long
def test_a_probe_says_what_a_metric_means(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Gauge("vllm:num_requests_waiting", "x", registry=registry).set(4)
    with exporter(registry) as port:
        config = tmp_path / "offswitch.toml"
        config.write_text(
            f'[[sensor]]\nname = "engine"\ntarget = "a"\nkind = "prometheus"\n'
            f'url = "http://127.0.0.1:{port}/metrics"\n'
        )
        config.chmod(0o600)
        env = {
            **os.environ,
            "OFFSWITCH_HOME": str(tmp_path),
            "OFFSWITCH_RUN": str(tmp_path / "run"),
        }
        argv = [f"{Path(sys.executable).parent}/offswitch", "sensor", "probe", "engine"]
        said = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=60, check=False
        )
    assert "engine.vllm:num_requests_waiting  (vLLM: requests that wait for room)" in said.stdout
    assert said.returncode == 0, said.stderr
