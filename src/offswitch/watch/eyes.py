"""The loop's side of an eye: start it, speak with it, replace it when it dies or hangs."""

from __future__ import annotations

import array
import os
import select
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from offswitch.clock import Clock
from offswitch.control import frames
from offswitch.errors import OffswitchError
from offswitch.watch.sensors.contract import Need

__all__ = ["EyeLink"]

_CHUNK = 1 << 18
_FIRST_PAUSE_US = 100_000
_LONGEST_PAUSE_US = 5_000_000
_WELL_US = 10_000_000
_PATIENCE_S = 0.02
_LAST_WAIT_S = 1.0

Message = dict[str, Any]


class EyeLink:
    """One eye, through all its lives."""

    def __init__(self, name: str, needs: Collection[Need], clock: Clock) -> None:
        """Name an eye and what its sensors need; `start` brings it up."""
        self.name = name
        self._needs = ",".join(sorted(needs))
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._dying: list[subprocess.Popen[bytes]] = []
        self._sock: socket.socket | None = None
        self._decoder = frames.Decoder()
        self._open: dict[tuple[str, str], tuple[Message, str | None]] = {}
        self._cells: Message = {}
        self._pause_us = _FIRST_PAUSE_US
        self._again_us = 0
        self._started_us = 0
        self.ready = False
        """Whether its present life has given its rights away and looks."""
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
        fd = theirs.fileno()
        command = [sys.executable, "-I", "-m", "offswitch.watch.eye"]
        command += ["--link", str(fd), "--needs", self._needs]
        self._started_us = self._clock.mono_us()
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(fd,), start_new_session=True
            )
        except OSError:
            # No process is left to us just now: later, then.
            ours.close()
            self.lose()
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self._decoder = frames.Decoder()
        self.ready = False
        self._send({"cells": self._cells})
        for section, evidence in self._open.values():
            self._send_open(section, evidence)

    def open(self, section: Message, evidence: str | None) -> None:
        """Have a sensor opened; `evidence` is the file that its before-images go to."""
        self._open[section["name"], section["target"]] = (section, evidence)
        self._send_open(section, evidence)

    def close_sensor(self, name: str, target: str) -> None:
        """Have a sensor closed."""
        if self._open.pop((name, target), None) is not None:
            self._send({"close": [name, target]})

    def tell_cells(self, cells: Mapping[str, Message]) -> None:
        """Tell what the warden says of the cells."""
        if cells != self._cells:
            self._cells = dict(cells)
            self._send({"cells": self._cells})

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
            self.lose()
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

    def lose(self) -> None:
        """Give the present life up: it died, it hung, or it spoke nonsense."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
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
        if self._sock is not None or self._clock.mono_us() < self._again_us:
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

    def _send_open(self, section: Message, evidence: str | None) -> None:
        if self._sock is None:
            return
        fds: tuple[int, ...] = ()
        if evidence is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                fds = (os.open(evidence, flags, 0o600),)
            except OSError:
                fds = ()
        try:
            self._send({"open": section}, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send; an eye that takes nothing in for 20 ms is as good as dead."""
        sock = self._sock
        if sock is None:
            return
        data = frames.encode(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            while data:
                try:
                    data = data[sock.sendmsg([data], rights, socket.MSG_NOSIGNAL) :]
                    rights = []
                except BlockingIOError:
                    if not select.select([], [sock], [], _PATIENCE_S)[1]:
                        raise
        except OSError:
            self.lose()
