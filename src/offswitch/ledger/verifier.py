"""Is this ledger what was recorded? Four answers, and on damage where.

    verified       the key came from the reader, and a head that was kept elsewhere is in it
    unwitnessed    all is consistent, but nobody outside vouches that nothing is missing
    corrupt        something was changed, taken out, put in, cut off or put back: `where`
    cannot-tell    no key, no readable ledger, or a head that proves nothing

Everything is computed anew from the bytes of the entries: leaves, nodes and root by RFC
6962, each sealed value by its salted hash, the signature by the key that was given, never
one out of the ledger. What the tables hold besides (leaf hashes, links, nodes, checkpoints
of earlier commits) must agree with it, which is how damage is found where it is. All is
read in one snapshot, so a writer at work raises no false alarm; the heads must be read
before it is taken, since they may only be older.

This imports the tree and the signature check, and nothing else of ours.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from offswitch.ledger.checkpoint import Checkpoint, VerifyKey, open_checkpoint
from offswitch.ledger.tree import TILE_WIDTH, Frontier, perfect_root

__all__ = ["Head", "Outcome", "Progress", "Unclear", "Verdict", "snapshot", "unsealed", "verify"]

_FORMAT = 1
_SEAL = b"offswitch/sealed/v1\0"
_TABLES = {"entries", "nodes"}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_TRIES = 20
_PAUSE_S = 0.05
_BUSY_S = 5.0


class Verdict(StrEnum):
    """What can be said of a ledger."""

    VERIFIED = "verified"
    UNWITNESSED = "unwitnessed"
    CORRUPT = "corrupt"
    CANNOT_TELL = "cannot-tell"


Progress = Callable[[int, int], None]
"""Told how many entries were checked, of how many."""


@dataclass(frozen=True, slots=True)
class Head:
    """A signed checkpoint that somebody kept."""

    note: bytes
    """The checkpoint as it was signed."""
    name: str
    """How people call it: `pin/head`, or the file that they brought."""
    elsewhere: bool
    """Whether it was kept where the ledger's own machine cannot change it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer."""

    verdict: Verdict
    entries: int
    """How many entries were read."""
    where: str | None = None
    """On damage, the first place."""
    notes: tuple[str, ...] = ()
    """For people: what the verdict rests on, and what it does not cover."""


class _Damage(Exception):
    """Something is not what was recorded; its text says where."""


class Unclear(Exception):
    """Nothing can be said of this ledger; the text says why."""


