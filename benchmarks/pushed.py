"""An installation with an OTLP listener, for figures of what is pushed: `benchmarks/watch.py`.

A warden, a watch, an agent that sleeps in its cell, and one rule: any tool call stops it. A sample
is one span, posted on a connection that is kept. The order is *accepted* when the agent's word in
the page says so, which this script looks at five times a millisecond; the bare round trip is the
same bytes to a process that answers as many as the listener does, and reads none of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.client import Conversation, call
from offswitch.control.page import PageReader
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

__all__ = ["Pushed", "pushing", "spans"]

PATIENCE_S = 15.0
TOKEN = "benchmark"
CONFIG = """\
[[sensor]]
name = "otel"
target = "shop/agent"
kind = "otlp"
listen = "127.0.0.1:{port}"
token_file = "{token}"
every = "{every}"

[[rule]]
name = "tool-call"
target = "shop/agent"
harm = "it acts on its own"
time_to_harm = "5s"
false_stop_cost = "the shop is closed for minutes"
act = "{act}"
detectors = [{{ kind = "threshold", series = "otel.tool_calls", above = 0.5 }}]
"""
ECHO = """\
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    sock, _ = listening.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while sock.recv(65536):
        sock.sendall(bytes(120))
"""


def spans(count: int) -> bytes:
    """Give a request with so many tool calls."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415

    request = trace_service_pb2.ExportTraceServiceRequest()
    found = request.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        span = found.add(name="execute_tool look", trace_id=os.urandom(16), span_id=os.urandom(8))
        span.start_time_unix_nano = number
        for key, text in (
            ("gen_ai.operation.name", "execute_tool"),
            ("gen_ai.tool.name", "look"),
            ("gen_ai.tool.call.id", f"call-{number}"),
            ("gen_ai.request.model", "m-7"),
        ):
            span.attributes.add(key=key).value.string_value = text
    body: bytes = request.SerializeToString()
    return body


