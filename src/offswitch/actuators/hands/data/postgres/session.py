"""One session with a PostgreSQL server, held open: many statements in one round trip.

The statements of one `ask` leave together, by libpq's pipeline (its manual, chapter 34.5), with a
synchronisation point after each: every one is a transaction of its own, and what fails keeps none
of those behind it from happening. Each answer is rows or a `Refusal`.

The session is pinned. Nothing waits long for a lock, since the one who is stopped may hold it; no
commit waits for a disk or a replica (`synchronous_commit`; whoever wants the disk asks for it);
no name of ours becomes a function of somebody else's (`search_path`); passwords come from where
they are given and never from the surroundings. A name is looked up once: a later connection goes
to the address that answered, so that a name service that hangs holds up no stop.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from offswitch.actuators.hands.contract import Trouble
from offswitch.clock import SystemClock
from offswitch.printable import printable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

__all__ = ["Answer", "Refusal", "Row", "Rows", "Session", "check_installed"]

_LOCK_MS, _STATEMENT_MS = 20, 500
_PINNED = {
    "search_path": "pg_catalog",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "synchronous_commit": "off",
    "lock_timeout": f"{_LOCK_MS}ms",
    "statement_timeout": f"{_STATEMENT_MS}ms",
    "idle_in_transaction_session_timeout": "2s",
}
_SHOWN = 200
_MISSING = "pip install 'offswitch[postgres]'"
_CLOCK = SystemClock()

Row: TypeAlias = "tuple[str | None, ...]"
Rows: TypeAlias = "list[Row]"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server did not do a statement."""

    code: str
    """Its SQLSTATE."""
    why: str
    """The first line of what it said, for people: hostile."""


Answer: TypeAlias = "Rows | Refusal"


def _said(text: bytes | str) -> str:
    plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return printable(plain.strip().partition("\n")[0], _SHOWN) or "the server says nothing"


def check_installed() -> None:
    """Raise `Trouble`, with what to type, where the extra is not installed."""
    try:
        import psycopg.pq  # noqa: PLC0415, F401 - an extra, imported by IMPORTS
    except ImportError:
        raise Trouble("psycopg is not installed here", _MISSING) from None


