"""Links that let somebody set their own password, so that no password is ever sent around.

A link is good once and for three days; a new one for the same person replaces it. Its key is
kept as a digest, and survives the station.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from offswitch.station.people.accounts import digest_of
from offswitch.station.people.store import Store

__all__ = ["LASTS_US", "Invitation", "Invitations"]

LASTS_US = 72 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Invitation:
    """One open link."""

    key: str
    """The digest of the link's key."""
    name: str
    """For whom."""
    by: str
    """Who made it."""
    until_us: int
    """UTC, microseconds."""


class Invitations:
    """All that are open, in memory; changes are written behind."""

    def __init__(self, store: Store) -> None:
        """Read them from `store`."""
        self._store = store
        rows = store.rows("SELECT key, name, by, until_us FROM invitations")
        self._open = {one.name: one for one in (Invitation(*row) for row in rows)}  # type: ignore[arg-type]

    def make(self, name: str, by: str, now_us: int) -> str:
        """Make a link's key for `name`; gives it, and nobody sees it again."""
        self.withdraw(name)
        key = secrets.token_urlsafe(32)
        one = Invitation(digest_of(key), name, by, now_us + LASTS_US)
        self._open[name] = one
        values = (one.key, one.name, one.by, one.until_us)
        self._store.write("INSERT INTO invitations VALUES (?, ?, ?, ?)", values)
        return key

    def find(self, key: str, now_us: int) -> Invitation | None:
        """Give the one whose key this is, while it is good."""
        digest = digest_of(key)
        found = (one for one in self._open.values() if one.key == digest and one.until_us > now_us)
        return next(found, None)

    def of(self, name: str, now_us: int) -> Invitation | None:
        """Give the open one for somebody."""
        one = self._open.get(name)
        return one if one is not None and one.until_us > now_us else None

    def withdraw(self, name: str) -> None:
        """End the one for somebody, used or not."""
        one = self._open.pop(name, None)
        if one is not None:
            self._store.write("DELETE FROM invitations WHERE key = ?", (one.key,))
