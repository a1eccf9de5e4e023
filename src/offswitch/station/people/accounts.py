"""Accounts and sessions: who may sign in, and who has.

What lies here lets somebody sign in, stop, acknowledge, and open a reset. It can confirm none:
the proofs for that are checked by the warden against files that the station cannot write
(SR-5). So the role `safety` is not given here either: it is whose name the warden knows with it.

A session's key lies in the person's browser; here only its digest. It is bound to nothing that
changes by itself (an address, a browser's name): a phone that changes networks still stops. A
sign-in makes a new one always, a new password or other roles end those that there were.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace

from offswitch.decide.roles import Role
from offswitch.errors import Busy, NotFound, Usage
from offswitch.printable import printable
from offswitch.station.people.store import Store, Value

__all__ = ["Account", "Accounts", "Session", "check_person", "digest_of"]

_NAME_MOST = 32
_AGENT_MOST = 120
_MOST_SESSIONS = 20
"""Of one person; the one that was not seen for the longest ends first."""
_MOST_ACCOUNTS = 2000


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
    way: str
    """How they signed in: `password`, `passkey`, `invitation`, `sso`."""
    agent: str
    """What the browser called itself then, for people."""
    made_us: int
    seen_us: int

    @property
    def id(self) -> str:
        """What it is called where it is listed; tells nothing of the key."""
        return self.key[:16]


class Accounts:
    """All of them, in memory; changes are written behind."""

    def __init__(self, store: Store) -> None:
        """Read them from `store`."""
        self._store = store
        query = "SELECT name, roles, password, made_us FROM accounts"
        self._accounts = {one.name: one for one in map(_account, store.rows(query))}
        query = "SELECT key, name, csrf, way, agent, made_us, seen_us FROM sessions"
        self._sessions = {one.key: one for one in (Session(*row) for row in store.rows(query))}  # type: ignore[arg-type]
        self._written_us = {key: one.seen_us for key, one in self._sessions.items()}

    def all(self) -> list[Account]:
        """List everybody, by name."""
        return sorted(self._accounts.values(), key=lambda one: one.name)

    def get(self, name: str) -> Account | None:
        """Give one."""
        return self._accounts.get(name)

    def known(self, name: str) -> Account:
        """Give one who must be there."""
        account = self._accounts.get(name)
        if account is None:
            raise NotFound(f"there is no person {printable(name, 40)!r}", "see the page People")
        return account

    def add(self, name: str, roles: Collection[Role], password: str | None, now_us: int) -> None:
        """Add somebody."""
        check_person(name)
        _no_safety(roles)
        if name in self._accounts:
            raise Busy(f"there is a person {name} already", "choose another name")
        if len(self._accounts) >= _MOST_ACCOUNTS:
            raise Busy(f"there are {_MOST_ACCOUNTS} people already", "remove who has left")
        self._accounts[name] = Account(name, frozenset(roles), password, now_us)
        values = (name, json.dumps(sorted(roles)), password, now_us)
        self._store.write("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)", values)

    def remove(self, name: str) -> None:
        """Remove somebody, and every session of theirs."""
        account = self.known(name)
        self._leaves_one(account, frozenset())
        self.end_sessions(name)
        del self._accounts[name]
        self._store.write("DELETE FROM accounts WHERE name = ?", (name,))

    def give_roles(self, name: str, roles: Collection[Role]) -> None:
        """Give somebody these roles and no others; their sessions end."""
        account = self.known(name)
        _no_safety(roles)
        self._leaves_one(account, frozenset(roles))
        self._accounts[name] = replace(account, roles=frozenset(roles))
        values = (json.dumps(sorted(roles)), name)
        self._store.write("UPDATE accounts SET roles = ? WHERE name = ?", values)
        if frozenset(roles) != account.roles:
            self.end_sessions(name)

    def give_password(self, name: str, kept: str | None) -> None:
        """Give somebody another password, as `passwords` keeps it; their sessions end."""
        self._accounts[name] = replace(self.known(name), password=kept)
        self._store.write("UPDATE accounts SET password = ? WHERE name = ?", (kept, name))
        self.end_sessions(name)

    def _leaves_one(self, account: Account, roles: frozenset[Role]) -> None:
        """See that somebody is left who can stop, and somebody who can let others in."""
        for role in (Role.OPERATOR, Role.ADMIN):
            if role not in account.roles or role in roles:
                continue
            others = (one for one in self._accounts.values() if one.name != account.name)
            if not any(role in one.roles for one in others):
                raise Busy(
                    f"{account.name} is the last {role.value}", f"make somebody else {role.value}"
                )

    # --- sessions -----------------------------------------------------------------

    def sign_in(
        self, name: str, now_us: int, way: str = "password", agent: str = ""
    ) -> tuple[str, Session]:
        """Begin a session; gives what the browser keeps. It is new each time (no fixation)."""
        mine = self.sessions_of(name)
        for old in mine[_MOST_SESSIONS - 1 :]:
            self.sign_out(old)
        key, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        agent = printable(agent, _AGENT_MOST)
        session = Session(digest_of(key), name, csrf, way, agent, now_us, now_us)
        self._sessions[session.key] = session
        self._written_us[session.key] = now_us
        values = (session.key, name, csrf, way, agent, now_us, now_us)
        self._store.write("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return key, session

    def session(self, key: str, now_us: int, lasts_us: int, idle_us: int) -> Session | None:
        """Give the session of a key that a browser sent, unless it has run out."""
        session = self._sessions.get(digest_of(key))
        if session is None:
            return None
        if now_us - session.made_us > lasts_us or now_us - session.seen_us > idle_us:
            self.sign_out(session)
            return None
        self._sessions[session.key] = session = replace(session, seen_us=now_us)
        if now_us - self._written_us.get(session.key, 0) > idle_us // 10:
            self._written_us[session.key] = now_us
            query = "UPDATE sessions SET seen_us = ? WHERE key = ?"
            self._store.write(query, (now_us, session.key))
        return session

    def sessions_of(self, name: str) -> list[Session]:
        """List the sessions of somebody, the one seen last first."""
        mine = (one for one in self._sessions.values() if one.name == name)
        return sorted(mine, key=lambda one: -one.seen_us)

    def sign_out(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.key, None)
        self._written_us.pop(session.key, None)
        self._store.write("DELETE FROM sessions WHERE key = ?", (session.key,))

    def end_sessions(self, name: str) -> int:
        """End all sessions of somebody; tells how many."""
        mine = self.sessions_of(name)
        for session in mine:
            self.sign_out(session)
        return len(mine)

    def sweep(self, now_us: int, lasts_us: int, idle_us: int) -> None:
        """End the sessions that have run out."""
        for one in list(self._sessions.values()):
            if now_us - one.made_us > lasts_us or now_us - one.seen_us > idle_us:
                self.sign_out(one)

    @property
    def trouble(self) -> str:
        """Why the last change could not be written down; empty: it could."""
        return self._store.trouble

    async def settled(self) -> None:
        """Wait until all that was changed is durable."""
        await self._store.settled()


def check_person(name: str) -> str:
    """Give a name of a person, token or device; raises `Usage` where it is none."""
    plain = name.isascii() and name.replace("-", "").replace(".", "").replace("_", "").isalnum()
    if not plain or not name[:1].isalpha() or name != name.lower() or len(name) > _NAME_MOST:
        raise Usage(
            f"{printable(name, 40)!r} is no name",
            f"a-z first, then a-z, 0-9, ., _ and -, up to {_NAME_MOST}",
        )
    return name


def digest_of(key: str) -> str:
    """Give what is kept of a secret that somebody else has."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _no_safety(roles: Collection[Role]) -> None:
    if Role.SAFETY in roles:
        raise Usage(
            "the role safety is given by root", "sudo offswitch people add NAME --role safety"
        )


def _account(row: tuple[Value, ...]) -> Account:
    name, roles, password, made_us = row
    known = frozenset(Role(role) for role in json.loads(str(roles)))
    return Account(str(name), known, None if password is None else str(password), int(made_us or 0))
