"""The loop's side of an eye: start it, speak with it, replace it when it dies or hangs.

What an eye does not take in at once waits here, so that a long look of its holds nobody up;
of the cells, of which there may be many, only the latest word waits, and only of those that
its sensors are about. One that takes nothing at all for five seconds is as good as dead.

What a sensor said last that another life of it must know is handed to that life.
"""

from __future__ import annotations

import array
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.errors import OffswitchError
from offswitch.watch.nursery import Child, launched
from offswitch.watch.prepared import NOTHING, Prepared
from offswitch.watch.sensors.contract import Need

__all__ = ["Bear", "EyeLink"]

_CHUNK = 1 << 18
_FIRST_PAUSE_US = 100_000
_LONGEST_PAUSE_US = 5_000_000
_WELL_US = 10_000_000
_PATIENCE_US = 5_000_000
_STARTING_US = 5_000_000
"""How much longer a fresh one may take: it imports first."""
_LAST_WAIT_S = 1.0
_MOST_REMEMBERED = 512
_LONGEST_REMEMBERED = 60

Message = dict[str, Any]
Bear = Callable[[int, str], Child]
"""Starts an eye that serves a link and needs so much."""


class EyeLink:
    """One eye, through all its lives."""

    def __init__(
        self, name: str, needs: Collection[Need], clock: Clock, bear: Bear = launched
    ) -> None:
        """Name an eye and what its sensors need; `start` brings it up, by `bear`."""
        self._bear = bear
        self.name = name
        self._needs = frozenset(needs)
        self._clock = clock
        self._process: Child | None = None
        self._dying: list[Child] = []
        self._sock: socket.socket | None = None
        self._decoder = frames.Decoder()
        self._open: dict[tuple[str, str], tuple[Message, str | None, Prepared]] = {}
        self._memory: dict[tuple[str, str], dict[str, str]] = {}
        self._cells: Message = {}
        self._cells_told = True
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque()
        """What waits to be taken in, each with the descriptors that go with its first byte."""
        self._stuck_us = 0
        self._pause_us = _FIRST_PAUSE_US
        self._again_us = 0
        self._started_us = 0
        self._rests = False
        self.ready = False
        """Whether its present life has given its rights away and looks."""
        self.lives = 0
        """How often it was started."""
        self.lost = ""
        """Why its last life was given up."""
        self.refused: tuple[str, ...] = ()
        """What the kernel refused when the eye gave its rights away."""

    @property
    def pid(self) -> int | None:
        """The process of its present life."""
        return self._process.pid if self._process is not None else None

    def fileno(self) -> int | None:
        """The descriptor that becomes readable when the eye says something."""
        return self._sock.fileno() if self._sock is not None else None

    def start(self) -> None:
        """Start the process and tell it everything again."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._started_us = self._clock.mono_us()
        try:
            self._process = self._bear(theirs.fileno(), ",".join(sorted(self._needs)))
        except OSError:
            # No process is left to us just now: later, then.
            ours.close()
            self.lose("it could not be started")
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self._decoder = frames.Decoder()
        self._stuck_us = self._started_us + _STARTING_US
        self.ready = False
        self.lives += 1
        self._cells_told = False
        for opened in self._open.values():
            self._send_open(*opened)
        self.flush()

    def need(self, needs: Collection[Need]) -> None:
        """Let it keep what one more sensor needs, from its next start on."""
        self._needs |= frozenset(needs)

    def open(self, section: Message, evidence: str | None, prepared: Prepared = NOTHING) -> None:
        """Have a sensor opened; `evidence` is the file that its before-images go to."""
        if self._rests:
            self._rests, self._again_us = False, 0
        self._open[section["name"], section["target"]] = (section, evidence, prepared)
        self._send_open(section, evidence, prepared)

    def close_sensor(self, name: str, target: str) -> None:
        """Have a sensor closed."""
        self._memory.pop((name, target), None)
        if self._open.pop((name, target), None) is not None:
            self._send({"close": [name, target]})

    def rest(self) -> None:
        """Let the process go until a sensor is opened again: there is nothing to look at."""
        self._open.clear()
        self._rests = True
        self.lose("nothing is left for it to look at")

    def tell_cells(self, cells: Mapping[str, Message]) -> None:
        """Tell what the warden says of the cells of its sensors' targets."""
        targets = {target for _name, target in self._open}
        ours = {target: _facts(cells[target]) for target in targets & cells.keys()}
        if ours != self._cells:
            self._cells, self._cells_told = ours, False
            self.flush()

    def remember(self, key: tuple[str, str], memory: Mapping[str, object]) -> None:
        """Keep what the next life of a sensor must know; bounded, and only handed back."""
        if key in self._open and memory:
            self._memory[key] = {
                str(name)[:_LONGEST_REMEMBERED]: str(text)[:_LONGEST_REMEMBERED]
                for name, text in islice(memory.items(), _MOST_REMEMBERED)
            }

    def messages(self) -> list[Message]:
        """Give what the eye has said since the last call; a dead one says nothing more."""
        if self._sock is None:
            return []
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.lose("it died")
            return []
        try:
            said = self._decoder.feed(data)
        except OffswitchError:
            self.lose()
            return []
        for message in said:
            if "ready" in message:
                self.ready = True
                self.refused = tuple(str(one) for one in message.get("refused", ()))
        return [message for message in said if "samples" in message]

    def lose(self, why: str = "it spoke nonsense") -> None:
        """Give the present life up: it died, it hung, or it spoke nonsense."""
        self.lost = why
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        for _data, fds in self._out:
            for fd in fds:
                os.close(fd)
        self._out.clear()
        if self._process is not None:
            self._process.kill()
            # One that hangs in the kernel dies later: waiting for it would blind the loop.
            self._dying.append(self._process)
            self._process = None
        now_us = self._clock.mono_us()
        well = now_us - self._started_us > _WELL_US
        self._pause_us = _FIRST_PAUSE_US if well else min(2 * self._pause_us, _LONGEST_PAUSE_US)
        self._again_us = now_us + self._pause_us

    def revive(self) -> bool:
        """Start it again if it is dead and its pause is over; tells whether it did."""
        self._dying = [process for process in self._dying if process.poll() is None]
        if self._sock is not None or self._rests or self._clock.mono_us() < self._again_us:
            return False
        self.start()
        return True

    def end(self) -> None:
        """End it for good."""
        self._open.clear()
        self.lose()
        for process in self._dying:
            try:
                process.wait(_LAST_WAIT_S)
            except subprocess.TimeoutExpired:
                continue
        self._dying = []

    def _send_open(self, section: Message, evidence: str | None, prepared: Prepared) -> None:
        if self._sock is None:
            return
        fds: dict[str, int] = {}
        with suppress(OSError):  # it looks all the same
            if evidence is not None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                fds["evidence"] = os.open(evidence, flags, 0o600)
            if prepared.descriptor is not None:
                fds["descriptor"] = os.dup(prepared.descriptor)
        message = {
            "open": section,
            "memory": self._memory.get((section["name"], section["target"]), {}),
            "secrets": dict(prepared.secrets),
            "problem": prepared.problem,
            "fds": list(fds),
        }
        self._send(message, tuple(fds.values()))

    def _send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send what must arrive in order; `fds` are ours to close."""
        if self._sock is None:
            return
        self._out.append((frames.encode(message, frames.MAX_ANSWER), fds))
        self.flush()

    @property
    def writing(self) -> bool:
        """Whether something waits to be taken in."""
        return bool(self._out)

    def flush(self) -> None:
        """Hand over what it takes; give it up once it has taken nothing for five seconds."""
        while self._sock is not None and (self._out or not self._cells_told):
            if not self._out:
                self._cells_told = True
                whole = frames.encode({"cells": self._cells}, frames.MAX_ANSWER)
                self._out.append((whole, ()))
            data, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                if self._clock.mono_us() - self._stuck_us > _PATIENCE_US:
                    self.lose("it took nothing in")
                return
            except OSError:
                self.lose("it died")
                return
            self._stuck_us = max(self._stuck_us, self._clock.mono_us())
            for fd in fds:
                os.close(fd)
            self._out.popleft()
            if sent < len(data):
                self._out.appendleft((data[sent:], ()))


def _facts(row: Mapping[str, Any]) -> Message:
    """Cut what the warden says of a cell down to what sensors need."""
    path = row.get("path")
    return {
        "path": path,
        "pids": [] if path else list(row.get("pids") or [])[:4096],
        "log": row.get("log"),
        "report": row.get("report"),
        "uid": row.get("uid"),
        "state": str(row.get("state", "")),
    }
