"""Following the record: every entry, from the first on, told once to whoever keeps something of it.

Incidents, figures of drills, what is told to people: all of it is made of the record and can be
made again, so a station that is started anew reads it anew, in pieces between which it serves
others. Who listens must not wait, and what goes wrong there stops neither the tail nor the others.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

from offswitch.errors import OffswitchError, Timeout
from offswitch.ledger.reader import ShownEntry
from offswitch.station.archive.link import Archive

__all__ = ["Tail"]

_EVERY_S = 0.25
_MOST = 500

Listener = Callable[[ShownEntry], None]


class Tail:
    """One in a station."""

    def __init__(self, clerk: Archive) -> None:
        """Read through `clerk`, which is used for nothing else."""
        self._clerk = clerk
        self._listeners: list[Listener] = []
        self.next = 0
        """The index of the entry that comes next."""
        self.size = 0
        """How many entries the record has, as it said last."""
        self.problem = ""
        """Why the record is not followed just now; empty: it is."""
        self.caught_up = asyncio.Event()
        """Set once everything that was there at the start has been told."""

    def add(self, listener: Listener) -> None:
        """Tell `listener` of every entry, from the first on; called before `run`."""
        self._listeners.append(listener)

    @property
    def behind(self) -> int:
        """How many entries are in the record and not yet told."""
        return max(self.size - self.next, 0)

    async def run(self) -> None:
        """Follow, until cancelled; raises when the clerk is gone for good."""
        while True:
            try:
                more = await self._read()
                self.problem = ""
            except OffswitchError as error:
                self.problem, more = error.message, False
                if isinstance(error, Timeout):
                    self._clerk.close()  # it hangs; a station that is started anew has another
                if self._clerk.gone:
                    raise
            if not more:
                if not self.problem:
                    self.caught_up.set()
                await asyncio.sleep(_EVERY_S)

    async def _read(self) -> bool:
        """Read a piece; true if there is more."""
        said = await self._clerk.ask({"op": "since", "index": self.next, "most": _MOST})
        self.size = int(said["size"])
        for row in said["entries"]:
            entry = ShownEntry(row["index"], row["public"], row["sealed"], row["intact"])
            self.next = entry.index + 1
            for listener in self._listeners:
                self._tell(listener, entry)
        await asyncio.sleep(0)
        return self.next < self.size

    @staticmethod
    def _tell(listener: Listener, entry: ShownEntry) -> None:
        try:
            listener(entry)
        except Exception as error:  # noqa: BLE001 - a listener's edge: the others hear it all the same
            with suppress(OSError):
                name = getattr(listener, "__qualname__", "a listener")
                sys.stderr.write(
                    f"offswitch station: {name} failed at entry {entry.index}: {error!r}\n"[:500]
                )
