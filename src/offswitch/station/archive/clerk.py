"""Whoever reads the ledger for the station: a process of its own, read-only (SR-4).

    {"op": "since", "index": 120, "most": 500}      entries from 120 on, and the head
    {"op": "find", "containing": "shop", "end": …}  the latest that contain it, backwards
    {"op": "proof", "index": 120}                   the entry, its inclusion proof, the checkpoint
    {"op": "pick", "indexes": [3, 8], "at": 120}    these entries, and the root of the first 120
    {"op": "bodies", "index": 0}                    texts as they stand in the tree, for an export
    {"op": "verify"}                                what `offswitch ledger verify` would say

The ledger is the recorder's, so this becomes the recorder's user; Landlock lets it write nothing
and read the ledger alone. What it reads was written by targets, among others: a defect that
they find here gives them a process that can lie to the console, and nothing else.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import READ_SEARCH, closed_to_others, complain, shed
from offswitch.errors import Internal, NotFound, OffswitchError, Usage
from offswitch.ledger.checkpoint import VerifyKey
from offswitch.ledger.pin import Pin
from offswitch.ledger.reader import Reader, ShownEntry, reading
from offswitch.ledger.store import LedgerPaths
from offswitch.ledger.tree import Frontier
from offswitch.ledger.verifier import Head, verify

__all__ = ["serve"]

_MOST = 1000
_LOOKED_AT = 20_000
_LONGEST_ANSWER = 8 << 20
"""Bytes of entries in one answer; the rest is asked for again."""

Message = dict[str, Any]


def serve(link: socket.socket, home: str) -> None:
    """Give rights away, then answer until the station hangs up."""
    complain("archive", _confine(home))
    while True:
        try:
            got = frames.receive(link)
        except (OSError, OffswitchError):
            return
        if got is None:
            return
        with suppress(OSError):
            link.sendall(frames.encode(_answer(home, got[0]), frames.MAX_ANSWER))


def _confine(home: str) -> list[str]:
    paths = LedgerPaths(home)
    user = user_of("recorder")
    closed = user is not None and closed_to_others(f"{home}/ledger")
    with sqlite3.connect(":memory:") as memory:  # reads /dev/urandom while it may
        memory.execute("SELECT random()").fetchone()
    memory.close()
    said = shed(user, keep=[READ_SEARCH] if closed else [], dies_with_parent=True)
    code = [path for path in sys.path if os.path.isdir(path)]
    folders = [paths.folder, Pin(home).folder]
    said.append(confine_files(read=[*folders, "/proc", "/dev/urandom", *code]))
    said.append(forbid("none"))
    return [each for each in said if each]


def _answer(home: str, message: Message) -> Message:
    work = _WORK.get(str(message.get("op")))
    if work is None:
        return {
            "error": Usage(f"the archive is not asked {str(message.get('op'))[:40]!r}").as_dict()
        }
    try:
        return work(home, message)
    except OffswitchError as error:
        return {"error": error.as_dict()}
    except Exception as error:  # noqa: BLE001 - a request: the next one is answered all the same
        defect = Internal(f"a defect of ours: {type(error).__name__}: {error}"[:500])
        return {"error": defect.as_dict()}


def _since(home: str, message: Message) -> Message:
    first = max(int(message.get("index", 0)), 0)
    most = min(max(int(message.get("most", 200)), 1), _MOST)
    with reading(home) as reader:
        size = reader.head.size
        end = min(first + most, size)
        return {"size": size, "entries": _bounded(reader, first, end)}


def _find(home: str, message: Message) -> Message:
    """Look backwards from `end`; the answer says how far it looked."""
    wanted = str(message.get("containing", ""))[:200]
    most = min(max(int(message.get("most", 100)), 1), _MOST)
    with reading(home) as reader:
        size = reader.head.size
        end = min(int(message.get("end", size)), size)
        found: list[Message] = []
        floor = max(end - _LOOKED_AT, 0)
        while end > floor and len(found) < most:
            first = max(end - most, floor)
            shown = list(reader.shown(first, end, wanted))
            found += [_row(entry) for entry in reversed(shown)]
            end = first
        return {"size": size, "entries": found[:most], "from": end}


def _proof(home: str, message: Message) -> Message:
    index = int(message.get("index", -1))
    with reading(home) as reader:
        inclusion = reader.inclusion(index)
        entry = next(iter(reader.shown(index, index + 1)), None)
        if entry is None:
            raise NotFound(f"there is no entry {index}")
        return {
            "entry": _row(entry),
            "body": b64encode(reader.bodies(index, index + 1)[0]).decode(),
            "leaf": inclusion.leaf.hex(),
            "proof": [each.hex() for each in inclusion.proof],
            "checkpoint": inclusion.note.decode("utf-8", "replace"),
        }


def _pick(home: str, message: Message) -> Message:
    """Give the entries of these numbers, and what the tree was when it had `at` of them."""
    wanted = [int(index) for index in list(message.get("indexes", []))[:_MOST]]
    with reading(home) as reader:
        size = min(int(message.get("at", reader.head.size)), reader.head.size)
        rows = [_row(entry) for index in wanted for entry in reader.shown(index, index + 1)]
        root = Frontier.of(reader.nodes, size).root().hex()
        return {"entries": rows, "origin": reader.head.origin, "root": root}


def _bodies(home: str, message: Message) -> Message:
    """Give texts from `index` on as they were hashed, and the checkpoint that covers them."""
    first = max(int(message.get("index", 0)), 0)
    end = int(message.get("end", first + _MOST))
    with reading(home) as reader:
        size = reader.head.size
        bodies = reader.bodies(first, min(first + _MOST, end, size))
        texts = [body.decode("utf-8", "replace") for body in bodies]
        return {"size": size, "bodies": texts, "checkpoint": reader.note.decode()}


def _verify(home: str, _message: Message) -> Message:
    """Check everything against the pin, which lies on the machine that it checks."""
    pin = Pin(home)
    text, head = pin.key(), pin.head()
    key = None if text is None else VerifyKey.parse(text)
    heads = [] if head is None else [Head(head, "pin/head", elsewhere=False)]
    outcome = verify(LedgerPaths(home).database, key, heads)
    return {
        "verdict": outcome.verdict.value,
        "entries": outcome.entries,
        "where": outcome.where,
        "notes": list(outcome.notes),
    }


def _bounded(reader: Reader, first: int, end: int) -> list[Message]:
    rows: list[Message] = []
    room = _LONGEST_ANSWER
    for entry in reader.shown(first, end):
        row = _row(entry)
        room -= len(repr(row))
        if room < 0 and rows:
            break
        rows.append(row)
    return rows


def _row(entry: ShownEntry) -> Message:
    return entry.as_dict()


_WORK: dict[str, Callable[[str, Message], Message]] = {
    "since": _since,
    "find": _find,
    "proof": _proof,
    "pick": _pick,
    "bodies": _bodies,
    "verify": _verify,
}
