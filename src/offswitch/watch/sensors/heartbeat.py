"""A program that says "alive", and the alarm when it does not.

    beats          since the last look
    gaps           numbers that were left out since then
    repeats        numbers that came again
    refused        datagrams that were no beat, bore another token, or found no room
    age_seconds    how long ago the last beat was

A beat is a datagram to a Unix socket or a UDP port (`beats`), or a change of a file's time of
modification, which any script can do (`touch`). One that is missing for longer than `within` is a
failure of this source and so a finding, and never *all is well* (MON-2); while the target's cell
does not run none is expected. A UDP port asks for a token, kept in a file that only its owner
can read; whoever can reach the Unix socket's folder can beat.

A flood costs a bounded little: nothing wakes the sensor, and one look takes in 500 datagrams; what
the kernel had no room for is counted as refused. A beat is what a program says of itself: it ends
no finding but that it was missing, unless `spoken_by = "other"` says that another program beats.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.section import Duration, SensorSection, Text
from offswitch.errors import BadConfig
from offswitch.watch.sensors.beats import LONGEST, Beats
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Heartbeat", "HeartbeatSection"]

_MOST_A_LOOK = 500
_RUNS = {"running", "restricted", "draining", "stopping", "frozen"}
_WITHIN_US = 10_000_000
_SO_RXQ_OVFL = 40
_NUMBER = "last number"
_HIGHEST_PORT = 65_535


def _udp(value: str) -> str:
    _address(value)
    return value


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            if port.isdecimal() and 0 < int(port) <= _HIGHEST_PORT:
                return host, int(port)
    raise ValueError('an address and a port, such as "127.0.0.1:9125" or "[::1]:9125"')


Path = Annotated[Text, Field(pattern="^/")]


class HeartbeatSection(SensorSection):
    """The keys of a heartbeat: one of `file`, `socket` and `udp`."""

    kind: Literal["heartbeat"]
    file: Path | None = None
    """A beat is a new time of modification."""
    socket: Annotated[Path, Field(max_length=100)] | None = None
    """The path of a Unix datagram socket that is made for it."""
    udp: Annotated[Text, AfterValidator(_udp)] | None = None
    """Address and port."""
    token: Path | None = None
    """The file with the token that each datagram begins with."""
    within: Duration = _WITHIN_US
    """How long a beat may be missing."""
    spoken_by: Literal["target", "other"] = "target"
    """Whether the target beats for itself (SR-6), or another program for it."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {"beats", "gaps", "repeats", "refused", "age_seconds"}
    )
    SECRETS: ClassVar[frozenset[str]] = frozenset({"token"})

    @property
    def hearsay(self) -> bool:
        """Whether these are the target's own words."""
        return self.spoken_by == "target"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("file", "socket", "udp") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("a heartbeat comes one way: file, socket or udp")
        if self.udp is not None and self.token is None:
            raise ValueError("whoever reaches a UDP port can write to it: name the file of a token")
        return self


class Heartbeat:
    """Waits for the beats of one program."""

    Settings: ClassVar[type[HeartbeatSection]] = HeartbeatSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""

    @classmethod
    def prepare(cls, section: HeartbeatSection) -> int | None:
        """Make the socket while that is allowed; it outlives every eye."""
        made = _made(section)
        return None if made is None else made.detach()

    def __init__(self, settings: HeartbeatSection, context: SensorContext) -> None:
        """Wait at the socket that was prepared, or look at the file."""
        self._settings = settings
        self._context = context
        token = context.secrets.get("token", "")
        number = context.memory.get(_NUMBER, "")
        last = int(number) if number.isdecimal() else None
        self._beats = Beats(token.encode(), last)
        self._lost = 0
        self._beat_us = context.clock.mono_us()
        self._modified: int | None = None
        self._socket: socket.socket | None = None
        if context.descriptor is not None:
            self._socket = socket.socket(fileno=context.descriptor)
        elif settings.file is None:
            self._socket = _made(settings)

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: whoever beats could do it as often as he likes."""
        return ()

    def look(self) -> Glance:
        """Take in what came since."""
        mono_us = self._context.clock.mono_us()
        cell = self._context.cells.get(self._settings.target)
        try:
            beaten = self._from_file() if self._socket is None else self._from_socket(self._socket)
        except OSError as error:
            return Glance(problem=f"no beat can be heard: {error.strerror}")
        if beaten:
            self._beat_us = mono_us
        counts = self._beats.since()
        memory = {} if self._beats.last is None else {_NUMBER: str(self._beats.last)}
        if cell is not None and cell.state not in _RUNS:
            self._beat_us = mono_us
            return Glance(absent=True, memory=memory)
        age_us = mono_us - self._beat_us
        samples = [Sample(what, value) for what, value in counts.items()]
        samples.append(Sample("age_seconds", age_us / 1e6))
        late = age_us > self._settings.within
        problem = f"no beat for {age_us / 1e6:.1f} s" if late else ""
        return Glance(samples, problem=problem, memory=memory)

    def _from_file(self) -> bool:
        assert self._settings.file is not None  # noqa: S101 - the section sees to it
        try:
            facts = os.stat(self._settings.file, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, f"{self._settings.file} is not a regular file")
        before, self._modified = self._modified, facts.st_mtime_ns
        if before == facts.st_mtime_ns:
            return False
        if before is not None:
            self._beats.beats += 1
            return True
        # What stood there before we first looked is as old as it says, if that is believable.
        age_us = self._context.clock.wall_us() - facts.st_mtime_ns // 1000
        self._beat_us -= max(age_us, 0)
        return False

    def _from_socket(self, sock: socket.socket) -> bool:
        beaten = False
        for _ in range(_MOST_A_LOOK):
            try:
                data, ancillary, _flags, _from = sock.recvmsg(LONGEST + 1, 64)
            except BlockingIOError:
                break
            beaten = self._beats.take(data) or beaten
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL) and len(value) >= 4:  # noqa: PLR2004
                    (lost,) = struct.unpack_from("=I", value)
                    self._beats.refused += max(lost - self._lost, 0)
                    self._lost = lost
        return beaten

    def close(self) -> None:
        """Let go of our copy of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _made(section: HeartbeatSection) -> socket.socket | None:
    """Make the socket of a section; None where it is a file that beats."""
    if section.socket is None and section.udp is None:
        return None
    udp = None if section.udp is None else _address(section.udp)
    family = socket.AF_UNIX if udp is None else socket.AF_INET6 if ":" in udp[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        if udp is not None:
            made.bind(udp)
        elif section.socket is not None:
            _take_away(section.socket)
            made.bind(section.socket)
            os.chmod(section.socket, 0o622)  # noqa: S103 - whoever reaches it may beat
    except OSError as error:
        made.close()
        where = section.socket or section.udp
        raise BadConfig(f"{where}: {error.strerror}", "name another place for the beats") from None
    return made


def _take_away(path: str) -> None:
    """Remove the socket that an earlier watch left; anything else is left alone."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(facts.st_mode) and facts.st_uid == os.geteuid():
        os.unlink(path)
