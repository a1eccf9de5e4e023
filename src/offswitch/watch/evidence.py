"""Rows as they were before they were changed: evidence for people, material for repair.

One file a sensor, JSON lines, the last 10,000 changes at the least: when it holds twice as
many, the older half is dropped. Values keep their SQLite type, so that a row can be put
back exactly: text as text (bytes that are no UTF-8 as lone surrogates), a blob
as `{"blob": hex}`, a real that JSON cannot write as `{"real": "inf"}`. Written after the
readings were sent, never before; a full disk loses evidence and stops nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from offswitch.watch.sensors.shadow import Change, Row, Value

__all__ = ["KEPT", "Evidence", "read_changes"]

KEPT = 10_000
_CHUNK = 1 << 20


def _plain(value: Value) -> Any:  # noqa: ANN401 - where values become JSON
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    return value


def _value(plain: Any) -> Value:  # noqa: ANN401
    if isinstance(plain, dict):
        return bytes.fromhex(plain["blob"]) if "blob" in plain else float(plain["real"])
    value: Value = plain
    return value


def _row(row: Row | None) -> list[Any] | None:
    return None if row is None else [_plain(value) for value in row]


def _line(time_us: int, change: Change) -> bytes:
    body = {
        "time_us": time_us,
        "table": change.table,
        "kind": change.kind,
        "columns": change.columns,
        "key": _row(change.key if isinstance(change.key, tuple) else (change.key,)),
        "before": _row(change.before),
        "after": _row(change.after),
    }
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def read_changes(data: bytes) -> list[tuple[int, Change]]:
    """Read an evidence file's bytes: time (UTC, microseconds) and change, oldest first.

    A last line that a full disk has cut short is left out.
    """
    found = []
    for line in data.splitlines():
        try:
            raw = json.loads(line)
            rows = [
                None if raw[name] is None else tuple(_value(item) for item in raw[name])
                for name in ("key", "before", "after")
            ]
            columns = tuple(raw["columns"])
            key = rows[0] or ()
            named = key[0] if len(key) == 1 else key
            change = Change(raw["table"], raw["kind"], columns, named, rows[1], rows[2])
            found.append((int(raw["time_us"]), change))
        except (ValueError, KeyError, TypeError):
            continue
    return found


class Evidence:
    """Keeps the last changes in a file that was opened for it."""

    __slots__ = ("_fd", "_lines", "_written", "problem")

    def __init__(self, fd: int) -> None:
        """Go on in the file behind `fd`, which is opened for reading and writing."""
        self._fd = fd
        # What follows the last newline was cut short by a full disk: it is nobody's row.
        whole = self._read().rpartition(b"\n")[0]
        self._lines: deque[bytes] = deque(maxlen=KEPT)
        self._lines.extend(line + b"\n" for line in whole.split(b"\n") if line)
        self._written = len(self._lines)
        self.problem = ""
        self.keep(0, ())

    def keep(self, time_us: int, changes: Sequence[Change]) -> None:
        """Write changes down; what does not fit on the disk is a `problem`, never an exception."""
        fresh = [_line(time_us, change) for change in changes[-KEPT:]]
        self._lines.extend(fresh)
        self._written += len(fresh)
        try:
            if self._written > 2 * KEPT or not fresh:
                self._rewrite()
            else:
                self._append(fresh)
            self.problem = ""
        except OSError as error:
            self.problem = f"before-images are lost: {error.strerror}"

    def _read(self) -> bytes:
        parts = []
        at = 0
        while part := os.pread(self._fd, _CHUNK, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def _append(self, lines: Iterable[bytes]) -> None:
        data = memoryview(b"".join(lines))
        at = os.lseek(self._fd, 0, os.SEEK_END)
        while data:
            done = os.pwrite(self._fd, data, at)
            at, data = at + done, data[done:]

    def _rewrite(self) -> None:
        os.ftruncate(self._fd, 0)
        self._written = len(self._lines)
        self._append(self._lines)
