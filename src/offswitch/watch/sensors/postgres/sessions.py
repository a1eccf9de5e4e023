"""Who wrote: the server's sessions, sampled, and what can be said from them of a transaction.

    certain   a sample caught the session with the transaction's own number
    likely    one session alone can have committed at that moment: only it was at work since
    unknown   anything else, and it is said

A session's user is the server's word; the name of its application is its own. Other roles'
sessions are shown only to a member of `pg_read_all_stats`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SESSIONS", "Session", "Sessions"]

SESSIONS = """
SELECT pid, usename, application_name, COALESCE(host(client_addr), 'local'), backend_xid, state,
    (EXTRACT(EPOCH FROM query_start) * 1000000)::pg_catalog.int8,
    (EXTRACT(EPOCH FROM state_change) * 1000000)::pg_catalog.int8
FROM pg_stat_activity
WHERE datname = pg_catalog.current_database() AND backend_type = 'client backend'
    AND pid <> pg_catalog.pg_backend_pid()
LIMIT 200
"""

_MOST_KNOWN = 1000
_SLACK_US = 2_000
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Session:
    """One session as a sample shows it."""

    pid: int
    user: str
    application: str
    client: str
    xid: int
    """The transaction that it is in; 0: none that writes."""
    idle: bool
    began_us: int
    """When its last statement began; 0: not known."""
    changed_us: int
    """When it last began or ended something; 0: not known."""

    @property
    def text(self) -> str:
        """Say who it is."""
        application = ascii(self.application[:_LONGEST])[1:-1]
        return f"{ascii(self.user[:_LONGEST])[1:-1]} ({application}, {self.client}, pid {self.pid})"


class Sessions:
    """What the last samples showed."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, Session] = OrderedDict()
        """The session of each transaction that a sample caught."""
        self._last: tuple[Session, ...] = ()

    def take(self, rows: Sequence[tuple[str | None, ...]]) -> None:
        """Take a sample in."""
        found = []
        for row in rows:
            session = Session(
                int(row[0] or 0),
                row[1] or "unknown",
                row[2] or "",
                row[3] or "",
                int(row[4] or 0),
                (row[5] or "idle") == "idle",
                int(row[6] or 0),
                int(row[7] or 0),
            )
            found.append(session)
            if session.xid:
                self._of[session.xid] = session
        while len(self._of) > _MOST_KNOWN:
            self._of.popitem(last=False)
        self._last = tuple(found)

    def who(self, xid: int, time_us: int) -> str:
        """Say who committed the transaction `xid` at `time_us` of the server's clock."""
        certain = self._of.get(xid)
        if certain is not None:
            return certain.text
        could = [one for one in self._last if not one.idle or one.changed_us >= time_us - _SLACK_US]
        if len(could) == 1:
            return f"likely {could[0].text}"
        if not could or len(could) > 3:  # noqa: PLR2004 - more than a few is nobody
            return "unknown"
        return "one of " + ", ".join(one.text for one in could)
