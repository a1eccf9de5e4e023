"""OTLP over HTTP: what agents and collectors push, as metrics, logs and traces.

    requests, refused, broken, dropped, turned_away, gaps     what came, and what of it was lost
    spans, spans{operation="chat"}                            by the GenAI semantic conventions
    tokens{direction="input"|"output"}                        and with model="…"
    tool_calls                                                one sample a call; the tool is in its
                                                              detail; tool_calls{tool="…"} sums
    errors, errors{type="…"}, finished{reason="…"}
    model_seconds                                             one sample a model call, likewise
    lines{severity="error"}                                   one sample a log record, with its text
    NAME{…}, NAME:new{…}, NAME:p50, NAME:p99                  metrics (`watch.otlp.metrics`)

Counts are what came since the last look, and 0 where nothing did. The target comes from the
token, never from what is said (SR-6): several of these sensors share one address, and whoever
brings none of their tokens is refused, and counted. Where the target itself holds the token
(`spoken_by = "target"`, which is so unless said otherwise) a finding stands until a person takes
it back. Tools and models that a rule names are declared, so that they are 0 before the first call.

    [[sensor]]
    name = "otel"
    target = "shop/agent"
    kind = "otlp"
    listen = "127.0.0.1:4318"
    token_file = "/etc/offswitch/otel.token"
    tools = ["transfer"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Text
from offswitch.watch.events import Events
from offswitch.watch.http.exchange import Answer, Door, Request
from offswitch.watch.http.listener import shared_listener
from offswitch.watch.http.section import DOOR_SERIES, Presence, TokenSection, door_samples
from offswitch.watch.otlp.genai import OPERATIONS
from offswitch.watch.otlp.metrics import Metrics
from offswitch.watch.otlp.records import SEVERITIES, read_records
from offswitch.watch.otlp.spans import read_spans
from offswitch.watch.otlp.wire import (
    MODULES,
    PATHS,
    Garbled,
    accepted,
    explain,
    kind_of,
    read,
    warm,
)
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.tally import OTHER, Key, Tally

__all__ = ["Otlp", "OtlpSection"]

_MOST_PENDING = 20_000
"""Samples of one turn; beyond that a sender is asked to come again."""
_OURS = frozenset(
    {"spans", "tokens", "tool_calls", "errors", "finished", "model_seconds", "lines", "gaps"}
)
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]*")
_DIRECTIONS = ("input", "output")


class OtlpSection(TokenSection):
    """The keys of an OTLP sensor."""

    kind: Literal["otlp"]
    spoken_by: Literal["target", "other"] = "target"
    """Who holds the token: the target itself, or another, such as a collector outside its cell."""
    signal: Literal["metrics", "logs", "tools", "model"] = "model"
    """As which kind of signal `status` shows how fresh it is."""
    tools: Annotated[list[Text], Field(max_length=200)] = Field(default_factory=list)
    """Tools that rules name."""
    models: Annotated[list[Text], Field(max_length=50)] = Field(default_factory=list)
    """Models that rules name."""

    SERIES: ClassVar[frozenset[str]] = DOOR_SERIES | _OURS

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; of metrics any name may come."""
        for label, declared in (("tool", self.tools), ("model", self.models)):
            given = labels.get(label)
            if what in {"tool_calls", "tokens"} and given not in {None, OTHER, *declared}:
                return f"sensor {self.name} knows no {label} {given!r}: name it in {label}s = […]"
        if what == "lines" and labels.get("severity") not in SEVERITIES:
            return f"sensor {self.name} counts lines{{severity=…}}: {', '.join(SEVERITIES)}"
        if what == "tokens" and labels.get("direction") not in _DIRECTIONS:
            return f"sensor {self.name} counts tokens{{direction=…}}: {', '.join(_DIRECTIONS)}"
        if what in self.SERIES or _METRIC.fullmatch(what):
            return None
        return super().problem(what, labels)


