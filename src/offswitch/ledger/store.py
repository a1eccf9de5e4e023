"""The ledger's one SQLite file, as its only writer sees it.

    entries   idx           0, 1, 2, …
              link          SHA-256 over leaf and checkpoint of the row before, then ring, seq (u64)
              leaf          the leaf hash of `body`
              ring, seq     how far the journal had been taken over  } in the last row
              checkpoint    the signed checkpoint of idx + 1 entries } of each commit
              sealed        the lines beside the tree
              body          what is hashed into the tree
    nodes     level, idx, hash    roots of full tiles: 256, 65,536, … entries

Entry, checkpoint and the place in the journal are one row, so a commit of one entry is one
statement and one page: after a crash at any instant they agree, and nothing is entered
twice. `link` proves nothing that the tree does not; it tells *where* damage is. After a
commit that failed nothing in memory is believed: the tree is derived again from the disk
and must lead to the root that was signed last, or nothing more is signed.

WAL with synchronous=FULL. This is the only connection that writes or moves the WAL into
the file, which keeps clear of SQLite's WAL-reset bug (3.7.0 to 3.51.2); readers open
read-only. A lock file beside it makes the writer the only one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

from offswitch.errors import Corrupt, OffswitchError, Storage
from offswitch.ledger.checkpoint import Checkpoint, VerifyKey, open_checkpoint
from offswitch.ledger.key import SigningKey
from offswitch.ledger.seal import SealedEntry
from offswitch.ledger.tree import Frontier, leaf_hash

__all__ = ["BEFORE_ALL", "FORMAT", "LedgerPaths", "Position", "Store", "StoredNodes", "lock"]

FORMAT = 1
"""Version of the tables, kept as SQLite's `user_version`."""
BEFORE_ALL = bytes(32)
"""What the link of entry 0 is made of, in place of a row before."""

