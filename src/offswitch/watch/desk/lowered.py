"""What is lowered just now, kept through a restart of watch.

It lies in `$OFFSWITCH_HOME/watch/lowered.json`, which only watch's user can write. What cannot be
read, or belongs to anyone else, lowers nothing, and that is told: the safe side is a rule in
force. The file is written in a thread of its own, since a disk may hang and the loop may not.

Time is the machine's, and an end also counts on the clock that never jumps: whichever of the two
comes first, so that a clock which is set back lengthens nothing.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any

from offswitch.clock import Clock
from offswitch.decide.lowering import (
    AGAIN_US,
    CONFIRM_US,
    LONGEST_US,
    Lowered,
    What,
    again,
    checked,
    confirmed,
)
from offswitch.decide.who import Who, surely_two
from offswitch.errors import NotFound, Usage

__all__ = ["LoweredBook"]

_LARGEST = 1 << 20
_MOST = 500
"""Lowered and once lowered ones that are remembered."""


class LoweredBook:
    """What is lowered, what waits for a second person, and what was."""

    def __init__(self, home: str, clock: Clock) -> None:
        """Read what was lowered when watch last ran."""
        self._path = f"{home}/watch/lowered.json"
        self._clock = clock
        self._known: list[Lowered] = []
        self._waiting: list[tuple[Lowered, Who]] = []
        self._due: dict[Lowered, int] = {}
        """When each of them ends, monotonic microseconds."""
        self._writing: threading.Thread | None = None
        self.problem = ""
        """Why what was lowered could not be read or kept."""
        self._read()

    # --- asking for it ------------------------------------------------------------

    def lower(
        self, wanted: Lowered, who: Who, *, owner: bool, two: bool = False
    ) -> tuple[Lowered, bool]:
        """Lower something; gives it, and whether it waits for a second person.

        `two`: it takes a second person even the first time.
        """
        wall_us = self._clock.wall_us()
        for waiting, first in list(self._waiting):
            if waiting.key == wanted.key and surely_two(first, who):
                done = confirmed(waiting, first, who, wall_us)
                self._waiting.remove((waiting, first))
                return self.take(done), False
        checked(wanted, owner=owner)
        if self.people(wanted, two=two) > 1:
            kept = [(one, first) for one, first in self._waiting if one.key != wanted.key]
            self._waiting = [*kept[-_MOST:], (wanted, who)]
            return wanted, True
        return self.take(wanted), False

    def people(self, wanted: Lowered, *, two: bool = False) -> int:
        """Say how many people it takes; `Usage` where that is lowered already."""
        if any(one.key == wanted.key for one in self.now()):
            raise Usage("that is lowered already", "restore it first, or let it return by itself")
        return 2 if two or again(wanted, self._known) is not None else 1

    def take(self, lowered: Lowered) -> Lowered:
        """Lower something from now on; who may, and how many it takes, has been asked."""
        self._known = [*self._known, lowered][-_MOST:]
        self._due[lowered] = self._clock.mono_us() + lowered.until_us - lowered.since_us
        self._keep()
        return lowered

    def restore(self, what: What, rule: str, series: str = "") -> Lowered:
        """Let something return now; `NotFound` where it is not lowered."""
        for one in self.now():
            if one.key == (what.value, rule, series):
                self._end(one)
                self._keep()
                return one
        raise NotFound(f"{rule} is not lowered", "see: offswitch rule list")

    def _end(self, lowered: Lowered) -> None:
        """Keep that it ended: what is lowered again within a day needs a second person."""
        self._due.pop(lowered, None)
        wall_us = self._clock.wall_us()
        ended = replace(lowered, until_us=min(max(wall_us, lowered.since_us), lowered.until_us))
        self._known = [ended if one is lowered else one for one in self._known]

    # --- what there is ------------------------------------------------------------

    def now(self) -> list[Lowered]:
        """Give what is lowered at this moment."""
        return [one for one in self._known if one in self._due]

    @property
    def waiting(self) -> list[Lowered]:
        """What waits for a second person."""
        wall_us = self._clock.wall_us()
        return [one for one, _who in self._waiting if wall_us - one.since_us <= CONFIRM_US]

    def returned(self) -> list[Lowered]:
        """Give what has come to its end since the last call, and let it return."""
        if not self._due:
            return []
        wall_us, mono_us = self._clock.wall_us(), self._clock.mono_us()
        over = [one for one in self.now() if mono_us >= self._due[one] or not one.stands(wall_us)]
        for one in over:
            self._end(one)
        if over:
            self._keep()
        return over

    # --- the file -----------------------------------------------------------------

    def _read(self) -> None:
        try:
            rows = json.loads(_ours(self._path))
            known = [_lowered(row) for row in rows[-_MOST:]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.problem = f"what was lowered cannot be read, so nothing is: {error}"[:300]
            return
        wall_us, mono_us = self._clock.wall_us(), self._clock.mono_us()
        self._known = known
        for one in known:
            if one.stands(wall_us):
                self._due[one] = mono_us + min(one.until_us - wall_us, LONGEST_US)

    def _keep(self) -> None:
        """Write the file anew, in a thread: the disk may hang."""
        wall_us = self._clock.wall_us()
        recent = [one for one in self._known if wall_us - one.until_us < AGAIN_US]
        data = json.dumps([asdict(one) for one in recent]).encode()
        before = self._writing
        self._writing = threading.Thread(
            target=self._write, args=(data, before), daemon=True, name="lowered"
        )
        with suppress(RuntimeError):  # no thread is left: it holds until watch ends
            self._writing.start()

    def _write(self, data: bytes, before: threading.Thread | None) -> None:
        if before is not None and before.ident is not None:
            before.join()
        fresh = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with open(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
            os.rename(fresh, self._path)
            self.problem = ""
        except OSError as error:
            self.problem = f"what is lowered does not outlive watch: {error.strerror}"

    def close(self) -> None:
        """Wait a little for what is being written."""
        if self._writing is not None and self._writing.ident is not None:
            self._writing.join(1.0)


def _ours(path: str) -> bytes:
    """Read a file of ours; ValueError where anyone else could have written it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        facts = os.fstat(fd)
        ours = facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
        if not stat.S_ISREG(facts.st_mode) or not ours:
            raise ValueError("it is not ours alone")
        return file.read(_LARGEST)


def _lowered(row: dict[str, Any]) -> Lowered:
    """Make one of a row of the file; raises where it is none of ours."""
    row = dict(row)
    if "uid" in row:  # as it was written before persons had names
        second = row["second"]
        row |= {"by": f"uid:{row.pop('uid'):d}", "second": f"uid:{second:d}" if second else ""}
    one = Lowered(**{**row, "what": What(row["what"])})
    texts = [getattr(one, each.name) for each in fields(one) if each.type == "str"]
    right = all(type(text) is str for text in texts)
    right = right and all(type(number) is int for number in (one.since_us, one.until_us))
    if not right or one.until_us - one.since_us > LONGEST_US:
        raise ValueError("a row that is none")
    return one
