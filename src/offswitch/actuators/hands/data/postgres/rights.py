"""What a role was given in a database, and the exact statements that take it away.

Read from the catalogue's access lists, with who gave each right: `REVOKE` takes back only what its
own grantor gave, so what a third party passed on is taken back in that party's name. Always with
`CASCADE`: one right that the target passed on would otherwise keep all of them in force. Rights by
membership go with the membership. What everybody may do (`PUBLIC`) cannot be taken from one, nor
can an owner be kept from giving itself its rights again: the sessions' end and `NOLOGIN` do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from offswitch.actuators.hands.data.postgres.session import Row

__all__ = ["Right", "again", "cuts", "quoted", "read_rights", "rights_query"]

_TOGETHER = 100
"""So many things are named by one statement: what keeps one of them keeps all of these."""
_LONGEST = 120
_MEMBER = "MEMBER"
_ORDER = ("TABLE", "ROUTINE", _MEMBER, "SCHEMA", "SEQUENCE", "LARGE OBJECT", "FOREIGN SERVER")
"""What is cut first: by what data is written at once."""


_RELATION = "format('%I.%I', n.nspname, c.relname)"
_RELATIONS = (
    "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'"
)
"""What has an access list; a temporary table ends with its session."""
_COLUMNS = f"{_RELATIONS} JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped"
_TABLE_KIND = "CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"
_ROUTINE = "(pg_identify_object('pg_proc'::regclass, p.oid, 0)).identity"
_LARGE_OBJECTS, _SERVERS = "pg_largeobject_metadata l", "pg_foreign_server f"
_LISTS = (
    (_TABLE_KIND, _RELATION, "c.relacl", _RELATIONS, "c.relowner"),
    ("'TABLE'", _RELATION, "a.attacl", _COLUMNS, "c.relowner"),
    ("'SCHEMA'", "quote_ident(s.nspname)", "s.nspacl", "pg_namespace s", "s.nspowner"),
    ("'ROUTINE'", _ROUTINE, "p.proacl", "pg_proc p", "p.proowner"),
    ("'LARGE OBJECT'", "l.oid::text", "l.lomacl", _LARGE_OBJECTS, "l.lomowner"),
    ("'FOREIGN SERVER'", "quote_ident(f.srvname)", "f.srvacl", _SERVERS, "f.srvowner"),
    ("'DATABASE'", "quote_ident(d.datname)", "d.datacl", "pg_database d", "d.datdba"),
)
"""Each access list: what it is to, its name, the list, where it stands, the owner."""


@dataclass(frozen=True, slots=True)
class Right:
    """One right of one role to one thing."""

    kind: str
    """As `GRANT` calls it: "TABLE"; "MEMBER": of another role."""
    name: str
    """Of the thing, quoted by the server."""
    column: str
    """Where it is a right to one column, its name, quoted."""
    grantor: str
    """Who gave it, quoted; empty: the owner did."""
    role: str
    """Whose it is, quoted."""
    privilege: str
    """ "INSERT"; of a membership empty."""
    passing: bool
    """Whether it may be passed on."""
    own: bool = False
    """Whether the thing is its own, to be dropped or made at any moment."""

    @property
    def text(self) -> str:
        """As `GRANT` spells what is given."""
        if self.kind == _MEMBER:
            return f"member of {self.name}"
        column = f" ({self.column})" if self.column else ""
        return f"{self.privilege}{column} ON {self.kind} {self.name}"


def quoted(text: str) -> str:
    """Spell a text as a literal; `standard_conforming_strings` is pinned on."""
    return "'" + text.replace("'", "''") + "'"


def rights_query(oids: Sequence[int]) -> str:
    """Ask for everything that these roles were given in this database, and for memberships."""
    roles = ", ".join(map(str, oids))
    parts = [_listed(roles, *one) for one in _LISTS]
    parts.append(
        f"SELECT '{_MEMBER}', quote_ident(pg_get_userbyid(m.roleid)), '', m.grantor, m.member, '',"  # noqa: S608 - numbers and our own words
        f" m.admin_option, false, false FROM pg_auth_members m WHERE m.member IN ({roles})"
    )
    return (
        "SELECT kind, name, col, CASE WHEN owned THEN '' ELSE"  # noqa: S608
        " quote_ident(pg_get_userbyid(grantor)) END, quote_ident(pg_get_userbyid(grantee)),"
        f" privilege, passing, own FROM ({' UNION ALL '.join(parts)})"
        " AS given (kind, name, col, grantor, grantee, privilege, passing, owned, own)"
        " ORDER BY 1, 2, 3, 4, 5, 6"
    )


def _listed(roles: str, kind: str, name: str, acl: str, source: str, owner: str) -> str:
    """Ask one kind of access list; an owner without a list has what `acldefault` says."""
    lists, wanted, column = acl, f"{acl} IS NOT NULL", "''"
    if acl == "c.relacl":
        sort = "CASE WHEN c.relkind = 'S' THEN 's'::\"char\" ELSE 'r' END"
        lists = f"coalesce({acl}, acldefault({sort}, {owner}))"
        wanted = f"({wanted} OR {owner} IN ({roles}))"
    elif acl == "a.attacl":
        column = "quote_ident(a.attname)"
    return (
        f"SELECT {kind}, {name}, {column}, x.grantor, x.grantee, x.privilege_type,"  # noqa: S608 - numbers and our own words
        f" x.is_grantable, x.grantor = {owner}, x.grantee = {owner}"
        f" FROM {source}, LATERAL aclexplode({lists}) x WHERE {wanted} AND x.grantee IN ({roles})"
    )


def read_rights(rows: Iterable[Row]) -> tuple[Right, ...]:
    """Read the answer."""
    return tuple(
        Right(
            row[0] or "",
            row[1] or "",
            row[2] or "",
            row[3] or "",
            row[4] or "",
            row[5] or "",
            row[6] == "t",
            row[7] == "t",
        )
        for row in rows
    )


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def cuts(rights: Iterable[Right], version: int, together: int = _TOGETHER) -> list[str]:
    """Spell the statements that take these away, what writes first; each stands for itself.

    What is the role's own comes last and apart: dropped meanwhile, it would spoil a statement.
    """
    named: dict[tuple[bool, int, str, str, str], dict[str, None]] = {}
    for one in rights:
        key = (one.own, _place(one.kind), one.kind, one.grantor, one.role)
        named.setdefault(key, {})[one.name] = None
    statements = []
    for (_own, _first, kind, grantor, role), names in sorted(
        named.items(), key=lambda item: item[0]
    ):
        every = list(names)
        for start in range(0, len(every), together):
            some = ", ".join(every[start : start + together])
            if kind == _MEMBER:
                by = f" GRANTED BY {grantor}" if version >= 160_000 else ""  # noqa: PLR2004 - the version in which a membership has a grantor that counts
                statements.append(f"REVOKE {some} FROM {role}{by} CASCADE")
                continue
            revoke = f"REVOKE ALL ON {kind} {some} FROM {role} CASCADE"
            statements.append(_as(grantor, revoke) if grantor else revoke)
    return statements


def _as(grantor: str, statement: str) -> str:
    """Do it in the name of `grantor`, and in no other name afterwards."""
    body = f"BEGIN SET LOCAL ROLE {grantor}; {statement}; SET LOCAL ROLE NONE; END"
    return f"DO {quoted(body)}"


def _short(privileges: Sequence[str]) -> Iterator[str]:
    """Join them to parts that a record keeps whole, however many columns a table has."""
    some: list[str] = []
    for one in privileges:
        if some and len(", ".join([*some, one])) > _LONGEST:
            yield ", ".join(some)
            some = []
        some.append(one)
    yield ", ".join(some)


def again(rights: Iterable[Right]) -> list[str]:
    """Spell what a person has to execute to give these again, each thing in one statement."""
    given: dict[tuple[int, str, str, str, str, bool], list[str]] = {}
    for one in rights:
        key = (_place(one.kind), one.kind, one.name, one.role, one.grantor, one.passing)
        column = f" ({one.column})" if one.column else ""
        given.setdefault(key, []).append(f"{one.privilege}{column}")
    lines = []
    for (_first, kind, name, role, grantor, passing), privileges in sorted(given.items()):
        by = f" -- given by {grantor}" if grantor and kind != _MEMBER else ""
        if kind == _MEMBER:
            option = " WITH ADMIN OPTION" if passing else ""
            lines.append(f"GRANT {name} TO {role}{option};")
            continue
        option = " WITH GRANT OPTION" if passing else ""
        lines += [
            f"GRANT {some} ON {kind} {name} TO {role}{option};{by}" for some in _short(privileges)
        ]
    return lines
