"""What is known of the roles that are to be cut: who they are, what they hold, what they could do.

Read anew at every proof. A role is found by its name and remembered by its number: who may rename
itself is found all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.data.postgres.rights import Right, quoted, read_rights, rights_query
from offswitch.actuators.hands.data.postgres.session import Session
from offswitch.printable import printable

__all__ = ["Known", "Target", "read_known"]


@dataclass(frozen=True, slots=True)
class Target:
    """One role."""

    oid: int
    plain: str
    name: str
    """Quoted by the server."""
    login: bool
    superuser: bool
    becomes: bool
    """Whether it is a member of a superuser's role."""
    makes_roles: bool
    signals: bool
    """Whether it may end other sessions, and so the one that is held."""
    owns: int
    """How many things in the cluster are its own."""
    ours: bool
    """Whether it is the very role by which we act."""
    ending: bool
    """Whether we may end its sessions."""

    @property
    def bar(self) -> str:
        """The statement that takes its login."""
        return f"ALTER ROLE {self.name} NOLOGIN"

    @property
    def literal(self) -> str:
        """Its name as a literal."""
        return quoted(self.plain)

    @property
    def weak(self) -> list[str]:
        """Why REVOKE alone would not hold it."""
        name = printable(self.name, 80)
        held = "only the end of its sessions and of its login holds it"
        found = []
        if self.superuser or self.becomes:
            what = "is a superuser" if self.superuser else "can become a superuser"
            found.append(f"{name} {what}: no REVOKE binds it, and it may make other roles; {held}")
        elif self.makes_roles:
            found.append(f"{name} may make roles (CREATEROLE), which are not cut with it")
        if self.owns and not self.superuser:
            found.append(f"{name} owns {self.owns} things and can grant itself their use; {held}")
        if self.signals and not self.superuser:
            found.append(f"{name} may end other sessions (pg_signal_backend), the hand's, too")
        return found


@dataclass(frozen=True, slots=True)
class Known:
    """All that is to be cut."""

    me: str
    """By whom we act."""
    database: str
    """To which the held session is connected."""
    targets: tuple[Target, ...]
    elsewhere: tuple[str, ...]
    """The databases in which they have rights or own something."""
    rights: dict[str, tuple[Right, ...]] = field(default_factory=dict)
    """By database; "" is the held session's."""

    @property
    def oids(self) -> list[int]:
        """The roles' numbers."""
        return [target.oid for target in self.targets]

    def quoted_database(self, name: str) -> str:
        """Spell a database for a person."""
        return '"' + (name or self.database).replace('"', '""') + '"'


def _roles_query(roles: Sequence[str], oids: Sequence[int]) -> str:
    names = ", ".join(map(quoted, roles))
    numbers = ", ".join(map(str, [0, *oids]))
    return f"""
SELECT r.oid, r.rolname, quote_ident(r.rolname), r.rolcanlogin, r.rolsuper,
    EXISTS (SELECT 1 FROM pg_roles s WHERE s.rolsuper AND s.oid <> r.oid
        AND pg_has_role(r.oid, s.oid, 'MEMBER')),
    r.rolcreaterole,
    pg_has_role(r.oid, 'pg_signal_backend', 'MEMBER'),
    (SELECT count(*) FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass
        AND d.refobjid = r.oid AND d.deptype = 'o'),
    r.rolname IN (current_user, session_user),
    me.rolsuper OR NOT r.rolsuper
        AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')),
    current_user, current_database()
FROM pg_roles r, pg_roles me
WHERE (r.rolname IN ({names}) OR r.oid IN ({numbers})) AND me.rolname = current_user
ORDER BY r.oid
"""  # noqa: S608 - literals


def _elsewhere_query(oids: Sequence[int]) -> str:
    numbers = ", ".join(map(str, oids))
    return (
        "SELECT DISTINCT b.datname FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid"  # noqa: S608 - numbers
        f" WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid IN ({numbers})"
        " AND d.deptype IN ('a', 'o') AND b.datallowconn ORDER BY 1 LIMIT 16"
    )


def read_known(session: Session, roles: Sequence[str], oids: Sequence[int] = ()) -> Known:
    """Read it, also those of `oids` that have another name by now; `Trouble`: one is not there."""
    rows = session.rows(_roles_query(roles, oids))
    there = {row[1] for row in rows}
    for role in roles:
        if role not in there and len(rows) < len(roles):
            raise Trouble(f"there is no role {printable(role, 80)} at {session.place}")
    targets = tuple(
        Target(
            int(row[0] or 0),
            row[1] or "",
            row[2] or "",
            login=row[3] == "t",
            superuser=row[4] == "t",
            becomes=row[5] == "t",
            makes_roles=row[6] == "t",
            signals=row[7] == "t",
            owns=int(row[8] or 0),
            ours=row[9] == "t",
            ending=row[10] == "t",
        )
        for row in rows
    )
    oids = [target.oid for target in targets]
    elsewhere = tuple(row[0] or "" for row in session.rows(_elsewhere_query(oids)))
    rights = read_rights(session.rows(rights_query(oids)))
    me, database = rows[0][11] or "", rows[0][12] or ""
    return Known(me, database, targets, elsewhere, {"": rights})