def request(body: bytes) -> bytes:
    """Give the whole of what is sent for a body."""
    head = (
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n"
        f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Pushed:
    """The installation, and the two connections."""

    def __init__(self, folder: str, run: str, act: str, every: str) -> None:
        self.place = Place(f"{folder}/home", run)
        self.work = f"{folder}/work"
        os.makedirs(self.work)
        os.makedirs(self.place.home)
        self.port, self.bare_port = _free_ports()
        token = f"{folder}/token"
        config = CONFIG.format(port=self.port, token=token, act=act, every=every)
        for path, text in ((token, TOKEN), (self.place.config, config)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o600)
        self.processes = [self._start("offswitch.warden")]
        self.wait(self._answers, "the warden answers")
        self.watch = self._start("offswitch.watch")
        self.processes.append(self.watch)
        echo = [sys.executable, "-I", "-c", ECHO, str(self.bare_port)]
        self.processes.append(subprocess.Popen(echo, start_new_session=True))
        self.otlp: socket.socket = self.wait(lambda: _joined(self.port), "the listener is there")
        self.otlp.sendall(request(b""))  # a sender that says nothing is hung up on
        self.otlp.recv(65536)
        self.bare: socket.socket = self.wait(lambda: _joined(self.bare_port), "the echo is there")

    def _start(self, module: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-m", module, "--home", self.place.home]
        return subprocess.Popen([*argv, "--run", self.place.run], start_new_session=True)

    def _answers(self) -> bool:
        try:
            return bool(call(self.place, {"op": "ping"}).get("pong"))
        except OffswitchError:
            return False

    @staticmethod
    def wait(what: Any, why: str, pause_s: float = 0.002) -> Any:  # noqa: ANN401 - whatever it gives
        """Wait until `what()` is true."""
        end = time.monotonic() + PATIENCE_S
        while not (value := what()):
            if time.monotonic() > end:
                raise SystemExit(f"in vain: {why}")
            time.sleep(pause_s)
        return value

    def row(self) -> dict[str, Any]:
        """Give the status of the agent."""
        rows = call(self.place, {"op": "status", "scope": None})["targets"]
        return next((dict(row) for row in rows if row["target"] == "shop/agent"), {})

    def watched(self) -> bool:
        """Whether watch has seen the agent's cell within the last seconds."""
        metrics = self.row().get("signals", {}).get("metrics", {})
        return metrics.get("age_ms") is not None and metrics["age_ms"] < 2000

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        """Have an agent in its cell that watch knows of."""
        with Conversation(self.place.warden_socket, PATIENCE_S) as relay:
            null = os.open(os.devnull, os.O_RDWR)
            message = {
                "op": "run",
                "target": "shop/agent",
                "argv": ["/bin/sleep", "600"],
                "cwd": self.work,
                "env": {"PATH": "/usr/bin:/bin"},
                "user": None,
                "tty": False,
                "detached": False,
                "raw": True,
            }
            relay.ask(message, (null, null, 2))
            os.close(null)
            self.wait(self.watched, "the agent is watched", 0.02)
            yield

    def once(self) -> tuple[float, float]:
        """Milliseconds from a sample to the accepted order, and of a bare round trip."""
        asked = request(spans(1))
        begin = time.monotonic_ns()
        self.bare.sendall(asked)
        self.bare.recv(65536)
        bare_ms = (time.monotonic_ns() - begin) / 1e6
        with self.agent():
            time.sleep(0.4)
            page = PageReader(self.place.page)
            with open(f"{self.place.memory}/cells.json", encoding="utf-8") as file:
                [slot] = [one["slot"] for one in json.load(file)["cells"]]
            before = page.word(slot)
            begin = time.monotonic_ns()
            self.otlp.sendall(asked)
            self.wait(lambda: page.word(slot) != before, "it is stopped", 0.0002)
            order_ms = (time.monotonic_ns() - begin) / 1e6
            page.close()
            self.otlp.recv(65536)
            self.wait(lambda: self.row().get("confirmed"), "the stop is confirmed")
        # Watch looks at the latches four times a second: it must have seen it set, and cleared.
        time.sleep(0.4)
        self._reset()
        return order_ms, bare_ms

    def _reset(self) -> None:
        message = {
            "op": "reset",
            "scope": "shop/agent",
            "reason": "benchmark",
            "nonce": new_nonce(),
            "time_us": time.time_ns() // 1000,
        }
        call(self.place, message, PATIENCE_S)
        self.wait(lambda: not self.row().get("latched"), "the reset is done")
        time.sleep(0.4)

    def load(self, seconds: float, batch: int, pause_s: float) -> tuple[float, float]:
        """Push batches at a pace; gives events a second, and percent of a core that watch took."""
        asked = request(spans(batch))
        pids = [self.watch.pid, *_children(self.watch.pid)]
        begin, before, sent = time.monotonic(), _cpu_s(pids), 0
        while (passed := time.monotonic() - begin) < seconds:
            self.otlp.sendall(asked)
            self.otlp.recv(65536)
            sent += batch
            time.sleep(max(0.0, pause_s * (sent / batch) - (time.monotonic() - begin)))
        return sent / passed, 100 * (_cpu_s(pids) - before) / passed

    def close(self) -> None:
        """End all processes."""
        for sock in (self.otlp, self.bare):
            sock.close()
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _joined(port: int) -> socket.socket | None:
    try:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    except OSError:
        return None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return one.getsockname()[1], other.getsockname()[1]


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def pushing(act: str = "auto", every: str = "100ms") -> Iterator[Pushed]:
    """Give an installation of its own, and leave no trace of it."""
    folder = tempfile.mkdtemp(prefix="offswitch-pushed-")
    run = tempfile.mkdtemp(prefix="offswitch-pushed-", dir="/dev/shm")
    os.chmod(run, 0o711)
    bench: Pushed | None = None
    try:
        bench = Pushed(folder, run, act, every)
        yield bench
    finally:
        if bench is not None:
            bench.close()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