class Session:
    """One session, opened when it is wanted and opened again where it was lost."""

    def __init__(
        self, dsn: str, password: str = "", *, timeout_s: float = 1.0, **keys: str
    ) -> None:
        """Connect by `dsn`; `keys` (such as `user`, `dbname`) win over what it says."""
        self._dsn = dsn
        self._keys = keys
        self._password = password
        self._timeout_us = int(timeout_s * 1e6)
        self._connection: PGconn | None = None
        self._address = ""
        self._count = 0
        """How many answers are awaited."""

    def __repr__(self) -> str:
        """Name it without its password."""
        return f"<Session {self.place}>"

    @property
    def place(self) -> str:
        """Where it ends, for people."""
        connection = self._connection
        if connection is None:
            return "PostgreSQL"
        host, port = connection.host.decode("utf-8", "replace"), connection.port.decode()
        return printable(host if host.startswith("/") else f"{host}:{port}", _SHOWN)

    @property
    def unix(self) -> bool:
        """Whether it goes through a socket of this machine."""
        return self._connection is not None and self._connection.host.startswith(b"/")

    @property
    def tls(self) -> bool:
        """Whether what it says is encrypted."""
        return self._connection is not None and self._connection.ssl_in_use

    @property
    def version(self) -> int:
        """The server's, such as 150018."""
        return 0 if self._connection is None else self._connection.server_version

    @property
    def pid(self) -> int:
        """The server's process for it."""
        return 0 if self._connection is None else self._connection.backend_pid

    @property
    def is_open(self) -> bool:
        """Whether it was open when it was last used."""
        return self._connection is not None

    # --- connecting ---------------------------------------------------------------

    def open(self) -> None:
        """Connect, unless it is connected. `Trouble` says why not."""
        if self._connection is not None:
            return
        why = self.attempt()
        if why:
            raise Trouble(why, "see the server's log, pg_hba.conf, and the password's file")

    def attempt(self) -> str:
        """Try to connect; give why it was refused, empty where it was let in."""
        check_installed()
        from psycopg import Error  # noqa: PLC0415 - an extra, imported by IMPORTS
        from psycopg.pq import ConnStatus, PGconn, PollingStatus  # noqa: PLC0415

        until_us = _CLOCK.mono_us() + self._timeout_us
        try:
            connection = PGconn.connect_start(self._info().encode())
        except Error as error:
            return _said(str(error))
        kept = False
        try:
            if connection.status != ConnStatus.BAD:
                connection.nonblocking = 1
            while connection.status != ConnStatus.BAD:
                state = connection.connect_poll()
                if state == PollingStatus.OK:
                    connection.notice_handler = None
                    connection.enter_pipeline_mode()
                    self._address = connection.hostaddr.decode()
                    self._connection, kept = connection, True
                    return ""
                if state == PollingStatus.FAILED:
                    break
                if not _ready(connection.socket, until_us, write=state == PollingStatus.WRITING):
                    return f"no answer within {self._timeout_us // 1000} ms"
            return _said(connection.error_message)
        except Error as error:
            return _said(str(error))
        finally:
            if not kept:
                connection.finish()

    def _info(self) -> str:
        from psycopg import Error  # noqa: PLC0415
        from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

        options = " ".join(f"-c {name}={value}" for name, value in _PINNED.items())
        keys = {
            "application_name": "offswitch",
            "gssencmode": "disable",
            "passfile": "/dev/null/none",
            "keepalives_idle": "5",
            "tcp_user_timeout": "5000",
            "options": options,
            "password": self._password,  # also an empty one: else libpq takes PGPASSWORD
            **self._keys,
        }
        try:
            told = conninfo_to_dict(self._dsn)
        except Error as error:
            raise Trouble(_said(str(error)), "spell the dsn as libpq does") from None
        if self._address and "," not in str(told.get("host", "")):
            keys.setdefault("hostaddr", self._address)
        return make_conninfo(self._dsn, **keys)

    # --- asking -------------------------------------------------------------------

    def ask(self, *statements: str, timeout_s: float | None = None) -> list[Answer]:
        """Send statements together and give each one's answer. `Trouble`: the session is gone."""
        self.send(*statements)
        return self.take(timeout_s)

    def rows(self, statement: str) -> Rows:
        """Give the rows of one statement; `Trouble` where it is refused."""
        [answer] = self.ask(statement)
        if isinstance(answer, Refusal):
            raise Trouble(f"{self.place}: {answer.why}")
        return answer

    def send(self, *statements: str) -> None:
        """Send statements; `take` gives the answers, so that several sessions work at once."""
        from psycopg import Error  # noqa: PLC0415

        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101 - it was just opened
        try:
            for statement in statements:
                connection.send_query_params(statement.encode(), None)
                connection.pipeline_sync()
            self._count += len(statements)
            connection.flush()
        except Error as error:
            raise self._lost(str(error)) from None

    def take(self, timeout_s: float | None = None) -> list[Answer]:
        """Give the answers to all that was sent."""
        from psycopg import Error  # noqa: PLC0415

        connection = self._connection
        if connection is None:
            raise Trouble("the session is gone")
        wait_us = self._timeout_us if timeout_s is None else int(timeout_s * 1e6)
        until_us = _CLOCK.mono_us() + wait_us
        answers: list[Answer] = []
        try:
            while connection.flush():
                # What was sent last may wait for what is to be read first.
                if not _ready(connection.socket, until_us, write=True):
                    raise self._lost("it takes no more")
                connection.consume_input()
            while len(answers) < self._count:
                answers.append(self._answer(connection, until_us))
        except Error as error:
            raise self._lost(str(error)) from None
        self._count = 0
        return answers

    def _answer(self, connection: PGconn, until_us: int) -> Answer:
        from psycopg.pq import ConnStatus, ExecStatus  # noqa: PLC0415

        found: Answer = []
        nothing = 0
        while True:
            while connection.is_busy():
                if not _ready(connection.socket, until_us):
                    raise self._lost("it does not answer")
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                nothing += 1
                if nothing > 1 or connection.status == ConnStatus.BAD:
                    raise self._lost(connection.error_message)
                continue
            nothing = 0
            if result.status == ExecStatus.PIPELINE_SYNC:
                return found
            if result.status == ExecStatus.FATAL_ERROR:
                from psycopg.pq import DiagnosticField  # noqa: PLC0415

                code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
                said = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message
                found = Refusal(code, _said(said))
                if connection.status == ConnStatus.BAD:
                    raise self._lost(said)
            elif isinstance(found, list):
                found += [
                    tuple(_text(result.get_value(row, n)) for n in range(result.nfields))
                    for row in range(result.ntuples)
                ]

    def _lost(self, why: bytes | str) -> Trouble:
        place = self.place
        self.close()
        return Trouble(f"{place}: {_said(why)}")

    def close(self) -> None:
        """End it; what was not answered is not waited for."""
        self._count = 0
        if self._connection is not None:
            self._connection.finish()
            self._connection = None


def _text(value: bytes | None) -> str | None:
    return None if value is None else bytes(value).decode("utf-8", "backslashreplace")


def _ready(fd: int, until_us: int, *, write: bool = False) -> bool:
    """Wait for a socket; false: the time is over."""
    left_us = until_us - _CLOCK.mono_us()
    if left_us <= 0:
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poller.poll(left_us / 1000))
