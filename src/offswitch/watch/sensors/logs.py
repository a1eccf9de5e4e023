"""A cell's output: how many lines and bytes, which of them repeat, which hold given words.

    lines, bytes                 since the last look
    repeated                     lines that were among the last 64 different ones
    matches{name="…"}            lines that hold the text of `contains.NAME`

The file is the capped log that `run` tees into: ours, but every byte in it is the target's.
Lines are only counted, compared and searched for fixed texts; there is no pattern that a
hostile line could make slow. A line is cut at 8 KiB. When more than 4 MiB came between two
looks the rest is counted as bytes and said to be skipped. Up to where it has read outlives
its eye, so that what is written until another one looks is counted, too.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Name, SensorSection
from offswitch.control.inotify import MODIFIED, Inotify
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Logs", "LogsSection"]

_MOST_A_LOOK = 4 << 20
_LONGEST_LINE = 8192
_REMEMBERED = 64
_SHOWN = 300
_READ_UP_TO = "read up to"


class LogsSection(SensorSection):
    """The keys of a log sensor."""

    kind: Literal["logs"]
    contains: dict[Name, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict
    )
    """Texts to look for in each line, by the name that the series bears."""

    SERIES: ClassVar[frozenset[str]] = frozenset({"lines", "bytes", "repeated", "matches"})

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; `matches` wants the name of a text."""
        if what == "matches" and labels.get("name") not in self.contains:
            known = ", ".join(self.contains) or "none"
            return (
                f"sensor {self.name} looks for no text of that name in `contains`; known: {known}"
            )
        return super().problem(what, labels)


class Logs:
    """Reads what was appended to the log of its target."""

    Settings: ClassVar[type[LogsSection]] = LogsSection
    SIGNAL: ClassVar[Signal] = Signal.LOGS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = "log"

    __slots__ = (
        "_at",
        "_before",
        "_context",
        "_fd",
        "_inotify",
        "_known",
        "_rest",
        "_settings",
        "_wanted",
    )

    def __init__(self, settings: LogsSection, context: SensorContext) -> None:
        """Read the log of `settings.target`."""
        self._settings = settings
        self._context = context
        self._wanted = {name: text.encode() for name, text in settings.contains.items()}
        self._before = context.memory.get(_READ_UP_TO, "")
        self._fd = -1
        self._at = 0
        self._rest = b""
        self._known: OrderedDict[bytes, None] = OrderedDict()
        try:
            self._inotify: Inotify | None = Inotify()
        except OSError:
            # None left on this machine: the interval alone must do.
            self._inotify = None

    def wake(self) -> Sequence[int]:
        """An append wakes it."""
        return (self._inotify.fileno(),) if self._inotify else ()

    def look(self) -> Glance:
        """Read what is new."""
        if self._inotify:
            self._inotify.read()
        cell = self._context.cells.get(self._settings.target)
        if cell is None or cell.log is None:
            return Glance(absent=True)
        try:
            if not self._follow(cell.log):
                return Glance(absent=True)
            data, size = self._read()
        except OSError as error:
            return Glance(problem=f"the log cannot be read: {error.strerror}")
        return self._count(data, size)

    def _follow(self, path: str) -> bool:
        """Open the log, or the new one in its place; false if there is none."""
        try:
            named = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if self._fd >= 0:
            held = os.fstat(self._fd)
            if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
                return True
        if not stat.S_ISREG(named.st_mode):
            raise OSError(0, "it is not a regular file")
        first = self._fd < 0 and not self._before
        fresh = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._let_go()
        self._fd = fresh
        # What stood there before we first looked is the past; a file that took the
        # place of another is new as a whole.
        self._at = os.fstat(fresh).st_size if first else 0
        identity, _, at = self._before.rpartition(":")
        if identity == f"{named.st_dev}:{named.st_ino}" and at.isdecimal():
            self._at = int(at)
        self._before = ""
        self._rest = b""
        if self._inotify:
            self._inotify.add_file(path, MODIFIED)
        return True

    def _read(self) -> tuple[bytes, int]:
        """Give the new bytes, bounded, and how many there were."""
        size = os.fstat(self._fd).st_size
        if size < self._at:
            # Capped: it begins anew.
            self._at, self._rest = 0, b""
        fresh = size - self._at
        data = os.pread(self._fd, min(fresh, _MOST_A_LOOK), self._at)
        self._at = size if fresh > _MOST_A_LOOK else self._at + len(data)
        return data, fresh

    def _count(self, data: bytes, size: int) -> Glance:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        repeated = 0
        found: dict[str, list[bytes]] = {name: [] for name in self._wanted}
        for line in lines:
            cut = line[:_LONGEST_LINE]
            if cut in self._known:
                repeated += 1
                self._known.move_to_end(cut)
            else:
                self._known[cut] = None
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            for name, text in self._wanted.items():
                if text in cut:
                    found[name].append(cut)
        skipped = {"skipped_bytes": str(size - len(data))} if size > len(data) else {}
        samples = [
            Sample("lines", float(len(lines)), detail=skipped),
            Sample("bytes", float(size)),
            Sample("repeated", float(repeated)),
        ]
        for name, hits in found.items():
            shown = {"line": ascii(hits[-1].decode("utf-8", "replace"))[:_SHOWN]} if hits else {}
            samples.append(Sample("matches", float(len(hits)), {"name": name}, shown))
        facts = os.fstat(self._fd)
        held = len(self._rest)
        up_to = f"{facts.st_dev}:{facts.st_ino}:{self._at - held}"
        return Glance(samples, memory={_READ_UP_TO: up_to})

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Close the log and the watch."""
        self._let_go()
        if self._inotify:
            self._inotify.close()
            self._inotify = None
