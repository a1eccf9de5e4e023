"""An eye: a process that hosts sensors, so that what is hostile is looked at apart.

    python -I -m offswitch.watch.eye --link FD --needs files,processes

Over the link come `{"open": {settings of a sensor}, "memory": {…}, "secrets": {…}, "problem",
"fds": ["evidence", "descriptor"]}` (with the descriptors that `fds` names),
`{"close": [name, target]}` and `{"cells": {target: facts}}`. Back go, as soon as they are there,
`{"sensor", "target", "mono_us", "wall_us", "samples", "problem", "absent", "note", "memory"}`, in
messages of bounded size, whatever a target has written.
The end of the link is the end of the eye.

A sensor looks when its descriptor wakes it, when it asked to look again, and at its
interval. One that raises has failed at that look, and says so; it is not retried faster.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import os
import select
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from offswitch.clock import Clock, SystemClock
from offswitch.config.section import SensorSection
from offswitch.control import frames
from offswitch.errors import OffswitchError
from offswitch.plugins import SENSORS, installed
from offswitch.watch.confine import confine
from offswitch.watch.evidence import Evidence
from offswitch.watch.prepared import import_ours
from offswitch.watch.sensors.contract import CellFacts, Glance, Need, Sample, Sensor, SensorContext
from offswitch.watch.sensors.unprepared import Unprepared

__all__ = ["main", "serve"]

_BATCH_CHARS = 100_000
"""In a message, beside at most 61,440 that are to be remembered: JSON takes six bytes at the most
to spell one, and a frame has a megabyte."""
_LONGEST_TEXT = 1000
_MOST_PAIRS = 16
_MOST_REMEMBERED = 512
_LONGEST_REMEMBERED = 60
_LINK_TIMEOUT_S = 5.0
_COARSEST_US = 50_000
_GRAIN = 8
"""Looks are due on a grid of an eighth of their interval, 50 ms at the most: those of many targets
fall together, and the eye and the loop wake up once for all of them."""
_MOST_GATHERED = 1 << 18


@dataclass(slots=True)
class _Seat:
    """One sensor and when it looks next."""

    section: SensorSection
    sensor: Sensor
    evidence: Evidence | None
    due_us: int


class Eye:
    """Hosts sensors and sends what they see."""

    def __init__(self, link: socket.socket, clock: Clock) -> None:
        """Serve the link; the kinds of sensors are those that are installed."""
        self._link = link
        self._clock = clock
        self._kinds = installed(SENSORS)
        self._cells: dict[str, CellFacts] = {}
        self._seats: dict[tuple[str, str], _Seat] = {}
        self._shared: dict[str, Any] = {}
        self._said = bytearray()

    def serve(self) -> None:
        """Look and listen until the link ends."""
        while True:
            woken = self._wait()
            if self._link.fileno() in woken and not self._take():
                return
            now_us = self._clock.mono_us()
            for seat in list(self._seats.values()):
                called = bool(woken) and any(fd in woken for fd in seat.sensor.wake())
                if called or seat.due_us <= now_us:
                    self._look(seat)
                    if called or len(self._said) > _MOST_GATHERED:
                        self._flush()  # what just happened waits for nobody's turn
            self._flush()

    def _wait(self) -> set[int]:
        """Wait for the link, for what wakes a sensor, or for the next look."""
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        for seat in self._seats.values():
            for fd in seat.sensor.wake():
                poller.register(fd, select.POLLIN | select.POLLPRI)
        due_us = min((seat.due_us for seat in self._seats.values()), default=None)
        wait_ms = None if due_us is None else max(due_us - self._clock.mono_us(), 0) / 1000
        return {fd for fd, _events in poller.poll(wait_ms)}

    def _take(self) -> bool:
        """Take one message of the loop's; false at the end of the link."""
        received = frames.receive(self._link)
        if received is None:
            return False
        message, fds = received
        if "cells" in message:
            self._cells.clear()
            for target, facts in message["cells"].items():
                path, pids, log = facts["path"], tuple(facts["pids"]), facts["log"]
                state, report, uid = facts["state"], facts["report"], facts["uid"]
                self._cells[target] = CellFacts(path, pids, log, state, report, uid)
        if "open" in message:
            self._open(message, dict(zip(message["fds"], fds, strict=True)))
        if "close" in message:
            seat = self._seats.pop((message["close"][0], message["close"][1]), None)
            if seat is not None:
                seat.sensor.close()
        return True

    def _open(self, message: Mapping[str, Any], fds: Mapping[str, int]) -> None:
        raw = message["open"]
        cls = self._kinds[raw["kind"]].cls
        section: SensorSection = cls.Settings.model_validate(raw)
        evidence = Evidence(fds["evidence"]) if "evidence" in fds else None
        context = SensorContext(
            self._clock,
            self._cells,
            evidence,
            message["memory"],
            message["secrets"],
            fds.get("descriptor"),
            self._shared,
        )
        problem = message["problem"]
        sensor: Sensor = Unprepared(problem) if problem else cls(section, context)
        key = (section.name, section.target)
        self._seats[key] = _Seat(section, sensor, evidence, self._clock.mono_us())

    def _look(self, seat: _Seat) -> None:
        try:
            glance = seat.sensor.look()
        except Exception as error:  # noqa: BLE001 - a plugin's edge: it has failed, and is said to
            glance = Glance(problem=f"the sensor failed: {error!r}"[:500])
        every_us = seat.section.every
        wait_us = every_us if glance.again_us is None else min(glance.again_us, every_us)
        self._send(seat, glance)
        due_us = self._clock.mono_us() + wait_us
        grain = min(wait_us // _GRAIN, _COARSEST_US) or 1
        seat.due_us = -(-due_us // grain) * grain

    def _send(self, seat: _Seat, glance: Glance) -> None:
        """Send what was seen, if it says anything."""
        if not (glance.samples or glance.problem or glance.absent):
            return
        lost = seat.evidence.problem if seat.evidence is not None else ""
        head = {
            "sensor": seat.section.name,
            "target": seat.section.target,
            "mono_us": self._clock.mono_us(),
            "wall_us": self._clock.wall_us(),
            "problem": _plain(glance.problem),
            "absent": glance.absent,
            "note": _plain("; ".join(filter(None, (glance.note, lost)))),
            "memory": _texts(glance.memory, _MOST_REMEMBERED, _LONGEST_REMEMBERED),
        }
        for batch in _batches(glance.samples):
            self._said += frames.encode({**head, "samples": batch})

    def _flush(self) -> None:
        """Hand over what was said."""
        if self._said:
            self._link.sendall(self._said)
            self._said.clear()


def _batches(samples: Sequence[Sample]) -> Iterator[list[list[Any]]]:
    """Cut so that a frame never grows too long; one empty batch where there is nothing."""
    batch: list[list[Any]] = []
    room = _BATCH_CHARS
    for sample in samples:
        fresh, size = _sample(sample)
        if size > room and batch:
            yield batch
            batch, room = [], _BATCH_CHARS
        batch.append(fresh)
        room -= size
    yield batch


def _sample(sample: Sample) -> tuple[list[Any], int]:
    """Spell a sample; gives also about how many characters that takes."""
    # JSON knows no "not a number": None says that the value cannot be known.
    value = None if math.isnan(sample.value) else sample.value
    labels, detail = _texts(sample.labels, _MOST_PAIRS), _texts(sample.detail, _MOST_PAIRS)
    size = 100 + sum(
        len(key) + len(text) for part in (labels, detail) for key, text in part.items()
    )
    return [_plain(sample.what), value, labels, detail], size


def _texts(given: Mapping[str, str], most: int, longest: int = _LONGEST_TEXT) -> dict[str, str]:
    pairs = islice(given.items(), most)
    return {_plain(key, longest): _plain(text, longest) for key, text in pairs}


def _plain(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Make text that every encoder takes: what is no UTF-8 is escaped; nothing long."""
    if text.isascii():
        return text[:longest]
    return text.encode("utf-8", "backslashreplace").decode()[:longest]


def serve(fd: int, needs: str) -> int:
    """Give rights away but for `needs`, then serve the link `fd` until it ends."""
    with socket.socket(fileno=fd) as link:
        link.settimeout(_LINK_TIMEOUT_S)
        eye = Eye(link, SystemClock())
        refused = confine([Need(word) for word in needs.split(",") if word])
        os.umask(0o077)
        # Rows come and go by the ten thousand, never in cycles: the collector would only
        # stand between a write and its discovery.
        gc.freeze()
        gc.set_threshold(200_000, 50, 50)
        try:
            frames.send(link, {"ready": os.getpid(), "refused": refused})
            eye.serve()
        except (OSError, OffswitchError, ValueError, KeyError) as error:
            sys.stderr.write(f"offswitch eye: {error!r}\n")
            sys.stderr.flush()
            return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one link until it ends."""
    parser = argparse.ArgumentParser(prog="offswitch.watch.eye")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--needs", default="")
    parser.add_argument("--imports", default="")
    given = parser.parse_args(argv)
    if given.imports:
        import_ours()
    for module in filter(None, given.imports.split(",")):
        importlib.import_module(module)
    return serve(given.link, given.needs)


if __name__ == "__main__":
    sys.exit(main())
