"""The station's file of people: read once at the start, and written behind what is asked.

Who may press is known from memory, so no stop waits for a disk (SEC-4). A change is made there
first and written by a thread of its own, in order; whoever wants to say that it is done waits
for `settled`. What cannot be written is in force until the station ends, and says so.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from offswitch.errors import Storage

__all__ = ["Store", "Value"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, roles TEXT NOT NULL, password TEXT, made_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, csrf TEXT NOT NULL, way TEXT NOT NULL,
    agent TEXT NOT NULL, made_us INTEGER NOT NULL, seen_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS invitations (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, by TEXT NOT NULL, until_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS grants (
    kind TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE, person TEXT NOT NULL,
    scope TEXT NOT NULL, made_us INTEGER NOT NULL, seen_us INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
CREATE TABLE IF NOT EXISTS passkeys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, rp TEXT NOT NULL,
    label TEXT NOT NULL, made_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS subjects (
    issuer TEXT NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
"""

Value = str | int | None


class Store:
    """The file, and the one thread that writes it."""

    def __init__(self, folder: str) -> None:
        """Open or make it in `folder`."""
        path = f"{folder}/people.db"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        os.chmod(path, 0o600)
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.executescript(_SCHEMA)
        self._writer = ThreadPoolExecutor(1, "people")
        self._waiting: set[Future[None]] = set()
        self.trouble = ""
        """Why the last change could not be written; empty: it could."""

    def rows(self, query: str) -> list[tuple[Value, ...]]:
        """Read, at the start only."""
        return self._db.execute(query).fetchall()

    def write(self, query: str, values: Sequence[Value]) -> None:
        """Have a change written, after those before it."""
        future = self._writer.submit(self._write, query, tuple(values))
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)

    def _write(self, query: str, values: tuple[Value, ...]) -> None:
        try:
            self._db.execute(query, values)
            self.trouble = ""
        except sqlite3.Error as error:
            self.trouble = str(error)
            raise Storage(
                f"who may do what could not be written down: {error}",
                "it holds until the station ends; see the disk, and do it again",
            ) from None

    async def settled(self) -> None:
        """Wait until all that was changed so far is durable."""
        waiting = [asyncio.wrap_future(future) for future in tuple(self._waiting)]
        if waiting:
            await asyncio.gather(*waiting)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.shutdown()
        self._db.close()