class Otlp:
    """Takes in what is pushed to one door of a listener."""

    Settings: ClassVar[type[OtlpSection]] = OtlpSection
    SIGNAL: ClassVar[Signal] = Signal.MODEL
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.NETWORK})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = MODULES

    def __init__(self, settings: OtlpSection, context: SensorContext) -> None:
        """Open a door on the listener of `settings.listen`."""
        self._settings = settings
        self._clock = context.clock
        now_us = context.clock.mono_us()
        token = context.secrets.get("token_file", "")
        self._door = Door(PATHS, token, self._take, explain)
        self._listener = shared_listener(context.shared, settings.listen)
        self._listener.mount(self._door)
        self._presence = Presence(settings.expect_every, now_us)
        self._tally = Tally(_fixed(settings), settings.most_series)
        self._events = Events()
        wall_us = context.clock.wall_us()
        self._metrics = Metrics(settings.most_series, settings.SERIES, wall_us)
        self._points: list[Sample] = []
        self._requests = self._dropped = 0
        self._full_us = now_us - settings.every
        self._closed = False
        warm()

    def wake(self) -> Sequence[int]:
        """Whoever speaks wakes it."""
        fd = None if self._closed else self._listener.fileno()
        return () if fd is None else (fd,)

    def look(self) -> Glance:
        """Serve whoever speaks, and give what came."""
        now_us = self._clock.mono_us()
        due_us = self._listener.turn(now_us)
        again_us = None if due_us is None else max(due_us - now_us, 1000)
        if self._listener.problem:
            return Glance(problem=self._listener.problem, again_us=again_us)
        everything = now_us - self._full_us >= self._settings.every - 1000
        if everything:
            self._full_us = now_us
        samples = self._gather(everything=everything)
        until_full_us = max(self._full_us + self._settings.every - now_us, 1000)
        again_us = until_full_us if again_us is None else min(again_us, until_full_us)
        note = self._presence.note(now_us, self._settings.listen, self._door.defect)
        problem = self._presence.problem(now_us)
        return Glance(samples, again_us=again_us, problem=problem, note=note)

    def close(self) -> None:
        """Close the door."""
        if not self._closed:
            self._closed = True
            self._listener.leave(self._door)

    def _take(self, request: Request) -> Answer:
        """Take one request in."""
        if len(self._points) > _MOST_PENDING:
            self._dropped += 1
            return explain(request.head, 503, "more than can be taken in: come again")
        try:
            message = read(request)
        except Garbled as error:
            self._door.broken += 1
            return explain(request.head, error.status, str(error))
        self._requests += 1
        self._presence.came(self._clock.mono_us(), self._clock.wall_us())
        rejected = 0
        match kind_of(request.head):
            case "metrics":
                points, rejected = self._metrics.read(message)
                self._points.extend(points)
            case "logs":
                read_records(message, self._events)
            case _:
                read_spans(message, self._tally, self._events)
        self._dropped += rejected
        return accepted(request.head, rejected, "more series than the sensor may have, or its own")

    def _gather(self, *, everything: bool) -> list[Sample]:
        events = self._events.take()
        samples = [*events, *self._tally.take(everything=everything), *self._points]
        self._points = []
        if everything or samples:
            came = {(sample.what, sample.labels.get("severity")) for sample in events}
            dropped = self._dropped + self._tally.folded
            samples += door_samples(self._door, self._listener, self._requests, dropped)
            samples.append(Sample("gaps", float(self._metrics.gaps)))
            self._requests = self._dropped = self._tally.folded = self._metrics.gaps = 0
            if everything:
                samples += [
                    Sample(what, 0.0, {} if severity is None else {"severity": severity})
                    for what, severity in _EVENTS
                    if (what, severity) not in came
                ]
        return samples


_EVENTS = (("tool_calls", None), *(("lines", severity) for severity in SEVERITIES))


def _fixed(settings: OtlpSection) -> list[Key]:
    """List what is counted from the first look on."""
    keys: list[Key] = [("spans", ()), ("errors", ())]
    keys += [("spans", (("operation", name),)) for name in OPERATIONS if name != "other"]
    for direction in _DIRECTIONS:
        keys.append(("tokens", (("direction", direction),)))
        keys += [
            ("tokens", (("direction", direction), ("model", model))) for model in settings.models
        ]
    keys += [("tool_calls", (("tool", tool),)) for tool in settings.tools]
    return keys
