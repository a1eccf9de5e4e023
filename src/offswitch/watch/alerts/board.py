"""Where alerts come in: one door of a listener, what fires, and what came since the last look.

    firing, firing{alert="…"}          how many fire now
    notified                           one sample for each that was told of, with what was said
    notified{alert="…"}                how many of that name; and with the labels of the mapping
    value{alert="…"}                   the number that came with it
    truncated                          alerts of a notification that it left out, or that we did
    requests, refused, broken, dropped, turned_away

An alert that a rule names is declared (`alerts = ["…"]`), so that it is 0 before it first fires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from offswitch.watch.alerts.alert import LONGEST_NAME, Alert, State
from offswitch.watch.alerts.standing import Standing
from offswitch.watch.events import Events
from offswitch.watch.http.exchange import Answer, Door, Request, plain
from offswitch.watch.http.listener import shared_listener
from offswitch.watch.http.section import DOOR_SERIES, ListeningSection, Presence, door_samples
from offswitch.watch.sensors.contract import Glance, Sample, SensorContext
from offswitch.watch.tally import Tally

__all__ = ["AlertsSection", "Board", "Garbled", "Notification", "Refused"]

_MOST_BYTES = 1 << 20
_MOST_PENDING = 2000

Notification = tuple[Sequence[Alert], int]
"""The alerts that it holds, and how many it says that it left out."""


class Garbled(Exception):
    """The body is not what the sender's kind sends."""


class Refused(Exception):
    """Whoever sent it did not prove who he is."""


_AlertName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class AlertsSection(ListeningSection):
    """The keys of a sensor of others' alerts."""

    alerts: Annotated[list[_AlertName], Field(max_length=200)] = Field(default_factory=list)
    """Alerts that rules name."""

    SERIES: ClassVar[frozenset[str]] = DOOR_SERIES | {"firing", "notified", "value", "truncated"}

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series: an alert that a rule names is declared."""
        alert = labels.get("alert")
        if what in {"firing", "notified", "value"} and alert not in {None, *self.alerts}:
            return f"sensor {self.name} knows no alert {alert!r}: name it in alerts = […]"
        return super().problem(what, labels)


class Board:
    """What a sensor of alerts holds."""

    __slots__ = (
        "_clock",
        "_closed",
        "_door",
        "_dropped",
        "_events",
        "_full_us",
        "_listener",
        "_read",
        "_requests",
        "_settings",
        "_standing",
        "_tally",
        "_truncated",
        "_values",
        "_watchdog",
        "presence",
    )

    def __init__(
        self,
        settings: AlertsSection,
        context: SensorContext,
        door: Door,
        read: Callable[[Request], Notification],
        watchdog: str = "",
    ) -> None:
        """Take in at `door` what `read` reads; `watchdog` is an alert that must always fire."""
        self._settings = settings
        self._clock = context.clock
        self._door = door
        self._read = read
        self._watchdog = watchdog
        door.take = self._take
        self._listener = shared_listener(context.shared, settings.listen)
        self._listener.mount(door)
        now_us = context.clock.mono_us()
        what = f"the alert {watchdog}" if watchdog else "anything"
        self.presence = Presence(settings.expect_every, now_us, what)
        self._standing = Standing(settings.alerts, settings.most_series, context.memory)
        fixed = [("notified", (("alert", name),)) for name in settings.alerts]
        self._tally = Tally(fixed, settings.most_series)
        self._events = Events()
        self._values: list[Sample] = []
        self._requests = self._dropped = self._truncated = 0
        self._full_us = now_us - settings.every
        self._closed = False

    def wake(self) -> Sequence[int]:
        """Whoever speaks wakes it."""
        fd = None if self._closed else self._listener.fileno()
        return () if fd is None else (fd,)

    def look(self) -> Glance:
        """Serve whoever speaks, and give what came."""
        now_us = self._clock.mono_us()
        due_us = self._listener.turn(now_us)
        full = now_us - self._full_us >= self._settings.every - 1000
        waits = [] if due_us is None else [due_us - now_us]
        if full:
            self._full_us = now_us
        waits.append(self._full_us + self._settings.every - now_us)
        again_us = max(min(waits), 1000)
        memory = self._standing.memory()
        if self._listener.problem:
            return Glance(problem=self._listener.problem, again_us=again_us, memory=memory)
        samples = self._gather(full=full)
        # Where the watchdog is missed, what else comes counts all the same.
        problem = self.presence.problem(now_us)
        note = self.presence.note(now_us, self._settings.listen, self._door.defect)
        return Glance(samples, again_us=again_us, problem=problem, note=note, memory=memory)

    def close(self) -> None:
        """Close the door; may be called twice."""
        if not self._closed:
            self._closed = True
            self._listener.leave(self._door)

    def _take(self, request: Request) -> Answer:
        if len(self._values) > _MOST_PENDING:
            self._dropped += 1
            return plain(request.head, 503, "more than can be taken in: come again")
        if len(request.body) > _MOST_BYTES:
            self._door.broken += 1
            return plain(request.head, 413, f"more than {_MOST_BYTES} bytes")
        try:
            alerts, left_out = self._read(request)
        except Refused as refusal:
            self._door.refused += 1
            return plain(request.head, 401, str(refusal))
        except (Garbled, ValueError, RecursionError) as error:
            self._door.broken += 1
            return plain(request.head, 400, f"this cannot be read: {error}"[:200])
        self._requests += 1
        self._truncated += left_out
        if not self._watchdog:
            self.presence.came(self._clock.mono_us(), self._clock.wall_us())
        for alert in alerts:
            self._note(alert)
        return Answer(200, b"ok\n")

    def _note(self, alert: Alert) -> None:
        if self._watchdog and alert.name == self._watchdog:
            if alert.state is State.FIRING:
                self.presence.came(self._clock.mono_us(), self._clock.wall_us())
            return
        self._standing.take(alert)
        name = self._standing.name_of(alert)
        if alert.value is not None:
            self._values.append(Sample("value", alert.value, {"alert": name}))
        if alert.state in {State.FIRING, State.ONCE}:
            self._tally.add("notified", 1.0, {"alert": name})
            if alert.labels:
                self._tally.add("notified", 1.0, {"alert": name, **alert.labels})
            said = {"severity": alert.severity, "text": alert.text, **alert.labels}
            detail = {"alert": alert.name, **{key: text for key, text in said.items() if text}}
            self._events.add("notified", {}, detail)

    def _gather(self, *, full: bool) -> list[Sample]:
        events = self._events.take()
        samples = [*events, *self._tally.take(everything=full), *self._values]
        self._values = []
        if not (samples or full or self._requests):
            return []  # strangers are counted at the interval, not as often as they like
        if not events:
            samples.append(Sample("notified", 0.0))
        samples += self._standing.samples()
        dropped = self._dropped + self._tally.folded
        samples += door_samples(self._door, self._listener, self._requests, dropped)
        samples.append(Sample("truncated", float(self._truncated)))
        self._requests = self._dropped = self._tally.folded = self._truncated = 0
        return samples
