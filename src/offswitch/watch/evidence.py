"""Rows as they were before they were changed: evidence for people, material for repair.

One file a sensor, JSON lines, the last 10,000 changes, or as many of them as 64 MiB hold,
since a target could else fill the disk with its own large rows: when there is twice as much,
the older half is dropped. Values keep their SQLite type, so that a row can be put
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

from offswitch.watch.rows.shadow import Change, Row, Value

__all__ = ["KEPT", "KEPT_BYTES", "Evidence", "read_changes"]

KEPT = 10_000
KEPT_BYTES = 64 << 20
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
    if change.key_columns:
        body["key_columns"] = change.key_columns
    if change.by:
        body["by"] = change.by
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
            change = Change(
                raw["table"],
                raw["kind"],
                columns,
                named,
                rows[1],
                rows[2],
                tuple(raw.get("key_columns", ())),
                str(raw.get("by", "")),
            )
            found.append((int(raw["time_us"]), change))
        except (ValueError, KeyError, TypeError):
            continue
    return found


class Evidence:
    """Keeps the last changes in a file that was opened for it."""

    __slots__ = ("_bytes", "_fd", "_lines", "_written", "_written_bytes", "problem")

    def __init__(self, fd: int) -> None:
        """Go on in the file behind `fd`, which is opened for reading and writing."""
        self._fd = fd
        # What follows the last newline was cut short by a full disk: it is nobody's row.
        whole = self._read().rpartition(b"\n")[0]
        self._lines: deque[bytes] = deque()
        self._bytes = self._written = self._written_bytes = 0
        self.problem = ""
        self._hold([line + b"\n" for line in whole.split(b"\n") if line])
        self.keep(0, ())

    def keep(self, time_us: int, changes: Sequence[Change]) -> None:
        """Write changes down; what does not fit on the disk is a `problem`, never an exception."""
        fresh = self._newest(time_us, changes)
        self._hold(fresh)
        self._written += len(fresh)
        self._written_bytes += sum(map(len, fresh))
        much = self._written > 2 * KEPT or self._written_bytes > 2 * KEPT_BYTES
        try:
            if much or not fresh:
                self._rewrite()
            else:
                self._append(fresh)
            few = len(fresh) < min(len(changes), KEPT)
            self.problem = "before-images are lost: the rows are too large" if few else ""
        except OSError as error:
            self.problem = f"before-images are lost: {error.strerror}"

    @staticmethod
    def _newest(time_us: int, changes: Sequence[Change]) -> list[bytes]:
        """Spell the last of the changes, as many as are kept at all."""
        lines: list[bytes] = []
        room = KEPT_BYTES
        for change in reversed(changes[-KEPT:]):
            line = _line(time_us, change)
            room -= len(line)
            if room < 0:
                break
            lines.append(line)
        lines.reverse()
        return lines

    def _hold(self, lines: Sequence[bytes]) -> None:
        """Take lines into what is kept; the oldest go."""
        self._lines.extend(lines)
        self._bytes += sum(map(len, lines))
        while len(self._lines) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._lines.popleft())

    def _read(self) -> bytes:
        parts = []
        at = max(os.fstat(self._fd).st_size - 2 * KEPT_BYTES, 0)
        while part := os.pread(self._fd, _CHUNK, at):
            parts.append(part)
            at += len(part)
        data = b"".join(parts)
        return data.partition(b"\n")[2] if at > len(data) else data

    def _append(self, lines: Iterable[bytes]) -> None:
        data = memoryview(b"".join(lines))
        at = os.lseek(self._fd, 0, os.SEEK_END)
        while data:
            done = os.pwrite(self._fd, data, at)
            at, data = at + done, data[done:]

    def _rewrite(self) -> None:
        os.ftruncate(self._fd, 0)
        self._written, self._written_bytes = len(self._lines), self._bytes
        self._append(self._lines)
