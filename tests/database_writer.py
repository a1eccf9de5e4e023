"""A writer of a SQLite database in a process of its own, as the writer always is.

In one process SQLite's connections share locks and the log's index, and closing any
descriptor of a file drops them all: a test with its writer inside would test that.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

_SERVER = """\
import pickle, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
while True:
    try:
        many, sql, values = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = (db.executemany if many else db.execute)(sql, values).fetchall()
    except sqlite3.Error as error:
        answer = str(error)
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
db.close()
"""


class Rows(list[tuple[Any, ...]]):
    """What a statement gave."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self)

    def fetchone(self) -> tuple[Any, ...]:
        return self[0]


class Writer:
    """Executes statements elsewhere, each a transaction of its own unless it is begun."""

    def __init__(self, path: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SERVER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def execute(self, sql: str, values: object = ()) -> Rows:
        return self._ask((False, sql, values))

    def executemany(self, sql: str, values: object) -> Rows:
        return self._ask((True, sql, values))

    def _ask(self, message: tuple[bool, str, object]) -> Rows:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()
        answer = pickle.load(self._process.stdout)
        assert not isinstance(answer, str), answer
        return Rows(answer)

    def close(self) -> None:
        """Close the connection as a program that ends well does."""
        self._process.communicate()
