"""The loop's side of the store of readings: an onlooker that hands on, and never waits.

Series have numbers, so that a name crosses once. What the writer does not take in is kept up to
four megabytes and then dropped, counted and told; a writer that died is started again with the
same back-off as an eye.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.errors import OffswitchError
from offswitch.model.finding import Finding
from offswitch.watch.eyes import Bear
from offswitch.watch.nursery import Child
from offswitch.watch.onlookers import Batch
from offswitch.watch.readings.store import MOST_SERIES
from offswitch.watch.readings.writer import WRITER

__all__ = ["ReadingsLink"]

_MOST_WAITING = 4 << 20
_MESSAGE = 2_000
"""Readings in a message: at most some 400 KiB with details."""
_DETAIL_CHARS = 200
_MOST_DETAILS = 8
_SEND_US = 200_000
_LAST_WAIT_S = 1.0
_FIRST_PAUSE_US, _LONGEST_PAUSE_US = 1_000_000, 60_000_000


class ReadingsLink:
    """Hands every reading to the writer of the store."""

    def __init__(self, folder: str, size: int, keep_us: int, clock: Clock, bear: Bear) -> None:
        """Have it written to `folder`, at most `size` bytes and `keep_us` of time."""
        self._first = {"folder": folder, "size": size, "keep_us": keep_us}
        self._clock = clock
        self._bear = bear
        self._child: Child | None = None
        self._sock: socket.socket | None = None
        self._out = bytearray()
        self._numbers: dict[tuple[str, str], int] = {}
        self._fresh: list[list[Any]] = []
        self._rows: list[list[Any]] = []
        self._count = 0
        self._sent_us = 0
        self._pause_us = _FIRST_PAUSE_US
        self._again_us = 0
        self.lost = 0
        """Readings that were not kept since watch began."""

    def take(self, batch: Batch) -> None:
        """Keep a batch until the next message."""
        pairs: list[float | int | None] = []
        details: dict[str, Mapping[str, str]] = {}
        for series, value, detail in batch.samples:
            number = self._number(batch.target, series)
            if number is None:
                self.lost += 1
                continue
            pairs += (number, value if math.isfinite(value) else None)
            if detail:
                short = list(detail.items())[:_MOST_DETAILS]
                details[str(len(pairs) // 2 - 1)] = {
                    name: text[:_DETAIL_CHARS] for name, text in short
                }
            if len(pairs) >= 2 * _MESSAGE:
                self._row(batch.wall_us, pairs, details)
                pairs, details = [], {}
        self._row(batch.wall_us, pairs, details)

    def _row(self, wall_us: int, pairs: list[Any], details: Mapping[str, Any]) -> None:
        if not pairs:
            return
        self._rows.append([wall_us, pairs, details])
        self._count += len(pairs) // 2
        if self._count >= _MESSAGE:
            self._send()

    def _number(self, target: str, series: str) -> int | None:
        key = (target, series)
        number = self._numbers.get(key)
        if number is None and len(self._numbers) < MOST_SERIES:
            number = self._numbers[key] = len(self._numbers)
            self._fresh.append([number, target, series])
        return number

    def turn(self, mono_us: int, wall_us: int) -> Sequence[Finding]:
        """Send what is due; start the writer if there is none."""
        del wall_us
        if self._sock is None and mono_us >= self._again_us:
            self._start(mono_us)
        if mono_us - self._sent_us >= _SEND_US:
            self._sent_us = mono_us
            self._send()
            self._listen()
        return ()

    def _start(self, mono_us: int) -> None:
        if self._child is not None:
            self._child.poll()
        self._again_us = mono_us + self._pause_us
        self._pause_us = min(2 * self._pause_us, _LONGEST_PAUSE_US)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._child = self._bear(theirs.fileno(), WRITER)
        except OSError:
            ours.close()
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self._out = bytearray(frames.encode(self._first))
        self._fresh = [[number, *key] for key, number in self._numbers.items()]
        self._send()

    def _send(self) -> None:
        """Make a message of what waits, and hand over what the writer takes."""
        if self._sock is None:
            self.lost += self._count
        elif self._rows or self._fresh:
            if len(self._out) > _MOST_WAITING:
                self.lost += self._count
            else:
                self._encode()
        self._rows, self._count = [], 0
        self._flush()

    def _encode(self) -> None:
        for at in range(0, len(self._fresh), _MESSAGE):
            names = {"names": self._fresh[at : at + _MESSAGE]}
            self._out += frames.encode(names, frames.MAX_ANSWER)
        self._fresh = []
        try:
            self._out += frames.encode({"rows": self._rows}, frames.MAX_ANSWER)
        except OffswitchError:
            self.lost += self._count

    def _flush(self) -> None:
        while self._sock is not None and self._out:
            try:
                sent = self._sock.send(self._out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self._lose()
                return
            del self._out[:sent]

    def _listen(self) -> None:
        """See whether it still lives; what it says is not needed."""
        if self._sock is None:
            return
        try:
            if not self._sock.recv(4096):
                self._lose()
            else:
                self._pause_us = _FIRST_PAUSE_US
        except BlockingIOError:
            pass
        except OSError:
            self._lose()

    def _lose(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._out.clear()
        if self._child is not None:
            self._child.kill()
            self._child.poll()

    def close(self) -> None:
        """Let the writer commit and end."""
        self._send()
        sock, self._sock = self._sock, None
        if sock is None:
            return
        sock.settimeout(_LAST_WAIT_S)
        try:
            sock.sendall(self._out)
        except OSError:
            self.lost += 1
        sock.close()
