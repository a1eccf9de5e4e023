"""Entries on their way to the recorder, from a process that must not wait for it.

Entries wait in a bounded queue and go out in batches when the loop has nothing better to
do; the next batch goes when the one before was committed. A batch is a message of bounded
size, however much a target writes into its evidence. A recorder that is away, hung or
slow costs nothing but room: beyond 10,000 entries the oldest are dropped, counted, and the
count is the first thing that is recorded afterwards, as a gap; so is an entry that is too
large by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from offswitch.clock import Clock, boot_id
from offswitch.control import frames
from offswitch.control.line import Line
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.entry import VERSION, EntryKind

__all__ = ["Outbox", "plain_number"]

_MOST = 10_000
_BATCH = 100
_BATCH_BYTES = 256 << 10
_RETRY_US = 500_000
_LONGEST_TEXT = 2000
_LONGEST_KEY = 200

Entry = dict[str, dict[str, Any]]


class Outbox:
    """Hands entries in; `pump` is called by whoever has a loop."""

    def __init__(self, place: Place, clock: Clock, who: str) -> None:
        """Record with the recorder of `place`; `who` of our processes this is."""
        self._who = who
        self._path = place.recorder_socket
        self._clock = clock
        self._boot = boot_id()
        self._installation = ""
        self._waiting: deque[Entry] = deque()
        self._sent: list[Entry] = []
        self._lost = 0
        self._line: Line | None = None
        self._retry_us = 0

    def of(self, installation: str) -> None:
        """Say whose entries these are; until it is known they wait."""
        self._installation = installation

    def add(
        self, kind: EntryKind, public: Mapping[str, Any], sealed: Mapping[str, Any] | None = None
    ) -> None:
        """Have an entry recorded, some time."""
        self._waiting.append(self._entry(kind, public, sealed or {}))
        if len(self._waiting) > _MOST:
            self._waiting.popleft()
            self._lost += 1

    def _entry(
        self, kind: EntryKind, public: Mapping[str, Any], sealed: Mapping[str, Any]
    ) -> Entry:
        body = {
            "v": VERSION,
            "kind": kind.value,
            "time_us": self._clock.wall_us(),
            "mono_us": self._clock.mono_us(),
            "boot": self._boot,
            **_plain(public),
        }
        return {"public": body, "sealed": _plain(sealed)}

    def tell(
        self,
        kind: EntryKind,
        what: str,
        *,
        why: object,
        prior: str,
        state: str,
        by: str = "",
        channel: str = "",
        **more: object,
    ) -> None:
        """Have recorded what has become of us, or what somebody did through us."""
        said = {"what": what, "why": why, "prior": prior, "state": state}
        said["channel"] = channel or self._who
        self.add(kind, {**said, **more}, {"by": by or self._who})

    def pump(self) -> None:
        """Send a batch if there is one and the last was taken; never waits."""
        line = self._line
        if line is not None:
            line.flush()
            for answer in line.receive():
                if "error" in answer:
                    # It took offence at something in there; once more would be no better.
                    self._lost += len(self._sent)
                self._sent = []
            if not line.alive:
                self._waiting.extendleft(reversed(self._sent))
                self._sent, self._line = [], None
        if not (self._waiting or self._lost) or self._sent or not self._installation:
            return
        now_us = self._clock.mono_us()
        if self._line is None:
            if now_us < self._retry_us:
                return
            self._retry_us = now_us + _RETRY_US
            self._line = Line.to(self._path)
            if self._line is None:
                return
        self._send(self._line)

    def _send(self, line: Line) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            gap = {
                "channel": self._who,
                "what": f"{lost} entries of {self._who}",
                "why": "the recorder did not take them",
                "prior": "waiting",
                "state": "lost",
            }
            self._waiting.appendleft(self._entry(EntryKind.GAP, gap, {"by": self._who}))
        room = _BATCH_BYTES
        while self._waiting and len(self._sent) < _BATCH:
            self._waiting[0]["public"]["installation"] = self._installation
            size = _size(self._waiting[0])
            if size > _BATCH_BYTES:
                self._waiting.popleft()
                self._lost += 1
                continue
            room -= size
            if room < 0:
                break
            self._sent.append(self._waiting.popleft())
        if self._sent:
            line.send({"op": "record", "entries": self._sent})

    @property
    def waiting(self) -> int:
        """How many entries are not yet durable."""
        return len(self._waiting) + len(self._sent)

    def wait(self) -> tuple[int, bool] | None:
        """Give the descriptor to wait for, and whether also to write."""
        if self._line is None or self._line.sock is None:
            return None
        return (self._line.sock.fileno(), self._line.writing)

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()


def _size(entry: Entry) -> int:
    """Give how much room an entry takes in a message; too much where it cannot be written."""
    try:
        return len(frames.encode(entry))
    except OffswitchError:
        return frames.MAX_ANSWER


def plain_number(value: float) -> str:
    """Write a number as the ledger keeps it: it knows texts and integers only."""
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Make what the ledger takes: texts, integers, lists and objects, no odd text, nothing long."""
    return {str(_item(key))[:_LONGEST_KEY]: _item(item) for key, item in value.items()}


def _item(item: Any) -> Any:  # noqa: ANN401 - where values become entries
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, int):
        return item if abs(item) < 1 << 53 else str(item)
    if isinstance(item, float):
        return plain_number(item)
    if isinstance(item, Mapping):
        return _plain(item)
    if isinstance(item, list | tuple):
        return [_item(one) for one in item]
    text = "" if item is None else str(item)
    return text.encode("utf-8", "backslashreplace").decode()[:_LONGEST_TEXT]
