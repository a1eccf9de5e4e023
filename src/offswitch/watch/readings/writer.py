"""The writer of the store: a process of its own, so that no disk is ever waited for by the loop.

    {"folder", "size", "keep_us"}                        first, once
    {"names": [[id, target, series]…], "rows": [[wall_us, [id, value, …], {position: detail}]…]}

It gathers what comes by series and commits every few seconds: a block is at most 500 readings or
20 s of one series. The end of the link is the end of the writer, after it has committed. It may
write below its folder and do nothing else (SR-4).
"""

from __future__ import annotations

import argparse
import math
import os
import select
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from offswitch.clock import Clock, SystemClock
from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import shed
from offswitch.errors import OffswitchError
from offswitch.watch.readings.block import Block, Detail
from offswitch.watch.readings.store import Series, Store, whole

__all__ = ["WRITER", "main", "serve"]

WRITER = "readings"
"""What the nursery is told for this one, instead of an eye's needs."""
_BLOCK = 500
_BLOCK_US = 20_000_000
_COMMIT_US = 5_000_000
_LINK_TIMEOUT_S = 5.0
_LONGEST_DETAIL = 300


class _Gathered:
    """What came of one series since its last block."""

    __slots__ = ("details", "since_us", "times", "values")

    def __init__(self, mono_us: int) -> None:
        self.since_us = mono_us
        self.times: list[int] = []
        self.values: list[float] = []
        self.details: dict[int, Detail] = {}


class Writer:
    """Gathers readings and commits them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Write to `store`."""
        self._store = store
        self._clock = clock
        self._names: dict[int, Series] = {}
        self._gathered: dict[Series, _Gathered] = {}
        self._committed_us = clock.mono_us()

    def take(self, message: dict[str, Any]) -> None:
        """Take in one message of the loop's."""
        now_us = self._clock.mono_us()
        for number, target, series in message.get("names", ()):
            self._names[number] = (target, series)
        for wall_us, pairs, details in message.get("rows", ()):
            for at in range(0, len(pairs), 2):
                detail = details.get(str(at // 2))
                self._one(wall_us, pairs[at], pairs[at + 1], detail, now_us)

    def _one(
        self, wall_us: int, number: int, value: float | None, detail: Detail | None, now_us: int
    ) -> None:
        series = self._names.get(number)
        if series is None or not self._store.knows_or_has_room(series):
            return
        gathered = self._gathered.get(series)
        if gathered is None:
            gathered = self._gathered[series] = _Gathered(now_us)
        if detail:
            cut = {name: text[:_LONGEST_DETAIL] for name, text in detail.items()}
            gathered.details[len(gathered.times)] = cut
        gathered.times.append(wall_us)
        gathered.values.append(math.nan if value is None else value)

    def commit(self, *, everything: bool = False) -> None:
        """Commit what is due."""
        now_us = self._clock.mono_us()
        if not everything and now_us - self._committed_us < _COMMIT_US:
            return
        self._committed_us = now_us
        due = {
            series: one
            for series, one in self._gathered.items()
            if everything or len(one.times) >= _BLOCK or now_us - one.since_us >= _BLOCK_US
        }
        for series in due:
            del self._gathered[series]
        blocks = {series: Block(one.times, one.values, one.details) for series, one in due.items()}
        self._store.append(blocks, self._clock.wall_us())

    def wait_s(self) -> float:
        """How long nothing is due."""
        return max(self._committed_us + _COMMIT_US - self._clock.mono_us(), 0) / 1e6


def serve(fd: int) -> int:
    """Give rights away, then write what comes over the link `fd` until it ends."""
    with socket.socket(fileno=fd) as link:
        link.settimeout(_LINK_TIMEOUT_S)
        try:
            first = frames.receive(link)
            if first is None:
                return 0
            order, _fds = first
            # By a descriptor: a folder above may be closed to the user that this becomes.
            held = os.open(str(order["folder"]), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            folder = f"/proc/self/fd/{held}"
            # The same environment of LMDB must not be opened before rights are given away: what
            # lies in the folder is the user's, not root's.
            whole()
            refused = _confine(folder)
            clock = SystemClock()
            store = Store(folder, int(order["size"]), int(order["keep_us"]))
            with suppress(OSError):  # watch may have ended already; what it said counts
                ready = {"ready": os.getpid(), "refused": refused, "anew": store.begun_anew}
                frames.send(link, ready)
            _write(link, Writer(store, clock))
            store.close()
        except (OSError, OffswitchError, ValueError, KeyError) as error:
            sys.stderr.write(f"offswitch readings: {error!r}\n")
            sys.stderr.flush()
            return 1
    return 0


def _write(link: socket.socket, writer: Writer) -> None:
    while True:
        readable, _, _ = select.select([link], [], [], writer.wait_s())
        received = frames.receive(link) if readable else None
        if received is not None:
            writer.take(received[0])
        elif readable:
            writer.commit(everything=True)
            return
        writer.commit()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one link until it ends; for whoever has no nursery."""
    parser = argparse.ArgumentParser(prog="offswitch.watch.readings.writer")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--needs", default="")
    return serve(parser.parse_args(argv).link)


def _confine(folder: str) -> list[str]:
    refused = shed(user_of("watch"), dies_with_parent=False)
    refused.append(confine_files(write=[folder], read=["/proc", "/dev", folder, *sys.path]))
    refused.append(forbid("none"))
    return [one for one in refused if one]


if __name__ == "__main__":
    sys.exit(main())
