"""Reading a SQLite file that somebody hostile writes, without ever standing in a writer's way.

Two ways, by what lies beside the file:

- *a live WAL*: a read-only connection (`mode=ro`, `readonly_shm=1`: not one byte of the
  target's files is written). Readers of a WAL block no writer. `PRAGMA data_version` says
  whether anything was committed. The connection is dropped when all is quiet, so that a
  writer who leaves can clean up.
- *no WAL*: any lock of ours could make a writer's commit fail. So none is taken: the file is
  read as it lies (`immutable=1`), and what was read counts only if afterwards nothing has
  changed: same file, size, time and change counter (offset 24 of the header, which every
  commit raises), no journal of a crash, and nobody holding the lock bytes for a write
  (asked with F_GETLK, which locks nothing). See sqlite.org/fileformat.html and lockingv3.html.

The file is the target's, so nothing in it is believed: links, FIFOs, second names and moved
folders are refused before SQLite opens anything, and afterwards the descriptors that it
holds are compared with what was looked at. Views, triggers and virtual tables are never
touched: an authoriser lets through reads of the named tables and five aggregates, the
schema is not trusted, values above a megabyte end the read, and so does the deadline. Where
the log's index is no index, or is another log's and nobody is left to set it up anew, SQLite
would try again for ten seconds that no deadline ends: such a log is not opened.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from offswitch.clock import Clock

__all__ = ["Database", "Missing", "Unreadable", "Unsteady"]

_T = TypeVar("_T")

_PENDING, _RESERVED, _SHARED, _SHARED_SIZE = 0x4000_0000, 0x4000_0001, 0x4000_0002, 510
_FLOCK = struct.Struct("@hhqqi4x")
_INDEX_HEADERS = 96
_INDEX_HEADER = struct.Struct("=12I")
"""Version, nothing, change, flags, frames, pages, a frame's checksum (2), salt (2), checksum (2);
see walformat.html."""
_INDEX_READY = 12
_INDEX_USED = 128
"""The lock byte that whoever uses an index holds shared."""
_LOG_HEADER = 32
_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_LARGEST_VALUE = 1 << 20
_STEPS_BETWEEN_LOOKS = 5000
_FUNCTIONS = {"count", "min", "max", "avg", "typeof"}
_SCHEMA = {"sqlite_master"}
_PRAGMAS = {"data_version", "table_info"}
_SETTINGS = (
    "PRAGMA query_only=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",
)
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
"""Primary codes of what is over soon: somebody commits, opens, recovers or leaves just now."""
_text = partial(str, encoding="utf-8", errors="surrogateescape")


class Missing(Exception):
    """There is no such file."""


class Unsteady(Exception):
    """It changed while it was read; look again soon."""


class Unreadable(Exception):
    """It cannot be read, or must not be; says why."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What lies there, cheaply: equal stamps mean that nothing was committed by honest means."""

    main: tuple[int, ...]
    wal: tuple[int, ...] | None
    index: tuple[int, ...] | None
    counter: bytes
    """The header's change counter and schema cookie."""
    committed: bytes
    """Both copies of the log index's header: a commit to the log is seen when they change.

    The log's own size and time change earlier, before its disk has it, and not at all when
    the commit becomes visible: who remembers only those has seen it and missed it."""

    @property
    def identity(self) -> tuple[object, ...]:
        """Which files these are, whatever is in them."""
        return (self.main[:2], self.wal and self.wal[:2], self.index and self.index[:2])


