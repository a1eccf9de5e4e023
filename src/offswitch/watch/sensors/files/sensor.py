"""Files below a path: what is deleted, overwritten, renamed, and how each can be had again.

    deleted, overwritten, renamed     since the last look, for `rate`
    created, modified                 the same: what only came, or grew
    unrestorable                      deleted or overwritten, and neither git nor a snapshot has it
    canary{name="…"}                  1 if a token of `canaries` was written into a file
    lost                              times that the kernel dropped events

What counts as destroyed, and what as how editors save, is said in `file_shadow`; whether it can be
had again in `watch.restore`. A file that is younger than `settled` is not *unrestorable*: what
a program makes and clears away by itself is no loss. When a repository that had files goes
itself, all that it had count from then on.

A look that is due tells at once; what takes longer (reading what was written, searching
packs) comes with the next, a moment later. Each loss is a line of the evidence file, with the
command that restores it. After lost events, or where a folder could not be watched, the
sensor has *failed* until everything was compared with what was known: never is all well.
Where nothing is lost, which on a busy file system is often, it looks three hundred times a
second at the most.
"""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Duration, SensorSection
from offswitch.control.canary import Canaries
from offswitch.printable import printable
from offswitch.watch.rows.shadow import Change
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.files import fanotify
from offswitch.watch.sensors.files.actor import Actors
from offswitch.watch.sensors.files.events import ByFanotify, ByInotify
from offswitch.watch.sensors.files.restore import Origin, Restorer, snapshots_of
from offswitch.watch.sensors.files.shadow import Loss, Shadow
from offswitch.watch.sensors.files.tree import Tree

__all__ = ["Files", "FilesSection"]

_KINDS = ("deleted", "overwritten", "renamed", "created", "modified")
_DESTRUCTIVE = frozenset({"deleted", "overwritten"})
_SHOWN = 12
_SHOWN_PATH = 300
_SHOWN_COMMAND = 600
_STEP_US = 4_000
_DECIDE_US = 3_000
_A_BREATH_US = 1_000
_REST_US = 3_000
_TELL_US = 20_000
"""How often what only came or grew is told."""
_URGENT = frozenset({"deleted", "overwritten", "renamed", "canary"})
_COLUMNS = ("size", "blob", "by", "to", "restore")
_FILES = "files"
_IGNORE = (
    ".git",
    "node_modules",
    "__pycache__",
    ".venv",
    ".cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    "*.pyc",
    "*.swp",
    "*~",
)


