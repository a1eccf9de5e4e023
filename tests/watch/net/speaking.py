"""A sensor in a process of its own that is spoken to: an eye in miniature, and raw clients."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from offswitch.clock import SystemClock
from offswitch.plugins import SENSORS, installed
from offswitch.watch.sensors.contract import Glance, Sample, Sensor, SensorContext

__all__ = ["TOKEN", "Answered", "Spoken", "asked", "free_port", "post", "raw", "spoken"]

TOKEN = "a-token-that-nobody-guesses"


def free_port() -> int:
    """Give a loopback port that nobody holds."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Spoken:
    """Sensors that share an eye, and all that they saw."""

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        self.port = free_port()
        self.shared: dict[str, Any] = {}
        self.sensors: dict[str, Sensor] = {}
        self.glances: dict[str, list[Glance]] = {}
        for number, raw_keys in enumerate(keys or ({},)):
            named = {"name": f"s{number}", "target": f"shop/a{number}", "every": "100ms"}
            named |= {"listen": f"127.0.0.1:{self.port}", **raw_keys}
            named.setdefault("token_file", "/nowhere")
            given = {"token_file": TOKEN} if named["token_file"] else {}
            given |= {key[1:]: named.pop(key) for key in list(named) if key.startswith("_")}
            self.add(named, given)
        self._stop = False
        self.look()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def add(self, keys: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        cls = installed(SENSORS)[keys["kind"]].cls
        section = cls.Settings.model_validate(keys)
        context = SensorContext(SystemClock(), {}, secrets=secrets, shared=self.shared)
        self.sensors[section.name] = cls(section, context)
        self.glances[section.name] = []

    def look(self) -> None:
        """Have all of them look once."""
        for name, sensor in self.sensors.items():
            self.glances[name].append(sensor.look())

    def _serve(self) -> None:
        while not self._stop:
            poller = select.poll()
            for sensor in self.sensors.values():
                for fd in sensor.wake():
                    poller.register(fd, select.POLLIN)
            poller.poll(20)
            self.look()

    def samples(self, name: str = "s0") -> list[Sample]:
        """Give all that one of them read."""
        return [sample for glance in self.glances[name] for sample in glance.samples]

    def sums(self, name: str = "s0") -> dict[str, float]:
        """Add up what each series gave, spelt as a rule would."""
        found: dict[str, float] = {}
        for sample in self.samples(name):
            labels = ",".join(f"{key}={text}" for key, text in sorted(sample.labels.items()))
            spelt = f"{sample.what}{{{labels}}}" if labels else sample.what
            found[spelt] = found.get(spelt, 0.0) + sample.value
        return found

    def details(self, what: str, name: str = "s0") -> list[Mapping[str, str]]:
        """Give the evidence of one series, in order."""
        return [one.detail for one in self.samples(name) if one.what == what and one.detail]

    def close(self) -> None:
        self._stop = True
        if self.thread.is_alive():
            self.thread.join(5)
        for sensor in self.sensors.values():
            sensor.close()


@contextmanager
def spoken(*keys: Mapping[str, Any]) -> Iterator[Spoken]:
    """Give sensors that are being spoken to, served by a thread."""
    one = Spoken(*keys)
    one.thread.start()
    try:
        yield one
    finally:
        one.close()


def raw(port: int, *parts: bytes, timeout_s: float = 5.0) -> bytes:
    """Send bytes as they are; gives all that comes back until the end, or what came before."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as sock:
        got = b""
        try:
            for part in parts:
                sock.sendall(part)
            while data := sock.recv(65536):
                got += data
        except OSError:
            pass
        return got


def post(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Post a body; gives the whole answer."""
    given = {"host": "a", "connection": "close", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {text}\r\n" for name, text in given.items())
    return raw(port, f"POST {path} HTTP/1.1\r\n{head}\r\n".encode(), body)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered, taken apart."""

    status: int
    kind: str
    body: bytes


def asked(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
    """Post a body; gives the answer taken apart."""
    head, _, rest = post(port, path, body, headers).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    kinds = [line.partition(": ")[2] for line in lines if line.startswith("content-type")]
    return Answered(int(lines[0].split()[1]), kinds[0], rest)