_APPLICATION = 0x4F666653
_TIDY_EVERY = 1000
"""Entries after which the WAL is moved into the file: some megabytes."""
_BUSY_S = 0.25
_HASH = 32
_HINT = "see what is damaged: offswitch ledger verify"
_INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SCHEMA = (
    """CREATE TABLE entries (idx INTEGER PRIMARY KEY, link BLOB NOT NULL, leaf BLOB NOT NULL,
    ring BLOB, seq INTEGER, checkpoint BLOB, sealed BLOB NOT NULL, body BLOB NOT NULL) STRICT""",
    """CREATE TABLE nodes (level INTEGER, idx INTEGER, hash BLOB NOT NULL,
    PRIMARY KEY (level, idx)) STRICT, WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a journal has been taken over."""

    ring: bytes = b""
    """The id of the ring, 16 bytes; empty: no journal."""
    seq: int = 0
    """The last number that is in the ledger, or is known there to be lost."""


@dataclass(frozen=True, slots=True)
class LedgerPaths:
    """Where the parts of the ledger of the installation in `home` lie."""

    home: str

    @property
    def folder(self) -> str:
        """The folder, which belongs to the recorder."""
        return f"{self.home}/ledger"

    @property
    def database(self) -> str:
        """The SQLite file."""
        return f"{self.home}/ledger/ledger.db"

    @property
    def key(self) -> str:
        """The signing key, 0600."""
        return f"{self.home}/ledger/key"

    @property
    def lock(self) -> str:
        """The writer's lock."""
        return f"{self.home}/ledger/lock"


def lock(path: str) -> int | None:
    """Take the writer's lock; give its descriptor, or None while another writer holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


class StoredNodes:
    """The tree's hashes as the tables hold them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read through `connection`, in whatever transaction it is."""
        self._connection = connection

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Give `count` hashes of `level` from `start` on; `Corrupt` where one is missing."""
        if level == 0:
            query = "SELECT leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
            rows = self._connection.execute(query, (start, start + count)).fetchall()
        else:
            query = "SELECT hash FROM nodes WHERE level=? AND idx >= ? AND idx < ? ORDER BY idx"
            rows = self._connection.execute(query, (level, start, start + count)).fetchall()
        found = [row[0] for row in rows]
        if len(found) != count or any(len(item) != _HASH for item in found):
            what = f"nodes of level {level}" if level else "entries"
            raise Corrupt(f"{what} {start} to {start + count - 1} are not all there", _HINT)
        return found


class Store:
    """The writer. `Storage` means try again later; `Corrupt` means that a person is needed."""

    __slots__ = (
        "_before",
        "_connection",
        "_cursor",
        "_frontier",
        "_key",
        "_unmoved",
        "note",
        "position",
    )

    def __init__(self, connection: sqlite3.Connection, key: SigningKey) -> None:
        """Use `Store.open`."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._key = key
        self._frontier: Frontier | None = None
        self._before = BEFORE_ALL
        self._unmoved = 0
        self.note = b""
        """The latest signed checkpoint; empty while the ledger is."""
        self.position = Position()
        """How far the latest journal has been taken over."""

    @classmethod
    def open(cls, path: str, key: SigningKey) -> Store:
        """Open the ledger at `path`, or make an empty one.

        The caller holds the lock. Raises `Corrupt` when what is there is not what `key`
        signed last.
        """
        with _as_storage(path):
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
        store = cls(connection, key)
        try:
            store.derive()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def verify_key(self) -> VerifyKey:
        """The public half of the key that signs here."""
        return self._key.verify_key

    @property
    def size(self) -> int:
        """How many entries are in the ledger."""
        return self._tree().size

    def last_body(self) -> bytes | None:
        """Give the text of the last entry; None while there is none."""
        with _as_storage("entries"):
            query = "SELECT body FROM entries ORDER BY idx DESC LIMIT 1"
            row = self._connection.execute(query).fetchone()
        return None if row is None else bytes(row[0])

    def root_at(self, size: int) -> bytes:
        """Give the root that the first `size` entries have."""
        with _as_storage("entries"):
            return Frontier.of(StoredNodes(self._connection), size).root()

    def position_in(self, ring: bytes) -> int:
        """Tell up to which number the journal `ring` has been taken over; 0: not at all."""
        if self.position.ring == ring:
            return self.position.seq
        with _as_storage("entries"):
            query = "SELECT max(seq) FROM entries WHERE ring = ?"
            return int(self._connection.execute(query, (ring,)).fetchone()[0] or 0)

    def derive(self) -> None:
        """Derive the tree from the disk; `Corrupt` if it does not lead to the signed root."""
        self._frontier = None
        with _as_storage("entries"), _transaction(self._connection, "BEGIN", "ROLLBACK"):
            query = "SELECT idx, leaf, ring, seq, checkpoint FROM entries ORDER BY idx DESC LIMIT 1"
            row = self._connection.execute(query).fetchone()
            size = 0 if row is None else row[0] + 1
            frontier = Frontier.of(StoredNodes(self._connection), size)
        if row is None:
            self._before, self.note, self.position = BEFORE_ALL, b"", Position()
        else:
            _, leaf, ring, seq, note = row
            self._check(note, frontier)
            self.position = Position(bytes(ring or b""), seq or 0)
            self._before, self.note = leaf + note, note
        self._frontier = frontier

    def commit(self, entries: Sequence[SealedEntry], position: Position) -> range:
        """Enter `entries`, all or none, durably; give their indexes.

        `position` is how far the journal is taken over with them. Raises `Storage` when the
        disk would not; then the tree is derived again before the next commit.
        """
        frontier = self._tree().copy()
        first, before = frontier.size, self._before
        rows: list[tuple[object, ...]] = []
        nodes: list[tuple[int, int, bytes]] = []
        *others, last = entries
        for entry in others:
            leaf, link = leaf_hash(entry.body), sha256(before).digest()
            rows.append((frontier.size, link, leaf, None, None, None, entry.sealed, entry.body))
            nodes += frontier.append(leaf)
            before = leaf
        leaf = leaf_hash(last.body)
        nodes += frontier.append(leaf)
        size = frontier.size
        note = self._key.sign(Checkpoint(self._origin, size, frontier.root()))
        place = position.ring + position.seq.to_bytes(8, "big")
        link = sha256(before + place).digest()
        where = (position.ring, position.seq, note)
        rows.append((size - 1, link, leaf, *where, last.sealed, last.body))
        self._frontier = None  # until the disk has said yes
        try:
            self._insert(rows, nodes)
        except sqlite3.Error as error:
            raise _storage("commit", error) from None
        self._frontier, self._before = frontier, leaf + note
        self.note, self.position = note, position
        self._unmoved += len(rows)
        return range(first, frontier.size)

    def tidy(self) -> None:
        """Move the WAL into the file once it has grown; readers may make that wait."""
        if self._unmoved >= _TIDY_EVERY:
            self._unmoved = 0
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with suppress(sqlite3.Error):
            self._connection.close()

    @property
    def _origin(self) -> str:
        return self._key.verify_key.name

    def _tree(self) -> Frontier:
        if self._frontier is None:
            self.derive()
        if self._frontier is None:
            raise Corrupt("the ledger's tree could not be derived", _HINT)
        return self._frontier

    def _insert(self, rows: list[tuple[object, ...]], nodes: list[tuple[int, int, bytes]]) -> None:
        """One statement is a transaction by itself; more of them need one around."""
        if len(rows) == 1 and not nodes:
            self._cursor.execute(_INSERT, rows[0])
            return
        with _transaction(self._connection, "BEGIN IMMEDIATE", "COMMIT"):
            self._connection.executemany(_INSERT, rows)
            self._connection.executemany("INSERT INTO nodes VALUES (?, ?, ?)", nodes)

    def _check(self, note: bytes | None, frontier: Frontier) -> None:
        try:
            signed = open_checkpoint(note or b"", self._key.verify_key)
        except ValueError as error:
            raise Corrupt(f"the checkpoint of the last entry: {error}", _HINT) from None
        if (signed.size, signed.root) != (frontier.size, frontier.root()):
            raise Corrupt(f"the ledger's {frontier.size} entries are not what was signed", _HINT)


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the connection up, and lay out the tables where there are none."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise Storage(
            f"the ledger's file system allows no write-ahead log (it says {mode!r})",
            "put OFFSWITCH_HOME on a local disk",
        )
    for pragma in (
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        "secure_delete=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT:
        return
    if version or connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise Corrupt(
            f"the ledger has format {version}, and this is made for {FORMAT}",
            "use the Offswitch that wrote it",
        )
    with _transaction(connection, "BEGIN IMMEDIATE", "COMMIT"):
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={_APPLICATION}")
        connection.execute(f"PRAGMA user_version={FORMAT}")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str, end: str) -> Iterator[None]:
    """One transaction; whatever goes wrong inside or in ending it rolls it back."""
    connection.execute(begin)
    try:
        yield
        connection.execute(end)
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _storage(what: str, error: sqlite3.Error) -> OffswitchError:
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Corrupt(f"the ledger ({what}): {error}", _HINT)
    return Storage(f"the ledger ({what}): {error}", "see the disk: offswitch doctor")


@contextmanager
def _as_storage(what: str) -> Iterator[None]:
    """Tell damage, which a person must see, from a disk that may do better later."""
    try:
        yield
    except sqlite3.Error as error:
        raise _storage(what, error) from None
    except UnicodeDecodeError:  # SQLite quotes what it cannot read, and that is no text
        raise Corrupt(f"the ledger ({what}): its schema is garbled", _HINT) from None
    except OSError as error:
        raise Storage(f"{what}: {error.strerror}", "see the disk: offswitch doctor") from None
