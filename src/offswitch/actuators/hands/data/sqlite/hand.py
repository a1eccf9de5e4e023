"""SQLite: nobody opens the database any more, and who has it open writes no more.

    locks       SQLite's own, taken shared: no SQLite commits, from some microseconds on
    rights      none, and root's: nobody opens it anew
    immutable   on ext4 also who has it open writes no more, past SQLite or through a mapping
    names       of a log or journal that is not there are taken by empty files: a commit to a log
                that is made afterwards would count as soon as the rights were back

In this order for the database, its log and its journal. File rights alone stop nobody who has the
file open, and `immutable` holds such a one on ext4 and not on tmpfs: so a canary, a file without a
name beside it, is really cut at every proof, and where it can still be written the layer is
*degraded* and says why. There, `look` believes in a cut only when the kernel grants a lease that it
grants only if nobody has the file open for writing.

A commit that is broken off leaves a journal or a tail of the log; SQLite itself undoes it at the
next opening. Nothing is given back: the commands for it are in the record (RST-8).
"""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import suppress
from typing import ClassVar

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.data.sqlite.files import (
    BESIDE,
    Facts,
    canary,
    clear_locks,
    facts_at,
    freeze,
    holds_open_descriptors,
    is_frozen,
    lock_out,
    nobody_writes,
    open_at,
)
from offswitch.actuators.hands.data.sqlite.section import SqliteSection
from offswitch.clock import SystemClock
from offswitch.printable import printable

__all__ = ["Sqlite"]

_CLOCK = SystemClock()


