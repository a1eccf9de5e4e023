"""What the record costs: a commit, many who wait at once, and checking a million entries.

- `commit`: one ready-made entry stored durably (leaf and tree hashes, Ed25519 signature,
  SQLite in WAL mode with synchronous=FULL) against a bare append of the same bytes with
  fdatasync, on the same disk, interleaved pair by pair.
- `group-64`: findings a second through a real recorder's socket, 64 producers that each wait
  for theirs to be durable before they send the next, against one such producer. Turns
  of both alternate; the figure is the ratio of their rates.
- `verify`: entries a second of `offswitch ledger verify`'s own check, on a ledger whose
  entries are orders with two sealed values each.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figures

from offswitch.control import frames
from offswitch.control.journal import Ring
from offswitch.control.place import Place
from offswitch.ledger.opening import Opened, open_ledger
from offswitch.ledger.seal import SealedEntry, seal
from offswitch.ledger.store import LedgerPaths, Position
from offswitch.ledger.verifier import Verdict, verify

INSTALLATION = "0123456789abcdef0123456789abcdef"
WARM_UP = 1500
"""Commits until the WAL has gone round once: from then on it is overwritten in place."""
TURN_S = 0.4


def order(number: int) -> dict[str, dict[str, object]]:
    """Give an order as the warden hands it in."""
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
        },
        "sealed": {"by": "uid:1000", "reason": "it writes nonsense into the prices"},
    }


def finding(number: int) -> dict[str, dict[str, object]]:
    """Give a finding as watch hands it in over the socket."""
    public = {
        "v": 1,
        "kind": "finding",
        "time_us": 1_750_000_000_000_000 + number,
        "mono_us": 5_000_000 + number,
        "boot": "b" * 32,
        "installation": INSTALLATION,
        "target": "shop/eu/checkout",
        "detector": "rate(above=50 per 1s)",
        "what": f"prices: {number} rows changed within a second",
        "score": "1.42",
    }
    return {"public": public, "sealed": {"evidence": {"window_s": "1", "rows": str(number)}}}


def entry(number: int) -> SealedEntry:
    """Give a ready-made entry."""
    made = order(number)
    return seal(made["public"], made["sealed"], "journal")


def begin(home: Path) -> Opened:
    """Begin a ledger in `home`."""
    (home / "ledger").mkdir(parents=True)
    (home / "installation").write_text(INSTALLATION + "\n")
    return open_ledger(str(home))


def measure_commit(figures: Figures, folder: Path) -> None:
    """Commit and append in turns."""
    store = begin(folder / "commit").store
    ours, bare = [], []
    pairs = figures.runs(600, 300)
    with (folder / "append").open("ab") as file:
        for number in range(WARM_UP + pairs):
            made = entry(number)
            started = time.perf_counter()
            file.write(made.body + made.sealed + b"\n")
            file.flush()
            os.fdatasync(file.fileno())
            between = time.perf_counter()
            store.commit([made], Position(b"r" * 16, number))
            ended = time.perf_counter()
            store.tidy()
            if number >= WARM_UP:
                bare.append((between - started) * 1e3)
                ours.append((ended - between) * 1e3)
    store.close()
    what = "one entry made durable, against append and fdatasync of the same bytes"
    figures.against("commit", ours, bare, "ms", what=what, target="≤ 1.5 ×")


class Producers:
    """Peers of a recorder that each wait for their entry before they send the next."""

    def __init__(self, path: str, count: int) -> None:
        """Connect `count` of them to the recorder at `path`."""
        self._selector = selectors.EpollSelector()
        self._frames = [frames.encode({"op": "record", "entries": [finding(n)]}) for n in range(64)]
        self._socks = []
        for _ in range(count):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            self._selector.register(sock, selectors.EVENT_READ)
            self._socks.append(sock)

    def rate(self, seconds: float) -> float:
        """Let them record for so long; give the entries a second that were acknowledged."""
        done = 0
        started = time.perf_counter()
        until = started + seconds
        for sock in self._socks:
            sock.sendall(self._frames[0])
        waiting = len(self._socks)
        while waiting:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if b'"ok":true' not in sock.recv(4096):
                    raise SystemExit("the recorder did not acknowledge")
                done += 1
                if time.perf_counter() < until:
                    sock.sendall(self._frames[done % 64])
                else:
                    waiting -= 1
        return done / (time.perf_counter() - started)


def measure_group(figures: Figures, folder: Path) -> None:
    """Compare 64 who wait at once with one, through a real recorder."""
    home = folder / "group"
    home.mkdir()
    (home / "installation").write_text(INSTALLATION + "\n")
    run = tempfile.mkdtemp(prefix="offswitch-bench-", dir="/dev/shm")
    place = Place(str(home), run)
    os.mkdir(place.control)
    ring = Ring.take(f"{run}/journal")
    reader, wake = os.pipe()
    arguments = ["--home", str(home), "--run", run, "--ring", f"{run}/journal", "--wake"]
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "offswitch.ledger.recorder", *arguments, str(reader)],
        pass_fds=[reader],
        stderr=subprocess.DEVNULL,
    )
    os.close(reader)
    try:
        while ring.durable_seq == 0 and not os.path.exists(place.recorder_socket):
            time.sleep(0.01)
        one, many = Producers(place.recorder_socket, 1), Producers(place.recorder_socket, 64)
        one.rate(1.0)  # the WAL goes round once
        many.rate(0.5)
        singles, groups = [], []
        for _ in range(figures.runs(25, 20)):
            singles.append(one.rate(TURN_S))
            groups.append(many.rate(TURN_S))
    finally:
        os.close(wake)
        process.wait(30)
        ring.close()
        shutil.rmtree(run)
    what = "64 producers who wait for the disk, against one"
    figures.against("group-64", groups, singles, "entries/s", what=what, target="≥ 10 ×")


def measure_verify(figures: Figures, folder: Path) -> None:
    """Check a large ledger."""
    home = folder / "verify"
    opened = begin(home)
    count, batch = figures.runs(1_000_000, 100_000), 16
    figures.say(f"verify: writing {count:,} entries")
    for start in range(0, count, batch):
        entries = [entry(number) for number in range(start, start + batch)]
        opened.store.commit(entries, Position(b"r" * 16, start))
        opened.store.tidy()
    opened.store.close()
    database = LedgerPaths(str(home)).database
    key = opened.store.verify_key
    rates = []
    for _ in range(figures.runs(20, 3)):
        started = time.perf_counter()
        outcome = verify(database, key)
        rates.append(count / (time.perf_counter() - started))
        if (outcome.verdict, outcome.entries) != (Verdict.UNWITNESSED, count):
            raise SystemExit(f"it did not verify: {outcome}")
    what = f"checked of a ledger of {count:,} entries, {os.path.getsize(database) >> 20} MiB"
    figures.value("verify", rates, "entries/s", what=what, target="≥ 100,000 entries/s")


def main() -> None:
    """Measure all, on the disk of the current folder's temporary directory."""
    figures = Figures("ledger", __doc__ or "")
    with tempfile.TemporaryDirectory(prefix="offswitch-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        measure_commit(figures, folder)
        measure_group(figures, folder)
        measure_verify(figures, folder)
    figures.show()


if __name__ == "__main__":
    main()