def verify(
    database: str,
    key: VerifyKey | None,
    heads: Sequence[Head] = (),
    *,
    brought: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Check the ledger in the file `database`.

    `brought` says that `key` came with the reader, not from the machine that is checked.
    `progress` is called now and then, for a ledger may be large.
    """
    if key is None:
        return Outcome(Verdict.CANNOT_TELL, 0, None, ("there is no key to check against",))
    walk = _Walk(key, progress)
    try:
        trusted = [(head, walk.open(head)) for head in heads]
        with snapshot(database) as connection:
            walk.run(connection, [pair for pair in trusted if pair[1] is not None])
    except _Damage as damage:
        return Outcome(Verdict.CORRUPT, walk.size, str(damage), tuple(walk.notes))
    except Unclear as unclear:
        return Outcome(Verdict.CANNOT_TELL, walk.size, None, (*walk.notes, str(unclear)))
    except sqlite3.Error as error:
        return walk.failed(error)
    except OSError as error:
        reason = f"{database}: {error.strerror}"
        return Outcome(Verdict.CANNOT_TELL, walk.size, None, (*walk.notes, reason))
    return walk.outcome(brought=brought)


@contextmanager
def snapshot(path: str) -> Iterator[sqlite3.Connection]:
    """Open a ledger read-only, in one transaction that a writer never disturbs nor waits for.

    Where the folder cannot be written and no writer is there, SQLite needs to be told that
    nobody will write meanwhile; whether that was true is seen afterwards.
    """
    if os.stat(path).st_size == 0:
        raise Unclear(f"{path} is empty")
    connection, alone = _open(path)
    before = os.stat(path)
    try:
        yield connection
    finally:
        connection.close()
    after = os.stat(path)
    moved = (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)
    if alone and (moved or os.path.exists(f"{path}-wal")):
        raise Unclear(f"{path} was written while it was read; try again")


def _open(path: str) -> tuple[sqlite3.Connection, bool]:
    for left in reversed(range(_TRIES)):
        alone = False
        try:
            try:
                return _connect(path, "mode=ro"), alone
            except sqlite3.OperationalError as error:
                wal = f"{path}-wal"
                quiet = not os.path.exists(wal) or os.stat(wal).st_size == 0
                if _code(error) not in _CLOSED or not quiet:
                    raise
                return _connect(path, "mode=ro&immutable=1"), True
        except sqlite3.OperationalError as error:
            if not left or _code(error) not in _PASSING:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError


def _connect(path: str, how: str) -> sqlite3.Connection:
    where = f"file:{quote(os.path.abspath(path))}?{how}"
    connection = sqlite3.connect(where, uri=True, isolation_level=None, timeout=_BUSY_S)
    try:
        connection.text_factory = bytes
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UnicodeDecodeError:
        connection.close()
        # SQLite quotes a schema that it cannot read, and what it quotes is no text any more.
        garbled = sqlite3.DatabaseError("the schema is garbled")
        garbled.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise garbled from None
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


class _Walk:
    """One reading of a ledger, from the first entry to the last. Also the tree's `Nodes`."""

    def __init__(self, key: VerifyKey, progress: Progress | None) -> None:
        self._key = key
        self._progress = progress
        self.size = 0
        self.notes: list[str] = []
        self._before = bytes(32)
        self._levels: list[list[bytes]] = [[]]
        self._block = 0
        self._leaves: list[bytes] = []
        self._stored: dict[tuple[int, int], bytes] = {}
        self._heads: list[tuple[Head, Checkpoint]] = []
        self._erased: list[tuple[int, str]] = []
        self._last_note: bytes | None = None
        self._witness = 0

    # --- what it stands on --------------------------------------------------------

    def open(self, head: Head) -> Checkpoint | None:
        """Check the signature of a head; one of ours that is unreadable vouches for nothing."""
        try:
            return open_checkpoint(head.note, self._key)
        except ValueError as error:
            if head.elsewhere:
                raise Unclear(f"{head.name} proves nothing: {error}") from None
            self.notes.append(f"{head.name} is not used: {error}")
            return None

    def hashes(self, level: int, start: int, count: int) -> Sequence[bytes]:
        """Give hashes of what was read so far (see `tree.Nodes`)."""
        if level == 0:
            first = start - self._block
            return self._leaves[first : first + count]
        return self._levels[level][start : start + count]

    def failed(self, error: sqlite3.Error) -> Outcome:
        """SQLite could not go on: damage, or only out of reach?"""
        if _code(error) in _DAMAGED:
            where = f"after entry {self.size - 1}" if self.size else "before the first entry"
            where = f"table entries, {where}: {error}"
            return Outcome(Verdict.CORRUPT, self.size, where, tuple(self.notes))
        return Outcome(Verdict.CANNOT_TELL, self.size, None, (*self.notes, f"SQLite: {error}"))

    def outcome(self, *, brought: bool) -> Outcome:
        """All was consistent: say on whose word."""
        notes = self.notes
        if brought and self._witness:
            after = self.size - self._witness
            if after:
                notes.append(
                    f"the last {after} entries came after the head that was kept elsewhere"
                )
            return Outcome(Verdict.VERIFIED, self.size, None, tuple(notes))
        if not brought:
            notes.append("the pin lies on the machine that it checks: bring the key (--key)")
        if not self._witness:
            notes.append(
                "no head was kept elsewhere: offswitch ledger head > FILE, and --head FILE"
            )
        return Outcome(Verdict.UNWITNESSED, self.size, None, tuple(notes))

    # --- the reading --------------------------------------------------------------

    def run(self, connection: sqlite3.Connection, heads: Sequence[tuple[Head, Any]]) -> None:
        """Read everything; raises `_Damage` at the first place that is not as recorded."""
        self._heads = sorted(heads, key=lambda pair: pair[1].size)
        if not self._tables(connection):
            self._behind()
            raise Unclear("the ledger is empty")
        query = "SELECT level, idx, hash FROM nodes"
        self._stored = {(level, idx): node for level, idx, node in connection.execute(query)}
        query = (
            "SELECT idx, link, leaf, ring, seq, checkpoint, sealed, body FROM entries ORDER BY idx"
        )
        expected = connection.execute("SELECT max(idx) + 1 FROM entries").fetchone()[0]
        cursor = connection.execute(query)
        while rows := cursor.fetchmany(TILE_WIDTH):
            self._tile(rows)
            if self._progress is not None:
                self._progress(self.size, expected)
        self._behind()
        self._signature()
        for level, idx in self._stored:
            raise _Damage(f"table nodes: node {idx} of level {level} belongs to no full tile")
        self._erasures(connection)

    def _tables(self, connection: sqlite3.Connection) -> bool:
        rows = connection.execute("SELECT type, name FROM sqlite_schema").fetchall()
        found = {name.decode("utf-8", "replace") for _, name in rows}
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not found and version == 0:
            return False
        if version > _FORMAT:
            raise Unclear(f"the ledger has format {version}; a newer Offswitch reads it")
        for name in sorted(_TABLES ^ found):
            raise _Damage(f"table {name}: {'missing' if name in _TABLES else 'not one of ours'}")
        if version != _FORMAT or any(kind != b"table" for kind, _ in rows):
            raise _Damage("the tables are not laid out as ours are")
        return bool(connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone())

    def _tile(self, rows: list[tuple[Any, ...]]) -> None:
        """Check up to 256 rows at once; only if something is wrong, one by one."""
        start = self.size
        indexes, links, leaves, rings, seqs, notes, sealed, bodies = zip(*rows, strict=True)
        try:
            hashed = [sha256(b"\x00" + body).digest() for body in bodies]
            before = [self._before, *map(_followed, leaves, notes)]
            follow = [
                sha256(head if seq is None else head + ring + seq.to_bytes(8, "big")).digest()
                for head, ring, seq in zip(before[:-1], rings, seqs, strict=True)
            ]
            good = (
                indexes == tuple(range(start, start + len(rows)))
                and list(leaves) == hashed
                and list(links) == follow
                and rings.count(None) == seqs.count(None)
                and all(map(unsealed, sealed, bodies))
            )
        except (TypeError, ValueError, AttributeError, OverflowError):
            good = False
        if not good:
            self._find(rows)
            hashed = list(leaves)
        self._block, self._leaves = start, hashed
        self._before, self._last_note = _followed(leaves[-1], notes[-1]), notes[-1]
        if len(rows) == TILE_WIDTH:
            self._node(1, perfect_root(hashed))
        self.size = start + len(rows)
        while self._heads and self._heads[0][1].size <= self.size:
            self._witnessed(*self._heads.pop(0))

    def _find(self, rows: list[tuple[Any, ...]]) -> None:
        """Go through rows one by one; raise for the first that is wrong, or note erasures."""
        before = self._before
        for number, row in enumerate(rows, self.size):
            index, link, leaf, ring, seq, note, sealed, body = row
            self.size = number
            if index != number:
                raise _Damage(f"entry {number} is missing")
            try:
                place = (ring or b"") + (b"" if seq is None else seq.to_bytes(8, "big"))
                follows = sha256(before + place).digest() == link
                unchanged = sha256(b"\x00" + body).digest() == leaf
                before = _followed(leaf, note)
            except (TypeError, ValueError, AttributeError, OverflowError):
                raise _Damage(f"entry {number} was changed") from None
            if not follows:
                last = f"entry {number - 1}" if number else "nothing"
                raise _Damage(
                    f"entry {number} does not follow {last}: one of them was changed, or "
                    "something was put between them or taken out"
                )
            if not unchanged:
                raise _Damage(f"entry {number} was changed")
            self._sealed(number, sealed, body)

    def _sealed(self, number: int, sealed: object, body: bytes) -> None:
        """Check the sealed values of one entry, of which some may have been erased."""
        try:
            hashes = dict(json.loads(body)["sealed"])
        except (ValueError, TypeError, LookupError, RecursionError):
            raise _Damage(f"entry {number} was changed") from None
        lines = sealed.split(b"\n") if isinstance(sealed, bytes) and sealed else []
        for line in lines:
            name, _, secret = line.partition(b" ")
            field = name.decode("ascii", "replace")
            if field not in hashes:
                raise _Damage(f"entry {number}: a sealed value {field!r} that it does not name")
            if not secret:
                self._erased.append((number, field))
            elif sha256(_SEAL + secret).hexdigest() != hashes[field]:
                raise _Damage(f"entry {number}: its sealed value {field!r} was changed")
            del hashes[field]
        for field in hashes:
            raise _Damage(f"entry {number}: its sealed value {field!r} is missing")

    def _node(self, level: int, node: bytes) -> None:
        """Take in the root of a full tile, and compare it with the one that is stored."""
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        index = len(row)
        row.append(node)
        if self._stored.pop((level, index), None) != node:
            last = (index + 1 << 8 * level) - 1
            raise _Damage(
                f"table nodes: node {index} of level {level} is not the root of entries "
                f"{index << 8 * level} to {last}"
            )
        if len(row) % TILE_WIDTH == 0:
            self._node(level + 1, perfect_root(row[-TILE_WIDTH:]))

    def _witnessed(self, head: Head, checkpoint: Checkpoint) -> None:
        """Compare the tree at the size of a head that somebody kept."""
        if Frontier.of(self, checkpoint.size).root() != checkpoint.root:
            raise _Damage(
                f"entries 0 to {checkpoint.size - 1}: their tree is not the one of {head.name}"
            )
        if head.elsewhere:
            self._witness = checkpoint.size

    def _behind(self) -> None:
        for head, checkpoint in self._heads:
            if checkpoint.size > self.size:
                raise _Damage(
                    f"entry {self.size} is missing: {head.name} has {checkpoint.size} entries, "
                    f"the ledger {self.size}"
                )

    def _signature(self) -> None:
        """Check that the last row's checkpoint is signed, and is of just this tree."""
        place = f"checkpoint of entry {self.size - 1}"
        try:
            signed = open_checkpoint(self._last_note or b"", self._key)
        except (ValueError, TypeError, AttributeError) as error:
            raise _Damage(f"{place}: {error}") from None
        if signed.size != self.size:
            raise _Damage(f"{place}: it is of {signed.size} entries, but there are {self.size}")
        if signed.root != Frontier.of(self, self.size).root():
            raise _Damage(f"{place}: the tree of entries 0 to {self.size - 1} is another one")

    def _erasures(self, connection: sqlite3.Connection) -> None:
        """What was erased must be named by an entry of kind `erase`."""
        if not self._erased:
            return
        named = set()
        query = 'SELECT body FROM entries WHERE instr(body, CAST(\'"kind":"erase"\' AS BLOB))'
        for (body,) in connection.execute(query):
            entry = json.loads(body)  # whatever stands in the signed tree is canonical
            number, field = entry.get("entry"), entry.get("field")
            if entry["kind"] == "erase" and isinstance(number, int) and isinstance(field, str):
                named.add((number, field))
        for number, field in self._erased:
            if (number, field) not in named:
                raise _Damage(f"entry {number}: its sealed value {field!r} is missing")
        self.notes.append(f"{len(self._erased)} sealed values were erased, each by an entry")


def _followed(leaf: bytes, note: bytes | None) -> bytes:
    """Give what of a row goes into the link of the next one."""
    return leaf if note is None else leaf + note


def unsealed(lines: bytes, body: bytes) -> bool:
    """Tell whether the sealed lines are just those that the entry names, none erased."""
    named = []
    for line in lines.split(b"\n") if lines else ():
        field, _, secret = line.partition(b" ")
        if not secret:
            return False
        named.append(b'"%b":"%b"' % (field, sha256(_SEAL + secret).hexdigest().encode()))
    return b'"sealed":{%b}' % b",".join(named) in body
