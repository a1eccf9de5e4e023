"""Log lines: how many, which repeat, which hold given words, which are of a kind never seen.

    lines, bytes                 since the last look
    repeated                     lines that were among the last 64 different ones
    matches{name="…"}            lines that hold the text of `contains.NAME`
    templates, templates_new     kinds of lines that are known; how many of them are new
    template_rate{template="…"}  lines of each of the commonest kinds, since the last look
    template_mix, new_burst      lines that were sorted; those of kinds younger than a minute
    canary{name="…"}             times that a token of `canaries` was found, in whatever form
    lost_bytes, unmined          what was too much: never read; read, but not sorted into kinds
    rotated, truncated           files that ended, or were cut or written anew

Without `path` this is the output of a cell: the capped log that `run` tees into, ours, but every
byte in it is the target's. With one it is any file, or those in a folder that match a pattern
(`watch.tail`). Kinds of lines are mined by `watch.drain`; there is no pattern that a hostile
line could make slow. Up to where it has read outlives its eye, so that what is written until
another one looks is counted, too; the kinds do not, and are learnt again.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from offswitch.config.section import Name, SensorSection
from offswitch.control.canary import Canaries
from offswitch.control.inotify import CREATED, MODIFIED, MOVED, Inotify
from offswitch.watch.logs.kinds import Kinds
from offswitch.watch.logs.tail import Piece, Tails
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Logs", "LogsSection"]

_REMEMBERED = 64
_SHOWN = 300
_PLAIN = frozenset({"lines", "bytes", "repeated", "matches"})
_KINDS = frozenset({"templates", "templates_new", "template_rate", "template_mix", "new_burst"})
_LOSSES = frozenset({"lost_bytes", "unmined", "rotated", "truncated"})


class LogsSection(SensorSection):
    """The keys of a log sensor."""

    kind: Literal["logs"]
    path: Annotated[str, Field(pattern=r"^/.*[^/]$", max_length=4096)] | None = None
    """A file, or a pattern (`*`, `?`, `[…]`) in the last part of a path; the target's output
    unless given."""
    files: Annotated[int, Field(ge=1, le=64)] = 16
    """How many files of a pattern are followed, those written last first."""
    contains: dict[Name, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict
    )
    """Texts to look for in each line, by the name that the series bears."""
    templates: bool | None = None
    """Whether lines are sorted into kinds; unless given, those of a `path` are."""
    learn: Annotated[int, Field(ge=0, le=10_000_000)] = 1000
    """How many lines are read before a kind counts as new."""
    top: Annotated[int, Field(ge=0, le=100)] = 8
    """How many of the commonest kinds have a series of their own."""
    canaries: Annotated[str, Field(pattern=r"^/")] | None = None
    """A file that only its owner may read, with tokens that must never appear, one a line."""

    SERIES: ClassVar[frozenset[str]] = _PLAIN | _KINDS | _LOSSES | {"canary"}
    SECRETS: ClassVar[frozenset[str]] = frozenset({"canaries"})

    @model_validator(mode="after")
    def _has_a_plain_folder(self) -> Self:
        if self.path is not None and any(sign in os.path.dirname(self.path) for sign in "*?["):
            raise ValueError("a pattern may stand in the last part of 'path' only")
        return self

    @property
    def mines(self) -> bool:
        """Whether lines are sorted into kinds."""
        return self.path is not None if self.templates is None else self.templates

    def apart(self) -> bool:
        """A file of somebody's own choice gets an eye of its own."""
        return self.path is not None

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; some want a label, some a key."""
        if what == "matches" and labels.get("name") not in self.contains:
            known = ", ".join(self.contains) or "none"
            return (
                f"sensor {self.name} looks for no text of that name in `contains`; known: {known}"
            )
        if what in _KINDS and not self.mines:
            return f"sensor {self.name} sorts no lines into kinds; it wants `templates = true`"
        if what == "canary" and self.canaries is None:
            return f"sensor {self.name} looks for no token; it wants `canaries`"
        return super().problem(what, labels)


class Logs:
    """Reads what was appended to the log of its target, or to the files of a path."""

    Settings: ClassVar[type[LogsSection]] = LogsSection
    SIGNAL: ClassVar[Signal] = Signal.LOGS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = "log"

    __slots__ = (
        "_canaries",
        "_context",
        "_inotify",
        "_kinds",
        "_known",
        "_place",
        "_settings",
        "_tails",
        "_wanted",
        "_watched",
    )

    def __init__(self, settings: LogsSection, context: SensorContext) -> None:
        """Read the log of `settings.target`, or the files of `settings.path`."""
        self._settings = settings
        self._context = context
        self._wanted = {name: text.encode() for name, text in settings.contains.items()}
        secret = context.secrets.get("canaries")
        self._canaries = Canaries.read(secret) if secret is not None else None
        self._tails = Tails(context.memory, self._canaries, settings.files)
        self._kinds = Kinds(context.clock, settings.learn, settings.top) if settings.mines else None
        self._place: tuple[str, str] | None = None
        if settings.path is not None:
            folder, name = os.path.split(settings.path)
            self._place = (os.path.realpath(folder), name)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._watched: list[str] = []
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
        place = self._place
        if place is None:
            cell = self._context.cells.get(self._settings.target)
            if cell is None or cell.log is None:
                return Glance(absent=True)
            folder, name = os.path.split(cell.log)
            place = (os.path.realpath(folder), name)
        try:
            piece = self._tails.look(*place)
            self._hear_of(place[0])
        except OSError as error:
            return Glance(problem=f"the log cannot be read: {error.strerror}")
        if not piece.files:
            return Glance(absent=True)
        return Glance(
            [*self._count(piece), *self._told(piece)],
            note=self._note(piece),
            memory=self._tails.memory(),
        )

    def _hear_of(self, folder: str) -> None:
        """Be woken by appends to what is followed, and by new files of a pattern."""
        names = self._tails.names()
        if self._inotify is None or names == self._watched:
            return
        self._watched = names
        try:
            for name in names:
                self._inotify.add_file(f"{folder}/{name}", MODIFIED)
            if self._settings.path is not None:
                self._inotify.add_folder(folder, CREATED | MOVED)
        except OSError:
            self._watched = []  # replaced meanwhile, or no watch is left: the interval must do

    def _count(self, piece: Piece) -> Iterator[Sample]:
        """Tell of lines, repetitions and texts."""
        repeated = 0
        found: dict[str, list[bytes]] = {name: [] for name in self._wanted}
        for line in piece.lines:
            if line in self._known:
                repeated += 1
                self._known.move_to_end(line)
            else:
                self._known[line] = None
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            for name, text in self._wanted.items():
                if text in line:
                    found[name].append(line)
        skipped = {"skipped_bytes": str(piece.lost)} if piece.lost else {}
        yield Sample("lines", float(len(piece.lines)), detail=skipped)
        yield Sample("bytes", float(piece.bytes))
        yield Sample("repeated", float(repeated))
        for name, hits in found.items():
            shown = {"line": ascii(hits[-1].decode("utf-8", "replace"))[:_SHOWN]} if hits else {}
            yield Sample("matches", float(len(hits)), {"name": name}, shown)

    def _told(self, piece: Piece) -> Iterator[Sample]:
        """Tell of kinds, tokens and losses."""
        if self._kinds is not None:
            yield from self._kinds.sort(piece.lines)
        if self._canaries is not None:
            hits = Counter(piece.canaries)
            for name in self._canaries.names:
                where = {"files": ascii(self._tails.names())[:_SHOWN]} if hits[name] else {}
                yield Sample("canary", float(hits[name]), {"name": name}, where)
        if self._settings.path is not None:
            yield Sample("lost_bytes", float(piece.lost))
            yield Sample("rotated", float(piece.rotated))
            yield Sample("truncated", float(piece.truncated))

    def _note(self, piece: Piece) -> str:
        notes = [f"{piece.omitted} files more match than are followed"] if piece.omitted else []
        if self._kinds is not None:
            notes += self._kinds.notes()
        return "; ".join(notes)

    def close(self) -> None:
        """Close the files and the watch."""
        self._tails.close()
        if self._inotify:
            self._inotify.close()
            self._inotify = None
