"""What is to be sent, and how far each thread is, on disk: `station/notify.db`.

The truth while the station runs is in memory; the file is what a new life begins with. It is
written by a thread of its own, in order, each change as a whole, so that a slow, full or dead disk
delays nothing: what it does not take waits in memory, is tried again, and what does not fit there
any more is counted, and told. A `kill -9` loses what was not written yet: some milliseconds, which
the record still has, since how far that was read is written together with what came of it.

Each way to tell somebody has a queue of its own, oldest first, at most two thousand long; what
falls out of it is a gap that the caller has recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from offswitch.errors import Storage

__all__ = ["MOST", "Change", "Delivery", "Queues"]

MOST = 2000
"""Deliveries that wait for one sink."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, sink TEXT NOT NULL, thread TEXT NOT NULL, body TEXT NOT NULL,
    made_us INTEGER NOT NULL, tries INTEGER NOT NULL, next_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS kept (
    room TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (room, key)
) STRICT;
"""
_WAITING = 20_000
_AGAIN_S = 1.0
_BUSY_S = 5.0

Change = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class Delivery:
    """One thing that waits to be sent by one way."""

    id: int
    """Grows; the receiver may tell by it that something comes twice."""
    sink: str
    thread: str
    body: dict[str, Any]
    made_us: int
    tries: int = 0
    next_us: int = 0
    """Not before; UTC, microseconds."""


class Queues:
    """The file, and what of it is in memory."""

    def __init__(self, folder: str) -> None:
        """Open it in `folder`; what cannot be read is put aside, and a new one begun."""
        self._path = f"{folder}/notify.db"
        self.problem = ""
        """What is wrong with the disk; empty: nothing."""
        self.lost = 0
        """Changes that were not written, and never will be."""
        self._waiting: dict[str, deque[Delivery]] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._next_id = 1
        db = self._opened()
        self._load(db)
        self._changes: queue.Queue[list[Change] | Callable[[], object] | None] = queue.Queue()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, args=(db,), daemon=True, name="notify")
        self._writer.start()

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            self.problem = f"what was to be sent could not be read: {error}"
            with suppress(OSError):
                os.replace(self._path, f"{self._path}.unreadable")
        try:
            return self._connected()
        except sqlite3.Error as error:
            raise Storage(f"{self._path}: {error}", "see its disk: offswitch doctor") from None

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
        )
        db.execute("PRAGMA journal_mode=DELETE")
        db.executescript(_SCHEMA)
        os.chmod(self._path, 0o600)
        return db

    def _load(self, db: sqlite3.Connection) -> None:
        for row in db.execute("SELECT * FROM deliveries ORDER BY id"):
            number, sink, thread, body, made_us, tries, _next_us = row
            with suppress(ValueError):
                # A new life tries at once: what was in the way may have ended with the last one.
                one = Delivery(number, sink, thread, json.loads(body), made_us, tries, 0)
                self._waiting.setdefault(sink, deque()).append(one)
            self._next_id = max(self._next_id, number + 1)
        for room, key, body in db.execute("SELECT room, key, body FROM kept"):
            with suppress(ValueError):
                self._kept.setdefault(room, {})[key] = json.loads(body)
        self._next_id = max(self._next_id, int(self._kept.get("ids", {}).get("next", 1)))

    # --- the queues -----------------------------------------------------------------

    def add(
        self, sink: str, thread: str, body: Mapping[str, Any], now_us: int
    ) -> tuple[list[Change], Delivery | None]:
        """Queue something; gives what is to be written, and what fell out for want of room."""
        one = Delivery(self._next_id, sink, thread, dict(body), now_us, 0, now_us)
        self._next_id += 1
        waiting = self._waiting.setdefault(sink, deque())
        waiting.append(one)
        changes: list[Change] = [
            (
                "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?)",
                (one.id, sink, thread, json.dumps(one.body), now_us, 0, now_us),
            ),
            _keep("ids", "next", self._next_id),
        ]
        dropped = None
        if len(waiting) > MOST:
            dropped = waiting[1] if len(waiting) > 1 else waiting[0]  # the head is on its way
            waiting.remove(dropped)
            changes.append(("DELETE FROM deliveries WHERE id = ?", (dropped.id,)))
        return changes, dropped

    def head(self, sink: str) -> Delivery | None:
        """Give what has waited longest for `sink`."""
        waiting = self._waiting.get(sink)
        return waiting[0] if waiting else None

    def waiting(self, sink: str) -> int:
        """How much waits for `sink`."""
        return len(self._waiting.get(sink, ()))

    def sinks(self) -> list[str]:
        """Name those for whom something waits."""
        return [name for name, waiting in self._waiting.items() if waiting]

    def done(self, one: Delivery) -> list[Change]:
        """It was sent, or never will be."""
        with suppress(ValueError):
            self._waiting[one.sink].remove(one)
        return [("DELETE FROM deliveries WHERE id = ?", (one.id,))]

    def again(self, one: Delivery, next_us: int) -> list[Change]:
        """It was tried in vain; not again before `next_us`."""
        one.tries += 1
        one.next_us = next_us
        change = "UPDATE deliveries SET tries = ?, next_us = ? WHERE id = ?"
        return [(change, (one.tries, next_us, one.id))]

    # --- what else is kept ------------------------------------------------------------

    def kept(self, room: str) -> dict[str, Any]:
        """Give all that is kept in a room; it is not to be changed."""
        return self._kept.get(room, {})

    def keep(self, room: str, key: str, value: Any) -> list[Change]:  # noqa: ANN401 - JSON
        """Keep a value; gives what is to be written."""
        self._kept.setdefault(room, {})[key] = value
        return [_keep(room, key, value)]

    def forget(self, room: str, key: str) -> list[Change]:
        """Forget a value."""
        self._kept.get(room, {}).pop(key, None)
        return [("DELETE FROM kept WHERE room = ? AND key = ?", (room, key))]

    # --- the disk ---------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        """Have changes written, as one; does not wait."""
        if not changes:
            return
        if self._changes.qsize() > _WAITING:
            self.lost += len(changes)
            return
        self._changes.put(list(changes))

    async def settled(self, patience_s: float) -> bool:
        """Wait until all of it so far is on disk, for so long at most; tells whether it is."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        self._changes.put(partial(loop.call_soon_threadsafe, done.set))
        try:
            await asyncio.wait_for(done.wait(), patience_s)
        except TimeoutError:
            return False
        return True

    @property
    def behind(self) -> int:
        """How many changes are not written yet."""
        return self._changes.unfinished_tasks

    def _write(self, db: sqlite3.Connection) -> None:
        while True:
            changes = self._changes.get()
            if changes is None:
                break
            while not callable(changes) and not self._written(db, changes):
                if self._closing.wait(_AGAIN_S):
                    break
            if callable(changes):
                with suppress(RuntimeError):  # the loop that waited has ended
                    changes()
            self._changes.task_done()
        db.close()

    def _written(self, db: sqlite3.Connection, changes: list[Change]) -> bool:
        try:
            db.execute("BEGIN IMMEDIATE")
            for sql, values in changes:
                db.execute(sql, values)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self.problem = f"what is to be sent is not on disk: {error}"
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            return False
        self.problem = ""
        return True

    def close(self, patience_s: float = 1.0) -> None:
        """Let what waits be written, if the disk takes it soon."""
        self._changes.put(None)
        self._writer.join(patience_s)
        self._closing.set()


def _keep(room: str, key: str, value: Any) -> Change:  # noqa: ANN401 - JSON
    return ("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (room, key, json.dumps(value)))
