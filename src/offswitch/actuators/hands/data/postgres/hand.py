"""PostgreSQL: a target's role loses its rights, its login and its sessions, in that order.

    REVOKE               acts within a millisecond or two on sessions that go on, whatever they lock
    ALTER ROLE … NOLOGIN keeps it from coming back; to sessions that are there it does nothing
    pg_terminate_backend ends them, and with them whatever they had not committed

All of it leaves in one round trip, on a session that was opened beforehand, each statement a
transaction of its own that waits for no lock, no disk and no replica. Then, what was refused is
tried again (the one who held the lock has ended meanwhile), what came in between is ended, too,
and the server is asked how each transaction ended (ACT-9). Nothing is given back: `reissue` spells
the SQL by which a person may (RST-8).

`arm` reads anew what the role was given, rehearses the very statements in a transaction that is
rolled back, asks in there what would be left, and logs in once more with the password as it is now.
What REVOKE cannot hold, because the role owns things, is a superuser or makes roles, is *degraded*
and says why. `look` goes by a session of its own, and where it has the target's password, by a
login that has to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.data.postgres.known import Known, read_known
from offswitch.actuators.hands.data.postgres.rights import again, cuts, read_rights, rights_query
from offswitch.actuators.hands.data.postgres.section import PostgresSection
from offswitch.actuators.hands.data.postgres.session import (
    Answer,
    Refusal,
    Session,
    check_installed,
)
from offswitch.actuators.hands.data.postgres.sessions import (
    Ended,
    end_query,
    fates_query,
    standing_query,
)
from offswitch.clock import SystemClock
from offswitch.printable import printable

__all__ = ["Postgres"]

_REHEARSED = 40
"""So many things are rehearsed at a time, in turns: each leaves a dead row in the catalogue."""
_BEFORE_THE_END = 4
"""So many statements take rights before login and sessions go: with a thousand tables, those wait
for no more."""
_HALF = 0.45
"""Of the deadline: a held session that is dead leaves time for another one."""
_ENDING_US = 250_000
_LOCKED = {"55P03", "XX000", "40P01", "57014"}
"""Somebody else held it: over soon, or as soon as that one has ended."""
_MOST_LINES = 190
_REFUSED_US = 500_000
"""So long one refused login counts: each costs the server ten milliseconds."""
_PASSING = ("too many", "connection slots", "starting up", "shutting down", "recovery")
_CLOCK = SystemClock()


class Postgres(Hand):
    """Cuts one role, or a few, off a PostgreSQL server."""

    Settings: ClassVar[type[PostgresSection]] = PostgresSection
    IMPORTS: ClassVar[frozenset[str]] = frozenset(
        {"psycopg", "psycopg.pq", "psycopg.conninfo", "psycopg.errors"}
    )

    settings: PostgresSection

    def __init__(self, settings: PostgresSection, context: Context) -> None:
        """Take roles from `settings`, passwords from `context`."""
        super().__init__(settings, context)
        self._password = context.secrets.get("password_file", "")
        self._dsn = settings.dsn
        if context.role is Role.LOOK:
            self._dsn = settings.look_dsn or settings.dsn
            self._password = context.secrets.get("look_password_file", self._password)
        self._token = context.secrets.get("token_file", "")
        self._main = Session(self._dsn, self._password)
        self._others: dict[str, Session] = {}
        self._known: Known | None = None
        self._before: Known | None = None
        """As it was while it could still log in: what a person may have to give again."""
        self._tripped = False
        self._ended: dict[int, Ended] = {}
        """Whose sessions this stop has ended, by the server's number of each."""
        self._turn = 0
        self._refused: tuple[int, str] = (0, "")
        """When the target's own login was refused last, and by which words."""

    def prepare(self) -> None:
        """Say what to install, where what it needs is not here."""
        check_installed()

    def open(self) -> None:
        """Connect."""
        self._main.open()

    def close(self) -> None:
        """End all sessions."""
        for session in (self._main, *self._others.values()):
            session.close()

    def _sessions(self) -> Iterator[tuple[str, Session]]:
        """Give the databases, and the session in each; the first one is the held one."""
        yield "", self._main
        yield from self._others.items()

    # --- proving ------------------------------------------------------------------

    def arm(self) -> Readiness:
        """Prove it: by a rehearsal that is rolled back, and a login with the password as it is."""
        if self.context.role is Role.LOOK:
            return self._arm_look()
        self.open()
        known, weak = self._learn()
        for target in known.targets:
            if target.ours:
                return Readiness(Ready.UNPROVEN, f"it acts as {target.name}, whom it is to stop")
            if not target.ending:
                return Readiness(
                    Ready.UNPROVEN,
                    f"it may not end sessions of {target.name}: GRANT pg_signal_backend, "
                    "or of a superuser be one",
                )
        weak += [why for target in known.targets for why in target.weak]
        for database, session in self._sessions():
            refused = self._rehearse(database, session, known)
            if refused.startswith("!"):
                return Readiness(Ready.UNPROVEN, refused[1:])
            weak += [refused] if refused else []
        self._log_in_anew()
        names = ", ".join(target.name for target in known.targets)
        count = sum(map(len, known.rights.values()))
        proven = f"rehearsed at {self._main.place} by {known.me}: {count} rights of {names}"
        if weak:
            return Readiness(Ready.DEGRADED, printable("; ".join([*weak, proven]), 900))
        return Readiness(Ready.READY, printable(proven))

    def _learn(self) -> tuple[Known, list[str]]:
        """Read what there is to cut, wherever the roles have rights; and what stays unknown."""
        oids = self._known.oids if self._known is not None else []
        known = read_known(self._main, self.settings.roles, oids)
        weak: list[str] = []
        wanted = self.settings.databases
        if wanted is not None:
            unnamed = [name for name in known.elsewhere if name not in {known.database, *wanted}]
            weak += [f"it has rights in {printable(name, 80)}, too, unnamed" for name in unnamed]
        for name in known.elsewhere if wanted is None else wanted:
            if name == known.database:
                continue
            session = self._others.get(name) or Session(self._dsn, self._password, dbname=name)
            try:
                rows = session.rows(rights_query(known.oids))
            except Trouble as error:
                weak.append(f"database {printable(name, 80)}: {error.message}")
                session.close()
                continue
            self._others[name] = session
            known.rights[name] = tuple(
                one for one in read_rights(rows) if one.kind not in {"MEMBER", "DATABASE"}
            )
        for name in set(self._others) - set(known.rights):
            self._others.pop(name).close()
        self._known = known
        fresh = not self._tripped and any(target.login for target in known.targets)
        if self._before is None or fresh:
            self._before = known
        return known, weak

    def _rehearse(self, database: str, session: Session, known: Known) -> str:
        """Do it and undo it; give what would not work, with a `!` where nothing would."""
        rights = known.rights.get(database, ())
        things = list(dict.fromkeys((one.kind, one.name) for one in rights))
        start = self._turn % len(things) if things else 0
        self._turn += _REHEARSED
        chosen = set((things[start:] + things[:start])[:_REHEARSED])
        some = [one for one in rights if (one.kind, one.name) in chosen]
        statements = cuts(some, session.version)
        bars = [target.bar for target in known.targets] if session is self._main else []
        left_query = rights_query(known.oids)
        # The login first: whoever may not take that (a replica, for one) can do nothing.
        spelt = ["BEGIN", *bars, *statements, left_query]
        answers = session.ask(*spelt, "ROLLBACK")
        for statement, answer in zip(spelt, answers, strict=False):
            if not isinstance(answer, Refusal):
                continue
            if answer.code in _LOCKED:
                return f"somebody held a lock on it just now: {answer.why}"
            if statement in bars:
                return f"!it may not take the login: {answer.why}"
            return f"it may not take back all rights, only the login: {answer.why}"
        left_rows = answers[len(spelt) - 1]
        left = read_rights(left_rows if isinstance(left_rows, list) else [])
        kept = [one for one in left if (one.kind, one.name) in chosen]
        if kept:
            return f"it may not take back {len(kept)} rights, such as {kept[0].text}"
        return ""

    def _log_in_anew(self) -> None:
        """Prove the password as it is now; and that a session which is to end does end."""
        canary = Session(self._dsn, self._password)
        canary.open()
        try:
            told = self._main.rows(f"SELECT pg_terminate_backend({canary.pid})") == [("t",)]
            ended = False
            try:
                canary.ask("SELECT pg_sleep(0.3)")
            except Trouble:
                ended = True
            if not (told and ended):
                raise Trouble("a session of our own that was to end goes on")
        finally:
            canary.close()

    # --- acting -------------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """Take rights, login and sessions."""
        del level
        self._tripped = True
        ended = self._ended
        try:
            self._strike(ended)
        except Trouble:
            if self._main.is_open:
                raise
            self._strike(ended)  # the held session was lost: once more, by a new one
        said = self._finish(ended)
        happened = [line for one in ended.values() if (line := one.line())]
        happened += self._prepared()
        return Acted(said, tuple(happened[:_MOST_LINES]), self._reissue())

    def _strike(self, ended: dict[int, Ended]) -> None:
        """Send all that is known beforehand; the held session's part has login and sessions."""
        self.open()
        known = self._known if self._known is not None else self._learn()[0]
        sent = []
        for database, session in self._sessions():
            if session is self._main or not session.is_open:
                continue
            with suppress(Trouble):
                session.send(*cuts(known.rights.get(database, ()), session.version))
                sent.append(session)
        statements = cuts(known.rights[""], self._main.version)
        bars, end = [target.bar for target in known.targets], end_query(known.oids)
        first, rest = statements[:_BEFORE_THE_END], statements[_BEFORE_THE_END:]
        patience_s = self.settings.deadline / 1e6 * _HALF
        answers = self._main.ask(*first, *bars, end, *rest, timeout_s=patience_s)
        self._note(ended, answers[len(first) + len(bars)])
        for session in sent:
            with suppress(Trouble):
                session.take()

    @staticmethod
    def _note(ended: dict[int, Ended], answer: Answer) -> bool:
        """Keep whose session was ended; false: there was none."""
        if isinstance(answer, Refusal):
            raise Trouble(f"its sessions could not be ended: {answer.why}")
        for row in answer:
            one = Ended.read(row)
            ended.setdefault(one.pid, one)
        return bool(answer)

    def _finish(self, ended: dict[int, Ended]) -> str:
        """End who came in between, take back what is left, and ask how everything ended."""
        known = self._known
        assert known is not None  # noqa: S101 - the strike knew it
        bars = [target.bar for target in known.targets]
        until_us = _CLOCK.mono_us() + _ENDING_US
        while True:
            *answers, sessions = self._main.ask(*bars, end_query(known.oids))
            still = self._note(ended, sessions)
            refused = [one.why for one in answers if isinstance(one, Refusal)]
            if not (still or refused):
                break
            if _CLOCK.mono_us() > until_us:
                what = f"it can still log in: {refused[0]}" if refused else "its sessions go on"
                raise Trouble(f"{what} ({len(ended)} sessions were told to end)")
            self._main.ask("SELECT pg_sleep(0.002)")
        self._learn()
        left = sum(self._take_left(database, session) for database, session in self._sessions())
        self._fates(ended)
        durable = self._main.ask("SET synchronous_commit = local", *bars)
        self._main.ask("SET synchronous_commit = off")
        said = f"no login, {len(ended)} sessions ended"
        said += f", {left} rights are left" if left else ", no right left"
        if any(isinstance(one, Refusal) for one in durable):
            said += ", not known to be on the server's disk"
        return said

    def _take_left(self, database: str, session: Session) -> int:
        """Take back what is left, each thing by itself; give how much stays."""
        known = self._known
        assert known is not None  # noqa: S101 - it was just learnt
        rights = known.rights.get(database, ())
        if not rights:
            return 0
        with suppress(Trouble):
            session.ask(*cuts(rights, session.version, together=1))
            rows = session.rows(rights_query(known.oids))
            elsewhere = set() if session is self._main else {"MEMBER", "DATABASE"}
            return sum(one.kind not in elsewhere for one in read_rights(rows))
        return len(rights)

    def _fates(self, ended: dict[int, Ended]) -> None:
        """Ask how the transactions ended that were under way."""
        xids = [one.xid for one in ended.values() if one.xid]
        if not xids:
            return
        with suppress(Trouble):
            fates = {int(xid or 0): fate for xid, fate in self._main.rows(fates_query(xids))}
            for one in ended.values():
                one.fate = fates.get(one.xid) or ""

    def _prepared(self) -> list[str]:
        """Name transactions that wait for a COMMIT PREPARED, which outlive their session."""
        known = self._known
        if known is None:
            return []
        names = ", ".join(target.literal for target in known.targets)
        with suppress(Trouble):
            source = f"pg_prepared_xacts WHERE owner IN ({names})"
            query = f"SELECT gid, database FROM {source} LIMIT 50"  # noqa: S608 - literals
            return [
                f"prepared transaction {printable(gid, 80)} in {printable(database, 80)} waits, "
                "neither committed nor rolled back; ROLLBACK PREPARED ends it"
                for gid, database in self._main.rows(query)
            ]
        return ["whether it has prepared transactions is not known"]

    def _reissue(self) -> tuple[str, ...]:
        """Spell by which SQL a person may give all of it again."""
        before = self._before
        if before is None or not any(target.login for target in before.targets):
            return ()  # it came up under a stop: the one before it has said it
        lines = [
            f"ALTER ROLE {target.name} LOGIN; -- with a new password: \\password {target.name}"
            for target in before.targets
        ]
        for database, rights in before.rights.items():
            if rights:
                lines.append(f"\\connect {before.quoted_database(database)}")
                lines += again(rights)
        if len(lines) > _MOST_LINES:
            lines = [*lines[:_MOST_LINES], f"-- and {len(lines) - _MOST_LINES} lines more"]
        return tuple(printable(line, 1000) for line in lines)

    def release(self) -> Acted:
        """Give nothing back."""
        self._tripped = False
        self._ended = {}
        said = "rights and login are not given back: a person does it, by the SQL of this record"
        return Acted(said, reissue=self._reissue())

    # --- looking ------------------------------------------------------------------

    def look(self) -> Sight:
        """Ask who is connected and who may be; then try the target's own login."""
        rows = self._main.rows(standing_query(self.settings.roles))
        found = {row[0]: row for row in rows}
        parts, left = [], 0
        for role in self.settings.roles:
            row = found.get(role)
            if row is None:
                return Sight(None, f"there is no role {printable(role, 80)}: was it renamed?")
            _name, login, sessions, rights = row
            if login == "t":
                parts.append(f"{printable(role, 80)} can log in")
            if sessions != "0":
                parts.append(f"{sessions} sessions of {printable(role, 80)}")
            left += int(rights or 0)
        if parts:
            return Sight(stands=False, detail=", ".join(parts))
        said = "no session, no login" + (f", {left} rights left" if left else ", no right")
        if self._token:
            refusal = self._own_login()
            if refusal is None:
                return Sight(stands=False, detail="its own password is still let in")
            if any(word in refusal for word in _PASSING):
                return Sight(None, f"its own login is refused for now only: {refusal}")
            said += f", its own password refused: {refusal}"
        return Sight(stands=True, detail=said)

    def _own_login(self) -> str | None:
        """Try the target's own password; give by which words it was refused, None: let in."""
        now_us = _CLOCK.mono_us()
        when_us, words = self._refused
        if words and now_us - when_us < _REFUSED_US:
            return words
        session = Session(self.settings.dsn, self._token, user=self.settings.roles[0])
        why = session.attempt()
        session.close()
        if not why:
            self._refused = (0, "")
            return None
        self._refused = (now_us, why)
        return why

    def _arm_look(self) -> Readiness:
        self.open()
        fresh = Session(self._dsn, self._password)
        fresh.open()
        fresh.close()
        if self._token:
            known = read_known(self._main, self.settings.roles)
            refusal = self._own_login()
            self._refused = (0, "")
            if refusal is not None and any(target.login for target in known.targets):
                why = f"the target's own password is refused before any stop: {refusal}"
                return Readiness(Ready.UNPROVEN, f"{why}; a refusal would prove nothing")
        sight = self.look()
        if sight.stands is None:
            return Readiness(Ready.UNPROVEN, sight.detail)
        if self.settings.look_dsn is None and self.settings.look_password_file is None:
            return Readiness(Ready.DEGRADED, "it looks by the credential that acts")
        return Readiness(Ready.READY, f"it sees: {sight.detail}")

    def holds(self) -> tuple[str, ...]:
        """List its rights and sessions."""
        known = read_known(self._main, self.settings.roles)
        lines = [f"{one.role}: {one.text}" for one in known.rights[""]]
        lines += [
            f"{row[0]}: {row[2]} sessions, {'may log in' if row[1] == 't' else 'no login'}"
            for row in self._main.rows(standing_query(self.settings.roles))
        ]
        return tuple(printable(line, 300) for line in lines[:_MOST_LINES])

    def route(self) -> Route:
        """Say what it rests on."""
        look = self.context.role is Role.LOOK
        path = self.settings.password_file
        if look:
            path = self.settings.look_password_file or path
        session = self._main
        transport = "unix" if session.unix else "tls" if session.tls else "tcp"
        credential = path or f"no password: the server trusts {session.place}"
        return Route(transport, session.place, credential, "PostgreSQL", ("psycopg",))