class Database:
    """One SQLite file at one path."""

    __slots__ = (
        "_any_text",
        "_clock",
        "_connection",
        "_deadline_us",
        "_fd",
        "_folder",
        "_index_fd",
        "_path",
        "_stamp",
        "_tables",
        "_version",
    )

    def __init__(self, path: str, tables: Collection[str], clock: Clock) -> None:
        """Remember where `path` really lies; its folder may not become another one later."""
        self._path = os.path.abspath(path)
        self._folder = os.path.realpath(os.path.dirname(self._path))
        self._tables = {table.lower() for table in tables}
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._any_text = False
        self._stamp: _Stamp | None = None
        self._version = -1
        self._fd = -1
        self._index_fd = -1
        self._deadline_us = 0

    @property
    def path(self) -> str:
        """Where the file lies."""
        return self._path

    def changed(self) -> bool:
        """Tell whether anything was committed since the last snapshot; never blocks a writer."""
        stamp = self._look()
        if self._stamp is None or stamp.identity != self._stamp.identity:
            return True
        if self._connection is None:
            return stamp != self._stamp
        self._sound(stamp)
        try:
            version = self._data_version(self._connection)
        except sqlite3.Error:
            return True
        return version != self._version

    def snapshot(self, read: Callable[[sqlite3.Connection], _T], budget_us: int) -> _T:
        """Give what `read` finds in one consistent state; raises one of this module's three."""
        before = self._look()
        if self._stamp is not None and before.identity != self._stamp.identity:
            self.release()
            before = self._look()
        self._deadline_us = self._clock.mono_us() + budget_us
        try:
            if before.wal is not None and before.wal[2] and before.index is not None:
                return self._read_wal(before, read)
            return self._read_still(before, read)
        except OSError as error:
            self.release()
            raise Unreadable(f"{self._path}: {error.strerror}") from None
        except sqlite3.Error as error:
            self.release()
            if self._clock.mono_us() > self._deadline_us:
                raise Unreadable("it took too long to read") from None
            if not self._any_text and "decode to UTF-8" in str(error):
                self._any_text = True
                raise Unsteady("it holds text that is no UTF-8") from None
            if isinstance(error, sqlite3.OperationalError) and self._busy(error):
                raise Unsteady(str(error)) from None
            raise Unreadable(f"SQLite says: {error}") from None
        except (UnicodeError, MemoryError) as error:
            self.release()
            raise Unreadable(f"it holds what cannot be read: {error}") from None

    def rest(self) -> None:
        """Let go of the connection, so that a writer who leaves can clean up."""
        if self._connection is not None:
            self.release()

    def release(self) -> None:
        """Let go of everything that is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        # Only now: closing any descriptor of a file drops the process's locks on it.
        for fd in (self._fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index_fd = -1

    def forget(self) -> None:
        """Forget what the last snapshot saw; the next look counts as a change."""
        self.release()
        self._stamp = None

    # --- looking ------------------------------------------------------------------

    def _facts(self, suffix: str) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self._path + suffix, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{self._path}{suffix}: {error.strerror}") from None
        if not stat.S_ISREG(facts.st_mode):
            raise Unreadable(f"{self._path}{suffix} is not a regular file")
        if facts.st_nlink > 1:
            raise Unreadable(f"{self._path}{suffix} has a second name")
        return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def _look(self) -> _Stamp:
        if os.path.realpath(os.path.dirname(self._path)) != self._folder:
            raise Unreadable(f"the folder of {self._path} is another one than at the start")
        main = self._facts("")
        if main is None:
            self.release()
            raise Missing(self._path)
        index = self._facts("-shm")
        moved = self._fd >= 0 and self._identity(self._fd) != main[:2]
        held = self._identity(self._index_fd) if self._index_fd >= 0 else None
        if moved or (held is not None and (index is None or held != index[:2])):
            self.release()
        if self._fd < 0:
            self._fd = self._open("", main)
        if self._index_fd < 0 and index is not None and self._connection is None:
            self._index_fd = self._open("-shm", index)
        header = os.pread(self._fd, 100, 0)
        counter = header[24:28] + header[40:44]
        committed = os.pread(self._index_fd, _INDEX_HEADERS, 0) if self._index_fd >= 0 else b""
        return _Stamp(main, self._facts("-wal"), index, counter, committed)

    def _open(self, suffix: str, wanted: tuple[int, ...]) -> int:
        """Open what was looked at, and nothing that has taken its place."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(self._path + suffix, flags)
        except FileNotFoundError:
            raise Unsteady("it went while it was opened") from None
        except OSError as error:
            raise Unreadable(f"{self._path}{suffix}: {error.strerror}") from None
        if self._identity(fd) != wanted[:2]:
            os.close(fd)
            raise Unsteady("it was replaced while it was opened")
        return fd

    @staticmethod
    def _identity(fd: int) -> tuple[int, ...]:
        facts = os.fstat(fd)
        return (facts.st_dev, facts.st_ino)

    def _written(self, start: int, length: int) -> bool:
        """Tell whether another process holds a write lock there; takes no lock."""
        return _locked(self._fd, fcntl.F_RDLCK, start, length)

    def _sound(self, stamp: _Stamp) -> None:
        """Raise unless the log's index is one, and its log's or in somebody's hands."""
        headers = stamp.committed
        if self._index_fd < 0:
            return
        header = headers[: _INDEX_HEADER.size]
        if len(headers) < _INDEX_HEADERS or header != headers[_INDEX_HEADER.size :]:
            raise Unsteady("the log's index is being written, or was broken off")
        words = _INDEX_HEADER.unpack(header)
        if not header[_INDEX_READY] or _checksum(words[:10]) != words[10:]:
            raise Unsteady("the log's index is none, and waits for recovery")
        if not _locked(self._index_fd, fcntl.F_WRLCK, _INDEX_USED, 1):
            with open(self._open("-wal", stamp.wal or ()), "rb", buffering=0) as file:
                log = file.read(_LOG_HEADER)
            fits = log[16:24] == header[32:40] if len(log) == _LOG_HEADER else not words[4]
            if not fits:
                raise Unsteady("the log is not its index's, and waits for recovery")

    def _half_done(self) -> None:
        """Raise if a commit is being written, or was broken off by a crash."""
        if self._written(_PENDING, 1) or self._written(_SHARED, _SHARED_SIZE):
            raise Unsteady("a commit is being written")
        if not self._facts("-journal") or self._written(_RESERVED, 1):
            return
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(self._path + "-journal", flags)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unreadable(f"{self._path}-journal: {error.strerror}") from None
        try:
            if os.pread(fd, 8, 0) == _JOURNAL_MAGIC:
                raise Unsteady("a commit is under way, or was broken off and waits for recovery")
        finally:
            os.close(fd)

    # --- reading ------------------------------------------------------------------

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"file:{quote(self._path)}?mode=ro&{options}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
        try:
            self._set_up(connection)
        except BaseException:
            # One that is only dropped stays open, and SQLite would hand its log and index,
            # which a writer deletes meanwhile, to every later connection of this process.
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # Decoding by ourselves takes twice as long: only once something was no UTF-8.
        connection.text_factory = _text if self._any_text else str
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _LARGEST_VALUE)
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.set_authorizer(self._authorise)
        connection.set_progress_handler(self._too_late, _STEPS_BETWEEN_LOOKS)

    def _authorise(
        self, action: int, first: str | None, second: str | None, _db: str | None, by: str | None
    ) -> int:
        """Allow reads of the named tables and what reading them needs; deny the rest."""
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_TRANSACTION:
                allowed = by is None
            case sqlite3.SQLITE_READ:
                allowed = by is None and (first or "").lower() in self._tables | _SCHEMA
            case sqlite3.SQLITE_FUNCTION:
                allowed = (second or "").lower() in _FUNCTIONS
            case sqlite3.SQLITE_PRAGMA:
                allowed = (first or "").lower() in _PRAGMAS
            case _:
                allowed = False
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _too_late(self) -> int:
        return int(self._clock.mono_us() > self._deadline_us)

    @staticmethod
    def _busy(error: sqlite3.OperationalError) -> bool:
        """Tell whether trying again may help: locked, or an index that is just being set up."""
        return error.sqlite_errorcode & 0xFF in _PASSING

    @staticmethod
    def _data_version(connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _read_wal(self, before: _Stamp, read: Callable[[sqlite3.Connection], _T]) -> _T:
        self._sound(before)
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect("readonly_shm=1")
            try:
                # Reading the version makes SQLite open all of its files: now they can be compared.
                self._data_version(connection)
                self._compare(before)
            except Unsteady:
                self.release()  # nor is it read through at the next look
                raise
        connection.execute("BEGIN")
        try:
            version = self._data_version(connection)
            result = read(connection)
        finally:
            connection.execute("ROLLBACK")
        self._version, self._stamp = version, before
        return result

    def _compare(self, before: _Stamp) -> None:
        """Check that SQLite has opened just the files that were looked at."""
        wanted = {facts[:2] for facts in (before.main, before.wal, before.index) if facts}
        prefix = f"{self._folder}/{os.path.basename(self._path)}"
        for name in os.listdir("/proc/self/fd"):
            try:
                ours = os.readlink(f"/proc/self/fd/{name}").startswith(prefix)
                if ours and self._identity(int(name)) not in wanted:
                    raise Unsteady("a file was replaced while it was opened")
            except OSError:
                continue

    def _read_still(self, before: _Stamp, read: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._connection is not None:
            self.release()
            before = self._look()
        self._half_done()
        connection = self._connect("immutable=1")
        try:
            result = read(connection)
        finally:
            connection.close()
        self._half_done()
        after = self._look()
        if after.main != before.main or after.counter != before.counter:
            raise Unsteady("it changed while it was read")
        if after.wal is not None and after.wal[2]:
            raise Unsteady("a writer began a log while it was read")
        self._stamp = after
        return result


def _locked(fd: int, wanted: int, start: int, length: int) -> bool:
    """Tell whether another process holds a lock that keeps us from the one that is wanted."""
    asked = _FLOCK.pack(wanted, os.SEEK_SET, start, length, 0)
    answer = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return bool(answer[0] != fcntl.F_UNLCK)


def _checksum(words: tuple[int, ...]) -> tuple[int, int]:
    """Sum up as SQLite does with the header of a log's index, in the machine's own order."""
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFF_FFFF
        second = (second + odd + first) & 0xFFFF_FFFF
    return first, second