class Sqlite(Hand):
    """Closes one SQLite database."""

    Settings: ClassVar[type[SqliteSection]] = SqliteSection
    IMPORTS: ClassVar[frozenset[str]] = frozenset({"ctypes"})

    settings: SqliteSection

    def __init__(self, settings: SqliteSection, context: Context) -> None:
        """Take the path from `settings`; open nothing yet."""
        super().__init__(settings, context)
        path, self._name = os.path.split(settings.path)
        self._path = path or "/"
        self._folder = self._main = -1
        self._place: tuple[int, int] | None = None
        """Which folder it was at first."""
        self._locked: dict[str, int] = {}
        """Descriptors that hold locks, by the end of the name."""
        self._was: dict[str, str] = {}
        """Name → the commands that give back what was taken from it."""

    def prepare(self) -> None:
        """Open folder and database while there are all rights to."""
        self.open()

    def open(self) -> None:
        """Open folder and database."""
        if self._folder < 0:
            self._folder = self._opened_folder()
        if self._main < 0:
            self._main = open_at(self._folder, self._name, database=True)

    def _opened_folder(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags)
        except OSError as error:
            raise Trouble(f"{printable(self._path)}: {error.strerror}") from None
        place = Facts.of(os.fstat(fd)).identity
        if self._place not in {None, place}:
            os.close(fd)
            raise Trouble(f"{printable(self._path)} is another folder than at the start")
        self._place = place
        return fd

    def close(self) -> None:
        """Let go of descriptors, and of the locks with them; what was taken stays taken."""
        for fd in (self._folder, self._main, *self._locked.values()):
            if fd >= 0:
                os.close(fd)
        self._folder = self._main = -1
        self._locked.clear()

    def _followed(self) -> None:
        """Hold the file that lies at the path by now: a database may be written anew."""
        there = facts_at(self._folder, self._name)
        if there is None:
            raise Trouble(f"{printable(self.settings.path)} is gone")
        if there.identity != Facts.of(os.fstat(self._main)).identity:
            fresh = open_at(self._folder, self._name, database=True)
            os.close(self._main)
            self._main = fresh

    # --- proving ------------------------------------------------------------------

    def arm(self) -> Readiness:
        """Prove it by a canary on the same file system that is really cut."""
        self.open()
        self._followed()
        if self.context.role is Role.LOOK:
            return self._arm_look()
        try:
            os.fchmod(self._main, Facts.of(os.fstat(self._main)).mode)
        except OSError as error:
            return Readiness(Ready.UNPROVEN, f"its rights may not be changed: {error.strerror}")
        if why := canary(self._folder):
            weak = "only its rights and SQLite's locks can be taken"
            return Readiness(Ready.DEGRADED, f"{weak}: {why}")
        return Readiness(Ready.READY, "a file beside it was cut, also from who had it open")

    # --- acting -------------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """Take locks and rights, and make it immutable."""
        del level
        self.open()
        held = self._lock_out()
        failed = self._cut_file(self._name, self._main)
        if failed:
            raise Trouble("; ".join(failed)[:900])
        there = facts_at(self._folder, self._name)
        if there is not None and there.identity != Facts.of(os.fstat(self._main)).identity:
            failed += self._cut_name(self._name, database=True)
        for end in BESIDE:
            if facts_at(self._folder, self._name + end) is not None:
                wrong = self._cut_name(self._name + end)
                failed += self._set_aside(self._name + end, wrong) if wrong else []
        self._occupy()
        if self.settings.folder:
            failed += self._cut_folder()
        self._lock_out()
        happened = [] if held else ["a transaction was under way"]
        journal = facts_at(self._folder, f"{self._name}-journal")
        if journal is not None and journal.size:
            happened.append("a transaction was broken off: SQLite undoes it at the next opening")
        frozen = is_frozen(self._main) and holds_open_descriptors(self._main)
        how = "immutable" if frozen else "who has it open is held by SQLite's locks alone"
        said = "; ".join([f"no rights left, {how}", *failed])[:900]
        return Acted(said, tuple(happened), tuple(self._was.values()))

    def _lock_out(self) -> bool:
        """Take SQLite's locks; false: somebody holds them just now."""
        free = True
        for end in ("", "-shm"):
            fd = self._lockable(end)
            free &= fd < 0 or lock_out(fd, index=bool(end))
        return free

    def _lockable(self, end: str) -> int:
        if end not in self._locked:
            with suppress(Trouble):
                self._locked[end] = open_at(self._folder, self._name + end)
        return self._locked.get(end, -1)

    def _cut_name(self, name: str, *, database: bool = False) -> list[str]:
        try:
            fd = open_at(self._folder, name, database=database)
        except Trouble as error:
            return [printable(error.message)]
        try:
            return self._cut_file(name, fd)
        finally:
            os.close(fd)

    def _set_aside(self, name: str, wrong: list[str]) -> list[str]:
        """Give another name to what is no file of SQLite's: through it a log could go elsewhere."""
        aside = f"{name}.aside-{_CLOCK.wall_us()}"
        try:
            os.rename(name, aside, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            return [*wrong, f"nor could it be set aside: {error.strerror}"]
        return [*wrong, f"it was set aside as {printable(aside)}"]

    def _cut_file(self, name: str, fd: int) -> list[str]:
        """Take the rights to one file, and its writers' descriptors; give what failed."""
        facts = Facts.of(os.fstat(fd))
        path = shlex.quote(f"{self._path}/{name}")
        if not facts.closed:
            owner = f"chown {facts.uid}:{facts.gid} {path} && chmod {facts.mode:04o} {path}"
            self._was[name] = printable(f"chattr -i {path}; {owner}", 900)
            try:
                os.fchmod(fd, 0)
            except OSError as error:
                return [f"{printable(name)}: {error.strerror}"]
        with suppress(OSError):  # without the right to, or once it is immutable
            os.fchown(fd, 0, 0)
        if not name.endswith("-shm"):
            with suppress(OSError):
                freeze(fd)
        return []

    def _occupy(self) -> None:
        """Take the names by which a log or a journal could be made afterwards."""
        if not is_frozen(self._main):
            return  # who may write the folder would only remove it
        for end in ("-wal", "-journal"):
            name, flags = self._name + end, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                fd = os.open(name, flags | os.O_RDONLY, 0, dir_fd=self._folder)
            except OSError:
                continue
            with suppress(OSError):
                os.fchown(fd, 0, 0)
                freeze(fd)
            os.close(fd)
            path = shlex.quote(f"{self._path}/{name}")
            self._was[name] = printable(f"chattr -i {path}; rm {path}", 900)

    def _cut_folder(self) -> list[str]:
        facts = Facts.of(os.fstat(self._folder))
        if facts.closed:
            return []
        path = shlex.quote(self._path)
        owner = f"chown {facts.uid}:{facts.gid} {path} && chmod {facts.mode:04o} {path}"
        self._was["/"] = printable(owner, 900)
        try:
            os.fchmod(self._folder, 0)
        except OSError as error:
            return [f"its folder: {error.strerror}"]
        with suppress(OSError):
            os.fchown(self._folder, 0, 0)
        return []

    def release(self) -> Acted:
        """Let SQLite's locks go; give nothing back."""
        for end, fd in self._locked.items():
            clear_locks(fd, index=bool(end))
            os.close(fd)
        self._locked.clear()
        said = "rights are not given back: a person does it, by the commands of this record"
        return Acted(said, reissue=tuple(self._was.values()))

    # --- looking ------------------------------------------------------------------

    def look(self) -> Sight:
        """See whether anybody may open it, and whether who has it open could write."""
        self.open()
        there = facts_at(self._folder, self._name)
        if there is None:
            return Sight(None, f"{printable(self.settings.path)} is gone")
        if there.identity != Facts.of(os.fstat(self._main)).identity:
            self._followed()
        free: list[str] = []
        unknown: list[str] = []
        seen: list[Facts] = []
        for name in (self._name, *(self._name + end for end in ("-wal", "-journal"))):
            facts = facts_at(self._folder, name)
            if facts is None:
                continue
            seen.append(facts)
            said, certain = self._could_be_written(name, facts)
            if said:
                (free if certain else unknown).append(f"{printable(name, 80)}: {said}")
        if free or unknown:
            self.memory = ""
            return Sight(None if not free else False, "; ".join([*free, *unknown]))
        now = hashlib.blake2b(repr(seen).encode(), digest_size=16).hexdigest()
        before, self.memory = self.memory, now
        if before not in {"", now}:
            self.memory = ""
            return Sight(stands=False, detail="it was changed since it was cut")
        return Sight(stands=True, detail=f"no rights, no writer, {there.size} bytes, unchanged")

    def _could_be_written(self, name: str, facts: Facts) -> tuple[str, bool]:
        """Say how it could still be written, and whether that is certain; empty: it could not."""
        if not facts.regular:
            return "it is no plain file", False
        if not facts.closed:
            return f"it may be opened (rights {facts.mode:04o} of user {facts.uid})", True
        if facts.uid != 0:
            return f"its owner, user {facts.uid}, can give itself the rights back", True
        try:
            fd = open_at(self._folder, name)
        except Trouble as error:
            return error.message, False
        try:
            if is_frozen(fd) and holds_open_descriptors(fd):
                return "", True
            match nobody_writes(fd):
                case True:
                    return "", True
                case False:
                    return "somebody has it open for writing", True
                case None:
                    return "who has it open is not known", False
        finally:
            os.close(fd)

    def _arm_look(self) -> Readiness:
        sight = self.look()
        if sight.stands is None:
            return Readiness(Ready.UNPROVEN, sight.detail)
        if nobody_writes(self._main) is None and not holds_open_descriptors(self._main):
            why = "whether somebody has it open for writing cannot be seen here (CAP_LEASE)"
            return Readiness(Ready.DEGRADED, why)
        return Readiness(Ready.READY, f"it sees: {sight.detail}")

    def holds(self) -> tuple[str, ...]:
        """List the files and whose they are."""
        lines = []
        for name in (self._name, *(self._name + end for end in BESIDE)):
            facts = facts_at(self._folder, name)
            if facts is not None:
                owner = f"user {facts.uid}, rights {facts.mode:04o}, {facts.size} bytes"
                lines.append(printable(f"{self._path}/{name}: {owner}"))
        return tuple(lines)

    def route(self) -> Route:
        """Say what it rests on."""
        look = self.context.role is Role.LOOK
        credential = "CAP_DAC_READ_SEARCH, CAP_LEASE" if look else "CAP_LINUX_IMMUTABLE, CAP_CHOWN"
        return Route("file", "here", credential, "the file system", (self.settings.path,))