class FilesSection(SensorSection):
    """The keys of a files sensor."""

    kind: Literal["files"]
    path: Annotated[str, Field(pattern=r"^/(.*[^/])?$", max_length=2048)]
    """The folder; all below it on the same file system is watched."""
    ignore: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)
    ] = Field(default_factory=lambda: list(_IGNORE))
    """Names, or patterns of names, of files and folders that do not count, with all below."""
    only_target: bool = False
    """Whether what other processes did is left out, where that can be told."""
    max_files: Annotated[int, Field(ge=1, le=2_000_000)] = 100_000
    """How many files are known; of those beyond, only deletions are heard of."""
    settled: Duration = 300_000_000
    """How old a file must be for its loss to count as one that cannot be restored."""
    snapshots: Annotated[list[Annotated[str, Field(pattern=r"^/")]], Field(max_length=16)] = Field(
        default_factory=list
    )
    """Patterns of folders that hold what was below `path` earlier."""

    canaries: Annotated[str, Field(pattern=r"^/")] | None = None
    """A file that only its owner may read, with tokens that must never appear, one a line."""

    SERIES: ClassVar[frozenset[str]] = frozenset({*_KINDS, "unrestorable", "lost", "canary"})
    SECRETS: ClassVar[frozenset[str]] = frozenset({"canaries"})

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; `canary` wants tokens."""
        if what == "canary" and self.canaries is None:
            return f"sensor {self.name} looks for no token; it wants `canaries`"
        return super().problem(what, labels)


class Files:
    """Follows the files below a path."""

    Settings: ClassVar[type[FilesSection]] = FilesSection
    SIGNAL: ClassVar[Signal] = Signal.DATA
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""

    @classmethod
    def prepare(cls, section: FilesSection) -> int | None:
        """Open a fanotify group while we are root; None: inotify must do."""
        with suppress(OSError):
            return fanotify.open_group(section.path)
        return None

    __slots__ = (
        "_actors",
        "_by_git",
        "_canaries",
        "_checked_us",
        "_compared",
        "_context",
        "_events",
        "_expected",
        "_fresh",
        "_kept",
        "_lost",
        "_origins",
        "_owes",
        "_path",
        "_rest_until_us",
        "_restorer",
        "_settings",
        "_shadow",
        "_told_us",
        "_unrestorable",
        "_waiting",
    )

    def __init__(self, settings: FilesSection, context: SensorContext) -> None:
        """Watch `settings.path`; by the descriptor of `context` if there is one."""
        self._settings = settings
        self._context = context
        self._path = os.path.realpath(settings.path)
        self._actors = Actors(settings.target, context.cells)
        self._restorer = Restorer(snapshots_of(self._path, settings.snapshots))
        secret = context.secrets.get("canaries")
        self._canaries = Canaries.read(secret) if secret is not None else None
        self._shadow: Shadow | None = None
        self._events: ByFanotify | ByInotify | None = None
        self._waiting: deque[Loss] = deque()
        """Losses of which it is not known yet whether they can be had again."""
        self._fresh: list[Loss] = []
        """Losses that were not told yet."""
        self._origins: dict[Loss, Origin | None] = {}
        """What was found out before its turn, because it is shown."""
        self._kept: list[Change] = []
        self._unrestorable: list[Loss | str] = []
        self._by_git: Counter[str] = Counter()
        self._lost = self._compared = 0
        self._owes = False
        self._told_us = self._checked_us = self._rest_until_us = 0
        files = context.memory.get(_FILES, "")
        self._expected = int(files) if files.isdecimal() else 0

    def wake(self) -> Sequence[int]:
        """A happening wakes it, unless it rests from those of others."""
        if self._events is None or self._context.clock.mono_us() < self._rest_until_us:
            return ()
        return (self._events.fileno(),)

    def look(self) -> Glance:
        """Hear what happened; tell at once what was destroyed, and read the rest afterwards."""
        try:
            shadow = self._shadow if self._shadow is not None else self._open()
        except FileNotFoundError:
            if not self._told_us:
                return Glance(absent=True)
            return self._failed("is gone")
        except OSError as error:
            return self._failed(f"cannot be watched: {error.strerror}")
        now_us = self._context.clock.mono_us()
        if now_us - self._checked_us >= self._settings.every:
            self._checked_us = now_us
            self._repositories_lost()
            if shadow.tree.replaced():
                return self._gone(shadow)
        assert self._events is not None  # noqa: S101 - opened with the shadow
        self._actors.forget()
        happenings = self._events.read()
        shadow.apply(happenings)
        if self._events.lost > self._compared:
            self._compared = self._events.lost
            shadow.compare()
        self._take(shadow)
        urgent = bool(shadow.counts.keys() & _URGENT) or self._compared > self._lost
        if urgent and not self._owes:
            self._owes = True
            return self._tell(shadow, now_us, again_us=0)
        self._owes = False
        shadow.step(_STEP_US)
        self._after(shadow)
        self._take(shadow)
        self._decide(now_us)
        self._keep(idle=not happenings)
        urgent = bool(shadow.counts.keys() & _URGENT or self._unrestorable)
        again_us = self._again(shadow, now_us, calm=not urgent)
        due = now_us - self._told_us >= self._settings.every * 9 // 10
        rested = now_us - self._told_us >= _TELL_US
        if urgent or due or (shadow.counts and rested):
            return self._tell(shadow, now_us, again_us=again_us)
        if shadow.counts and (again_us is None or again_us > _TELL_US):
            again_us = _TELL_US
        return Glance(again_us=again_us)

    def _open(self) -> Shadow:
        settings = self._settings
        tree = Tree(self._path, self._canaries)
        ignore = settings.ignore
        shadow = Shadow(tree, self._context.clock, ignore, settings.max_files, self._restorer.meet)
        at = self._path
        while at != "/":
            self._restorer.meet(at)
            at = os.path.dirname(at)
        group = self._context.descriptor
        if group is not None and group >= 0:
            self._events = ByFanotify(os.dup(group), tree, shadow.meet)
            try:
                self._events.know(shadow.tree.root)
            except OSError:  # a file system without handles
                self._events.close()
                self._events = None
        if self._events is None:
            self._events = ByInotify(tree)
            self._events.know(shadow.tree.root)
        shadow.begin(self._events, self._counts)
        self._shadow = shadow
        self._lost = self._compared = 0
        return shadow

    def _counts(self, pid: int) -> bool:
        return not self._settings.only_target or not self._actors.is_other(pid)

    def _again(self, shadow: Shadow, now_us: int, *, calm: bool) -> int | None:
        """Say how soon to look again; after a look without a loss it rests a little."""
        assert self._events is not None  # noqa: S101 - opened with the shadow
        if shadow.comparing or self._waiting or self._events.more:
            return 0
        if shadow.holds or (isinstance(self._events, ByInotify) and self._events.halves):
            return _A_BREATH_US
        if calm and (self._events.stirred or shadow.busy):
            self._rest_until_us = now_us + _REST_US
            return _REST_US
        return _A_BREATH_US if self._kept or shadow.busy else None

    def _after(self, shadow: Shadow) -> None:
        """Once all is compared again nothing is lost any more; compare with the life before."""
        assert self._events is not None  # noqa: S101 - opened with the shadow
        if shadow.comparing:
            return
        if self._expected and shadow.settled:
            if isinstance(self._events, ByInotify) and shadow.tree.files < self._expected:
                gone = self._expected - shadow.tree.files
                shadow.counts["deleted"] += gone
                self._unrestorable.append(f"{gone} files fewer than when somebody last looked")
            self._expected = 0

    def _gone(self, shadow: Shadow) -> Glance:
        """The folder itself is gone, or another one took its place: all that was known is gone."""
        shadow.clear()
        self._take(shadow)
        told = self._tell(shadow, self._checked_us, again_us=0)
        self._let_go()
        return replace(told, problem=f"{self._settings.path} is gone")

    def _failed(self, why: str) -> Glance:
        self._decide(self._context.clock.mono_us())
        self._keep(idle=True)
        again_us = 0 if self._waiting else None
        return Glance(problem=f"{self._settings.path} {why}", again_us=again_us)

    def _take(self, shadow: Shadow) -> None:
        """Take over what was lost since the last time."""
        for loss in shadow.losses:
            loss.by = self._actors.name(loss.pid)
        self._waiting += shadow.losses
        self._fresh += shadow.losses
        shadow.losses = []

    # --- how it can be had again ----------------------------------------------------

    def _repositories_lost(self) -> None:
        for path in self._restorer.lost():
            files = self._by_git.pop(path, 0)
            if files:
                said = f"the repository {path} is gone, which had {files} of what was destroyed"
                self._unrestorable += [said] * files

    def _decide(self, now_us: int) -> None:
        """Find out for the next losses whether they can be had again, for a while at the most."""
        clock = self._context.clock
        end_us = clock.mono_us() + _DECIDE_US
        while self._waiting and clock.mono_us() < end_us:
            loss = self._waiting.popleft()
            origin = self._origin(loss)
            self._origins.pop(loss, None)
            if loss.what in _DESTRUCTIVE:
                born_us = loss.facts.born_us if loss.facts is not None else 0
                if origin is not None and origin.repository:
                    self._by_git[origin.repository] += 1
                elif origin is None and (not born_us or now_us - born_us > self._settings.settled):
                    self._unrestorable.append(loss)
            facts = loss.facts
            before = (
                facts.size if facts is not None else None,
                facts.blob if facts is not None else None,
                loss.by,
                loss.to,
                origin.command if origin is not None else "",
            )
            self._kept.append(Change(self._path, loss.what, _COLUMNS, loss.path, before, None))

    def _origin(self, loss: Loss) -> Origin | None:
        """Say how a loss can be had again; a rename by renaming it back."""
        if loss in self._origins:
            return self._origins[loss]
        if loss.what == "renamed":
            back = shlex.join(["mv", "-n", "--", loss.to, loss.path])
            return Origin(back) if loss.to else None
        return self._restorer.origin(loss.path, loss.relative, loss.facts)

    def _keep(self, *, idle: bool) -> None:
        """Write the evidence, once what was destroyed has been told."""
        if self._kept and (idle or len(self._kept) > 1000):  # noqa: PLR2004 - a bound
            if self._context.evidence is not None:
                self._context.evidence.keep(self._context.clock.wall_us(), self._kept)
            self._kept = []

    # --- telling --------------------------------------------------------------------

    def _tell(self, shadow: Shadow, now_us: int, *, again_us: int | None) -> Glance:
        assert self._events is not None  # noqa: S101 - opened with the shadow
        self._told_us = now_us
        lost, self._lost = self._events.lost - self._lost, self._events.lost
        samples = list(self._samples(shadow, lost))
        shadow.counts.clear()
        self._unrestorable, self._fresh = [], []
        return Glance(
            samples,
            again_us=again_us,
            problem=self._problem(shadow, lost),
            note=self._note(shadow),
            memory={_FILES: str(shadow.tree.files)} if shadow.settled else {},
        )

    def _samples(self, shadow: Shadow, lost: int) -> Iterator[Sample]:
        shown: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        for loss in self._fresh:
            detail = shown[loss.what]
            if len(detail) < _SHOWN:
                self._origins.setdefault(loss, self._origin(loss))
                detail[f"{loss.what}_{len(detail) + 1}"] = self._shown(loss)
        blind = lost or shadow.recovering
        for kind in _KINDS:
            count = shadow.counts[kind]
            value = float(max(count, 0)) if count > 0 or not blind else math.nan
            why = {"why": "events were lost"} if math.isnan(value) else {}
            yield Sample(kind, value, detail=shown[kind] or why)
        detail = {}
        for number, one in enumerate(dict.fromkeys(self._unrestorable), 1):
            if number > _SHOWN:
                break
            text = one if isinstance(one, str) else self._shown(one)
            detail[f"unrestorable_{number}"] = printable(text, _SHOWN_COMMAND)
        yield Sample("unrestorable", float(len(self._unrestorable)), detail=detail)
        yield Sample("lost", float(lost))
        for name in self._canaries.names if self._canaries is not None else ():
            where = shadow.canaries.get(name)
            shown_in = {"file": printable(where, _SHOWN_PATH)} if where else {}
            yield Sample("canary", float(where is not None), {"name": name}, shown_in)
        shadow.canaries = {}

    def _shown(self, loss: Loss) -> str:
        """Say what was lost, by whom, and the command that restores it."""
        origin = self._origins.get(loss)
        text = printable(loss.path, _SHOWN_PATH) + (f" by {loss.by}" if loss.by else "")
        if origin is not None:
            return f"{text}; restore: {printable(origin.command, _SHOWN_COMMAND)}"
        if loss.what == "renamed":
            return f"{text}; where it is now is not known"
        return f"{text}; neither git nor a snapshot has it"

    def _problem(self, shadow: Shadow, lost: int) -> str:
        assert self._events is not None  # noqa: S101 - opened with the shadow
        if lost or shadow.recovering:
            return "the kernel dropped events; what is there is compared with what was known"
        if self._events.unwatched:
            return (
                f"{self._events.unwatched} folders are not watched: no inotify watch is left "
                "(fs.inotify.max_user_watches)"
            )
        return ""

    def _note(self, shadow: Shadow) -> str:
        assert self._events is not None  # noqa: S101 - opened with the shadow
        notes = [self._events.note]
        if not shadow.settled:
            notes.append("still reading what is there")
        if shadow.omitted:
            notes.append(f"more than {self._settings.max_files} files: of some only deletions show")
        return "; ".join(filter(None, notes))

    def _let_go(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._shadow is not None:
            self._shadow.tree.close()
            self._shadow = None

    def close(self) -> None:
        """Let go of the tree, the events and the group."""
        self._let_go()
        descriptor, self._context.descriptor = self._context.descriptor, None
        if descriptor is not None:
            os.close(descriptor)
