"""A role's sessions: how they are ended, and how what they were doing has ended (ACT-9).

What was under way is read in the statement that ends it. Of a query only its beginning is told, up
to the first literal: what a target writes into its data is nobody's business here, and may be a
password. Whether a transaction was committed just before, the server alone knows, and says by its
number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from offswitch.actuators.hands.data.postgres.rights import quoted
from offswitch.actuators.hands.data.postgres.session import Row
from offswitch.printable import printable

__all__ = ["Ended", "end_query", "fates_query", "standing_query"]

_LITERAL = re.compile(r"['$]|\bpassword\b", re.IGNORECASE)
_SHOWN = 120


def end_query(oids: Sequence[int]) -> str:
    """End the sessions of these roles; each row is one, as it was."""
    numbers = ", ".join(map(str, oids))
    return (
        "SELECT a.pid, a.usename, a.application_name, COALESCE(host(a.client_addr), 'local'),"  # noqa: S608 - numbers
        " a.state, a.backend_xid, left(a.query, 400), pg_terminate_backend(a.pid)"
        f" FROM pg_stat_activity a WHERE a.usesysid IN ({numbers}) AND a.pid <> pg_backend_pid()"
    )


def fates_query(xids: Sequence[int]) -> str:
    """Ask how transactions ended, by the short numbers by which sessions show them."""
    values = ", ".join(f"({xid}::int8)" for xid in xids)
    return (
        "SELECT x.xid, pg_xact_status((s.now - (s.now & 4294967295) + x.xid"  # noqa: S608 - numbers
        " - CASE WHEN x.xid > (s.now & 4294967295) THEN 4294967296 ELSE 0 END)::text::xid8)"
        f" FROM (VALUES {values}) x (xid),"
        " (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS now) s"
    )


def standing_query(roles: Sequence[str]) -> str:
    """Ask of each role whether it may log in, how many sessions it has, how many rights."""
    names = ", ".join(map(quoted, roles))
    return f"""
SELECT r.rolname, r.rolcanlogin,
    (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid),
    (SELECT count(DISTINCT (d.dbid, d.classid, d.objid)) FROM pg_shdepend d
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'a'
        AND d.classid <> 'pg_default_acl'::regclass)
    + (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid)
FROM pg_roles r WHERE r.rolname IN ({names})
"""  # noqa: S608 - literals


@dataclass(slots=True)
class Ended:
    """One session that was told to end."""

    pid: int
    user: str
    application: str
    client: str
    state: str
    xid: int
    """Of the transaction in which it had written; 0: none."""
    query: str
    """What it did last, as it spelt it: hostile."""
    fate: str = ""
    """How that transaction ended, in the server's words."""

    @classmethod
    def read(cls, row: Row) -> Ended:
        """Take a row of `end_query`."""
        pid, user, application, client, state, xid, query, _told = row
        return cls(
            int(pid or 0),
            user or "",
            application or "",
            client or "",
            state or "",
            int(xid or 0),
            query or "",
        )

    @property
    def doing(self) -> str:
        """The beginning of its query, up to the first literal."""
        plain = " ".join(self.query.split())
        match = _LITERAL.search(plain)
        begun = plain if match is None else f"{plain[: match.start()]}…"
        return printable(begun, _SHOWN)

    def line(self) -> str:
        """Say what it was doing and how that ended; empty: it was idle."""
        who = printable(
            f"{self.user} ({self.application[:40]}, {self.client}, pid {self.pid})", 160
        )
        if not self.state:
            return f"{who}: what it did may not be read: GRANT pg_read_all_stats"
        if self.state == "idle":
            return ""
        ends = {"aborted": "rolled back", "committed": "committed before it was cut"}
        if self.xid:
            ending = ends.get(self.fate, "how it ended is not known")
        else:
            ending = "ended, it had written nothing"
        state = "" if self.state == "active" else f"{printable(self.state, 40)}, last "
        return f"{who}: {state}{self.doing}: {ending}"
