"""Ledgers for tests: made by the store itself, or by a real recorder in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offswitch.control.client import Conversation
from offswitch.control.journal import Ring
from offswitch.control.place import Place
from offswitch.errors import Unreachable
from offswitch.ledger.checkpoint import VerifyKey
from offswitch.ledger.opening import Opened, open_ledger
from offswitch.ledger.pin import Pin
from offswitch.ledger.seal import SealedEntry, seal
from offswitch.ledger.store import LedgerPaths, Position
from offswitch.ledger.verifier import Head, Outcome, verify

INSTALLATION = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 20.0


def payload(number: int, **public: object) -> dict[str, Any]:
    """Give an order as a warden would hand it in; every one is different."""
    return {
        "public": {
            "v": 1,
            "kind": "order",
            "time_us": 1_750_000_000_000_000 + number,
            "mono_us": 5_000_000 + number,
            "boot": "b" * 32,
            "installation": INSTALLATION,
            "channel": "cli",
            "scope": "shop/eu/checkout",
            "level": "kill",
            "digest": f"{number:064x}",
            "prior": "running",
            "state": "stopping",
            **public,
        },
        "sealed": {"by": "uid:1000", "reason": f"press {number}: it writes nonsense"},
    }


def entry(number: int, **public: object) -> SealedEntry:
    made = payload(number, **public)
    return seal(made["public"], made["sealed"], "journal")


def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE_S) -> Any:  # noqa: ANN401
    """Wait until `what()` is true; fail with `why` when it never is."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"in vain: {why}"
        time.sleep(0.002)
    return value


class Home:
    """The state folder of an installation with a ledger in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "installation").write_text(INSTALLATION + "\n")
        self.paths = LedgerPaths(str(folder))
        self.pin = Pin(str(folder))

    def open(self) -> Opened:
        os.makedirs(self.paths.folder, mode=0o700, exist_ok=True)
        return open_ledger(str(self.folder))

    def fill(self, count: int, batch: int = 7, first: int = 0) -> None:
        """Add `count` entries, `batch` in a commit, each commit with a place in a journal."""
        opened = self.open()
        number = first
        while number < first + count:
            upto = min(number + batch, first + count)
            position = Position(b"r" * 16, upto)
            opened.store.commit([entry(each) for each in range(number, upto)], position)
            opened.pin.write_head(opened.store.note)
            number = upto
        opened.store.close()

    @property
    def vkey(self) -> VerifyKey:
        return VerifyKey.parse(self.pin.key() or "")

    def heads(self) -> list[Head]:
        note = self.pin.head()
        return [] if note is None else [Head(note, "pin/head", elsewhere=False)]

    def verify(self, *more: Head, brought: bool = False) -> Outcome:
        heads = [*more, *self.heads()]
        return verify(self.paths.database, self.vkey, heads, brought=brought)

    def change(self, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
        """Change the ledger behind its recorder's back, as root could."""
        connection = sqlite3.connect(self.paths.database, isolation_level=None)
        try:
            for statement in statements:
                text, values = (statement, ()) if isinstance(statement, str) else statement
                connection.execute(text, values)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def bodies(self) -> list[dict[str, Any]]:
        """Read every entry's public text, as a stranger would: with sqlite3 and json."""
        uri = f"file:{self.paths.database}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=5)
        try:
            rows = connection.execute("SELECT body FROM entries ORDER BY idx").fetchall()
        finally:
            connection.close()
        return [json.loads(row[0]) for row in rows]


class Recording(Home):
    """An installation with a ring of its own and a real recorder, in the warden's place."""

    def __init__(self, folder: Path, ring_size: int = 8 << 20) -> None:
        super().__init__(folder / "home")
        # The ring must lie in memory, and the socket's path must stay short.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.run = tempfile.mkdtemp(prefix="offswitch-test-", dir=memory)
        self.place = Place(str(self.folder), self.run)
        os.mkdir(self.place.control)
        self.ring_path = f"{self.run}/journal"
        self.ring = Ring.take(self.ring_path, ring_size)
        self.process: subprocess.Popen[bytes] | None = None
        self.wake = -1
        self.log = folder / "recorder.log"
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        reader, self.wake = os.pipe()
        arguments = ["--home", str(self.folder), "--run", self.run, "--ring", self.ring_path]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-m",
                    "offswitch.ledger.recorder",
                    *arguments,
                    "--wake",
                    str(reader),
                ],
                pass_fds=[reader],
                stderr=log,
            )
        os.close(reader)
        self._all.append(self.process)
        return self.process

    def append(self, number: int, **public: object) -> int:
        return self.append_raw(json.dumps(payload(number, **public)).encode())

    def append_raw(self, record: bytes) -> int:
        seq = self.ring.append(record)
        if self.wake >= 0:
            with contextlib.suppress(OSError):
                os.write(self.wake, b"!")
        return seq

    def await_durable(self, seq: int) -> None:
        until(lambda: self.ring.durable_seq >= seq, f"record {seq} is in the ledger")

    def conversation(self) -> Conversation:
        """Connect as watch does, as soon as the recorder listens."""

        def connected() -> Conversation | None:
            try:
                return Conversation(self.place.recorder_socket)
            except Unreachable:
                return None

        made: Conversation = until(connected, "the recorder listens")
        return made

    def hang_up(self) -> int:
        """End as a warden does: close the link, and let the recorder drain."""
        assert self.process is not None
        os.close(self.wake)
        self.wake = -1
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.wake)
        self.wake = -1

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def close(self) -> None:
        if self.wake >= 0:
            os.close(self.wake)
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.ring.close()
        shutil.rmtree(self.run)
