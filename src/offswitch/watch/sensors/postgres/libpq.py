"""PostgreSQL's own client library, step by step, so that no look waits for a server.

Everything here is a generator that yields what it waits for, a `Wait`, and returns its result:
`connected` a connection, `asked` the rows of a query, `copied` the lines of a `COPY … TO STDOUT`.
`Steps` drives one for as long as a look may take and goes on at the next.

The session is pinned: an empty search path, so that no name of ours can become a function of the
target's; text in fixed forms; row security off, which refuses instead of running a policy; limits
for statements and locks, so that we hold up nobody for long. Passwords come from the sensor's own
file, never from the surroundings.
"""

from __future__ import annotations

import select
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from offswitch.clock import Clock
from offswitch.errors import OffswitchError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["Lost", "Steps", "Wait", "Waiting", "asked", "connected", "conninfo", "copied"]

_T = TypeVar("_T")
_PINNED = {
    "search_path": "pg_catalog",
    "client_encoding": "UTF8",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "row_security": "off",
    "lock_timeout": "2s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
_LONGEST_MESSAGE = 300


class Lost(OffswitchError):
    """The server refused or the connection is gone; its message says why."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a step waits for."""

    fd: int
    write: bool = False


Waiting: TypeAlias = "Generator[Wait, None, _T]"


def conninfo(dsn: str, password: str, *, replication: bool) -> str:
    """Spell how to connect; what is given here wins over what `dsn` says."""
    options = " ".join(f"-c {name}={value}" for name, value in _PINNED.items())
    keys = {
        "application_name": "offswitch",
        "connect_timeout": "5",
        "gssencmode": "disable",
        "passfile": "/dev/null/none",
        "keepalives_idle": "10",
        "tcp_user_timeout": "15000",
        "options": options,
    }
    if password:
        keys["password"] = password
    if replication:
        keys["replication"] = "database"
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - an extra, imported by IMPORTS

    return make_conninfo(dsn, **keys)


def said(text: bytes | str) -> str:
    """Give the first lines of a server's message; it may quote the target."""
    plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return " ".join(plain.split())[:_LONGEST_MESSAGE] or "the server says nothing"


def connected(info: str) -> Waiting[PGconn]:
    """Connect; `Lost` says why not."""
    from psycopg.pq import ConnStatus, PGconn, PollingStatus  # noqa: PLC0415

    connection = PGconn.connect_start(info.encode())
    try:
        if connection.status != ConnStatus.BAD:
            connection.nonblocking = 1
        while connection.status != ConnStatus.BAD:
            state = connection.connect_poll()
            if state == PollingStatus.OK:
                connection.notice_handler = None
                return connection
            if state == PollingStatus.FAILED:
                break
            yield Wait(connection.socket, write=state == PollingStatus.WRITING)
    except BaseException:
        connection.finish()
        raise
    why = said(connection.error_message)
    connection.finish()
    raise Lost(why, "see the server's log, and pg_hba.conf")


def _sent(connection: PGconn, query: str) -> Waiting[None]:
    from psycopg import Error  # noqa: PLC0415

    try:
        connection.send_query(query.encode())
        while connection.flush():
            yield Wait(connection.socket, write=True)
    except Error as error:
        raise Lost(said(str(error)), "is the server up?") from None


def _result(connection: PGconn) -> Waiting[PGresult | None]:
    from psycopg import Error  # noqa: PLC0415
    from psycopg.pq import ExecStatus  # noqa: PLC0415

    try:
        while connection.is_busy():
            yield Wait(connection.socket)
            connection.consume_input()
    except Error as error:
        raise Lost(said(str(error)), "is the server up?") from None
    result = connection.get_result()
    if result is not None and result.status in {ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE}:
        why = said(result.error_message)
        while connection.get_result() is not None:
            pass  # what follows an error is its end
        raise Lost(why, "see the server's log")
    return result


def asked(connection: PGconn, query: str) -> Waiting[list[tuple[str | None, ...]]]:
    """Ask; give the rows as text. With START_REPLICATION it returns as the stream begins."""
    from psycopg.pq import ExecStatus  # noqa: PLC0415

    yield from _sent(connection, query)
    rows: list[tuple[str | None, ...]] = []
    while (result := (yield from _result(connection))) is not None:
        if result.status == ExecStatus.COPY_BOTH:
            break
        rows += [
            tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]
    return rows


def _text(value: Any) -> str | None:  # noqa: ANN401 - bytes or None
    return None if value is None else bytes(value).decode("utf-8", "surrogateescape")


def copied(connection: PGconn, query: str) -> Waiting[list[bytes]]:
    """Read what a `COPY … TO STDOUT` sends, one line an entry."""
    from psycopg import Error  # noqa: PLC0415

    yield from _sent(connection, query)
    yield from _result(connection)
    lines: list[bytes] = []
    try:
        while True:
            size, data = connection.get_copy_data(1)
            if size > 0:
                lines.append(bytes(data))
            elif size == 0:
                yield Wait(connection.socket)
                connection.consume_input()
            else:
                break
    except Error as error:
        raise Lost(said(str(error)), "is the server up?") from None
    while (yield from _result(connection)) is not None:
        pass
    return lines


class Steps(Generic[_T]):
    """Drives one generator through as many looks as it takes."""

    __slots__ = ("_clock", "_steps", "_wait")

    def __init__(self, steps: Waiting[_T], clock: Clock) -> None:
        self._steps = steps
        self._clock = clock
        self._wait: Wait | None = None

    @property
    def fd(self) -> int | None:
        """What to wait for reading; None: nothing, or for writing."""
        return self._wait.fd if self._wait is not None and not self._wait.write else None

    def go(self, budget_us: int) -> tuple[_T] | None:
        """Go on for so long; gives the result in a tuple when it is there. `Lost` ends it."""
        end_us = self._clock.mono_us() + budget_us
        while True:
            if self._wait is not None:
                left_us = max(end_us - self._clock.mono_us(), 0)
                poller = select.poll()
                poller.register(
                    self._wait.fd, select.POLLOUT if self._wait.write else select.POLLIN
                )
                if not poller.poll(left_us / 1000):
                    return None
            try:
                self._wait = next(self._steps)
            except StopIteration as done:
                return (done.value,)
            if self._clock.mono_us() >= end_us:
                return None

    def close(self) -> None:
        """Give it up."""
        self._steps.close()
