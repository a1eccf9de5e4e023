"""What of the work passes a gateway, as it would: streamed, tapped, counted, read by the sensor.

    answer    a stream of events, a word each         call      a stream that calls a tool
    tokens    an answer whose server counts so many

Only what channels may be declared on is given on; times are left out, since here nothing takes any.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping

from offswitch.clock import SimulatedClock, SystemClock
from offswitch.control.canary import Canaries
from offswitch.control.sensed import SensedFile
from offswitch.gateway.exchange import Asked, Shape
from offswitch.gateway.sense import Sense
from offswitch.model.reading import series as spell
from offswitch.watch.sensors.contract import Sample, SensorContext
from offswitch.watch.sensors.gateway import Gateway, GatewaySection

__all__ = ["Passing"]

_TARGET = "bench"
_GIVEN = frozenset({"text", "answer", "tool", "repetition", "tokens", "canary"})
_ONLY_EVENTS = frozenset({"text", "answer", "tool"})


class Passing:
    """One worker of a gateway as far as it senses, and the sensor `model` that reads it."""

    __slots__ = ("_clock", "_fd", "_sense", "_sensor")

    def __init__(self, folder: str, canaries: Canaries) -> None:
        """Keep the worker's file in `folder`."""
        self._clock = SimulatedClock(0)
        self._fd = SensedFile.make(f"{folder}/models.0", "models", [_TARGET], canaries.names)
        self._sense = Sense(self._fd, canaries, now=lambda: self._clock.mono_us() * 1000)
        section = GatewaySection(name="model", target=_TARGET, kind="gateway")
        self._sensor = Gateway(section, SensorContext(SystemClock(), {}), folder)
        self._sensor.look()

    def answer(self, time_us: int, text: str) -> Iterator[tuple[str, Sample]]:
        """A model answers so."""
        pieces = ({"content": f" {word}"} for word in text.split(" "))
        return self._passes(time_us, _stream(pieces, "stop"))

    def call(self, time_us: int, said: Mapping[str, str]) -> Iterator[tuple[str, Sample]]:
        """A model calls a tool."""
        args = {key: text for key, text in said.items() if key != "name"}
        function = {"name": said["name"], "arguments": json.dumps(args)}
        pieces = [{"tool_calls": [{"index": 0, "id": "c", "function": function}]}]
        return self._passes(time_us, _stream(pieces, "tool_calls"))

    def spent(self, time_us: int, tokens: float) -> Iterator[tuple[str, Sample]]:
        """A server says how many tokens an answer took."""
        usage = {"prompt_tokens": 0, "completion_tokens": int(tokens)}
        whole = json.dumps({"choices": [{"finish_reason": "stop"}], "usage": usage})
        return self._passes(time_us, [whole.encode()])

    def _passes(self, time_us: int, chunks: Iterable[bytes]) -> Iterator[tuple[str, Sample]]:
        self._clock.now = max(self._clock.now, time_us)
        tap = self._sense.tap(_TARGET, Asked(Shape.CHAT, stream=True), time.monotonic_ns())
        assert tap is not None  # noqa: S101 - there is one target
        for chunk in chunks:
            tap.data(chunk)
        tap.end("complete")
        self._sense.tick()
        for sample in self._sensor.look().samples:
            if sample.what in _GIVEN and (sample.value or sample.what not in _ONLY_EVENTS):
                yield spell("model", sample.what, sample.labels), sample

    def close(self) -> None:
        """Let go of the file."""
        self._sensor.close()
        self._sense.close()
        os.close(self._fd)


def _stream(pieces: Iterable[Mapping[str, object]], finish: str) -> Iterator[bytes]:
    for piece in pieces:
        yield _event({"choices": [{"index": 0, "delta": piece, "finish_reason": None}]})
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    yield b"data: [DONE]\n\n"


def _event(said: object) -> bytes:
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"
