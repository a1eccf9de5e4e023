"""Accounts and sessions, in one SQLite file of the station's own.

What lies here lets somebody sign in, stop, acknowledge, and open a reset. It can confirm none:
the proofs for that are checked by the warden against files that the station cannot write
(SR-5). So the role `safety` is not given here either: it is whose name the warden knows with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from offswitch.decide.roles import Role
from offswitch.errors import Busy, NotFound, Usage

__all__ = ["Account", "Accounts", "Session"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, roles TEXT NOT NULL, password TEXT, made_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, csrf TEXT NOT NULL,
    made_us INTEGER NOT NULL, seen_us INTEGER NOT NULL
) STRICT;
"""
_NAME_MOST = 32


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in."""

    name: str
    roles: frozenset[Role]
    """Without `safety`, which only the warden gives."""
    password: str | None
    """As `passwords` keeps it; None: they sign in otherwise."""
    made_us: int


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in. Its key lies in the person's browser, here only the key's digest."""

    key: str
    name: str
    csrf: str
    """What a form of this session carries."""
    made_us: int
    seen_us: int


class Accounts:
    """The file. Small and local: every call is a fraction of a millisecond."""

    def __init__(self, folder: str) -> None:
        """Open or make it in `folder`."""
        self._db = sqlite3.connect(f"{folder}/people.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.executescript(_SCHEMA)
        os.chmod(f"{folder}/people.db", 0o600)

    def all(self) -> list[Account]:
        """List everybody, by name."""
        rows = self._db.execute("SELECT name, roles, password, made_us FROM accounts ORDER BY name")
        return [_account(row) for row in rows]

    def get(self, name: str) -> Account | None:
        """Give one."""
        query = "SELECT name, roles, password, made_us FROM accounts WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        return None if row is None else _account(row)

    def add(self, name: str, roles: Collection[Role], password: str | None, now_us: int) -> None:
        """Add somebody."""
        if not name.isascii() or not name.replace("-", "").replace(".", "").isalnum():
            raise Usage(f"{name[:40]!r} is no name", "use a-z, 0-9, . and -")
        if len(name) > _NAME_MOST or not name.islower():
            raise Usage(f"{name[:40]!r} is no name", "lower case, up to 32 characters")
        if Role.SAFETY in roles:
            raise Usage(
                "the role safety is given by root", "sudo offswitch people add NAME --role safety"
            )
        values = (name, json.dumps(sorted(roles)), password, now_us)
        try:
            self._db.execute("INSERT INTO accounts VALUES (?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:
            raise Busy(f"there is a person {name} already", "choose another name") from None

    def remove(self, name: str) -> None:
        """Remove somebody, and every session of theirs."""
        if not self._db.execute("DELETE FROM accounts WHERE name = ?", (name,)).rowcount:
            raise NotFound(f"there is no person {name[:40]!r}")
        self._db.execute("DELETE FROM sessions WHERE name = ?", (name,))

    # --- sessions -----------------------------------------------------------------

    def sign_in(self, name: str, now_us: int) -> tuple[str, Session]:
        """Begin a session; gives what the browser keeps. It is new each time (no fixation)."""
        key, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        session = Session(_digest(key), name, csrf, now_us, now_us)
        values = (session.key, name, csrf, now_us, now_us)
        self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", values)
        return key, session

    def session(self, key: str, now_us: int, lasts_us: int, idle_us: int) -> Session | None:
        """Give the session of a key that a browser sent, unless it has run out."""
        query = "SELECT key, name, csrf, made_us, seen_us FROM sessions WHERE key = ?"
        row = self._db.execute(query, (_digest(key),)).fetchone()
        if row is None:
            return None
        session = Session(*row)
        if now_us - session.made_us > lasts_us or now_us - session.seen_us > idle_us:
            self.sign_out(session)
            return None
        if now_us - session.seen_us > idle_us // 10:
            self._db.execute("UPDATE sessions SET seen_us = ? WHERE key = ?", (now_us, row[0]))
        return session

    def sign_out(self, session: Session) -> None:
        """End a session."""
        self._db.execute("DELETE FROM sessions WHERE key = ?", (session.key,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _account(row: tuple[str, str, str | None, int]) -> Account:
    name, roles, password, made_us = row
    return Account(name, frozenset(Role(role) for role in json.loads(roles)), password, made_us)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
