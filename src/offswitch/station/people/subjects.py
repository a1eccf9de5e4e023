"""Whom a provider means: its own names for people, bound to ours at their first sign-in.

A name that somebody has here already, by a password or a passkey, no provider can take.
"""

from __future__ import annotations

from offswitch.decide.roles import Role
from offswitch.errors import Busy, Refused
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.passkeys import Passkeys
from offswitch.station.people.sso import Arrived
from offswitch.station.people.store import Store

__all__ = ["Subjects"]


class Subjects:
    """All that are bound, in memory; changes are written behind."""

    def __init__(self, store: Store) -> None:
        """Read them from `store`."""
        self._store = store
        rows = store.rows("SELECT issuer, subject, name FROM subjects")
        self._names = {(str(issuer), str(subject)): str(name) for issuer, subject, name in rows}

    def admit(
        self, accounts: Accounts, passkeys: Passkeys, issuer: str, who: Arrived, now_us: int
    ) -> tuple[str, frozenset[Role] | None]:
        """Give who has arrived here, and their roles before; None: they are new."""
        key = (issuer, who.subject)
        name = self._names.get(key)
        if name is None:
            account = accounts.get(who.name)
            taken = who.name in self._names.values() or passkeys.of(who.name)
            if account is not None and (taken or account.password is not None):
                raise Refused(
                    f"somebody else is {who.name} here", "an admin sees to it on the page People"
                )
            name = who.name
            self._names[key] = name
            query = "INSERT OR REPLACE INTO subjects VALUES (?, ?, ?)"
            self._store.write(query, (issuer, who.subject, name))
        account = accounts.get(name)
        if account is None:
            accounts.add(name, who.roles, None, now_us)
            return name, None
        prior = account.roles
        if prior != who.roles:
            try:
                accounts.give_roles(name, who.roles)
            except Busy:  # the last of a role keeps it, whatever a provider says
                accounts.give_roles(name, who.roles | prior)
        return name, prior

    def forget(self, name: str) -> None:
        """Forget that somebody is meant; who is removed here begins anew."""
        for key in [key for key, one in self._names.items() if one == name]:
            del self._names[key]
        self._store.write("DELETE FROM subjects WHERE name = ?", (name,))
