"""Keys that can only stop: machine tokens and phones (SEC-1). Each has a name and a scope.

    token     a program's, in `Authorization: Bearer`; made by an admin
    device    a phone's, in the address of its one page; bound to a person

A key is shown once and kept as its digest. It hangs on no session, no identity provider and no
role that would have to be asked for: it works until it is revoked, or its person is removed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from enum import StrEnum

from offswitch.errors import Busy, NotFound
from offswitch.model.scope import parse_scope
from offswitch.printable import printable
from offswitch.station.people.accounts import check_person, digest_of
from offswitch.station.people.store import Store

__all__ = ["Grant", "GrantKind", "Grants"]

_MOST = 1000
_WRITTEN_EVERY_US = 60_000_000


class GrantKind(StrEnum):
    """Whose key it is."""

    TOKEN = "token"  # noqa: S105 - a word, no secret
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Grant:
    """One key."""

    kind: GrantKind
    name: str
    """Unique among its kind; orders bear it: `token:ci`, `device:ada-phone`."""
    key: str
    """The digest of the key."""
    person: str
    """Whose it is; of a token, who made it."""
    scope: str
    """What it stops: it and what is below."""
    made_us: int
    seen_us: int
    """When it was used last; 0: never."""


class Grants:
    """All of them, in memory; changes are written behind."""

    def __init__(self, store: Store) -> None:
        """Read them from `store`."""
        self._store = store
        query = "SELECT kind, name, key, person, scope, made_us, seen_us FROM grants"
        found = (Grant(GrantKind(str(row[0])), *row[1:]) for row in store.rows(query))  # type: ignore[arg-type]
        self._grants = {one.key: one for one in found}
        self._written_us = {one.key: one.seen_us for one in self._grants.values()}

    def of(self, kind: GrantKind, person: str | None = None) -> list[Grant]:
        """List those of a kind, and of a person where one is given, by name."""
        found = (one for one in self._grants.values() if one.kind is kind)
        mine = (one for one in found if person in {None, one.person})
        return sorted(mine, key=lambda one: one.name)

    def check(self, kind: GrantKind, name: str, scope: str) -> str:
        """See whether one of that name and scope can be made; gives the scope's spelling."""
        check_person(name)
        if any(one.name == name for one in self.of(kind)):
            raise Busy(f"there is a {kind.value} {name} already", "choose another name")
        if len(self.of(kind)) >= _MOST:
            raise Busy(f"there are {_MOST} of them already", "revoke what nobody uses")
        return parse_scope(scope).text

    def make(self, kind: GrantKind, name: str, person: str, scope: str, now_us: int) -> str:
        """Make one; gives the key, which nobody sees again."""
        spelt = self.check(kind, name, scope)
        key = secrets.token_urlsafe(32)
        if kind is GrantKind.TOKEN:
            key = f"offswitch_{key}"  # so that those who look for leaked secrets find it
        one = Grant(kind, name, digest_of(key), person, spelt, now_us, 0)
        self._grants[one.key] = one
        values = (kind.value, name, one.key, person, spelt, now_us, 0)
        self._store.write("INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return key

    def find(self, kind: GrantKind, key: str) -> Grant | None:
        """Give the one whose key this is."""
        one = self._grants.get(digest_of(key))
        return one if one is not None and one.kind is kind else None

    def used(self, one: Grant, now_us: int) -> None:
        """Note that it was used; written down at most once a minute, behind the stop."""
        if one.key not in self._grants:
            return
        self._grants[one.key] = replace(self._grants[one.key], seen_us=now_us)
        if now_us - self._written_us.get(one.key, 0) > _WRITTEN_EVERY_US:
            self._written_us[one.key] = now_us
            self._store.write("UPDATE grants SET seen_us = ? WHERE key = ?", (now_us, one.key))

    def known(self, kind: GrantKind, name: str) -> Grant:
        """Give one that must be there."""
        for one in self.of(kind):
            if one.name == name:
                return one
        raise NotFound(f"there is no {kind.value} {printable(name, 40)!r}")

    def revoke(self, one: Grant) -> None:
        """End one; its next press is refused."""
        self._grants.pop(one.key, None)
        self._written_us.pop(one.key, None)
        self._store.write("DELETE FROM grants WHERE key = ?", (one.key,))
