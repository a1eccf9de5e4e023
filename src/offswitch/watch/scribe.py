"""What watch has found and decided, on its way to the recorder. Never in the way of a stop.

Entries wait in a bounded queue and go out in batches when the loop has nothing better to
do; the next batch goes when the one before was committed. A recorder that is away, hung or
slow costs nothing but room: beyond 10,000 entries the oldest are dropped, counted, and the
count is the first thing that is recorded afterwards, as a gap.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from offswitch.clock import Clock, boot_id
from offswitch.control.place import Place
from offswitch.model.decision import Choice, Decision
from offswitch.model.entry import VERSION, EntryKind
from offswitch.model.finding import Finding
from offswitch.watch.warden_link import Line

__all__ = ["Scribe"]

_MOST = 10_000
_BATCH = 100
_RETRY_US = 500_000
_LONGEST_TEXT = 2000

Entry = dict[str, dict[str, Any]]


class Scribe:
    """Hands entries in."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Record with the recorder of `place`."""
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

    def finding(self, finding: Finding) -> None:
        """Have a finding recorded."""
        public = {
            "target": finding.target,
            "detector": finding.detector,
            "series": finding.series,
            "what": finding.what,
            "found_us": finding.time_us,
            "score": _number(finding.score),
        }
        # What the target wrote may be anybody's data: sealed, so that it can be erased.
        self.add(EntryKind.FINDING, public, {"evidence": dict(finding.evidence)})

    def decision(self, decision: Decision, *, prior: str, state: str, nonce: str = "") -> None:
        """Have a decision recorded, "do nothing" included, with what was known."""
        public = {
            "channel": "rule",
            "scope": decision.scope.text,
            "choice": decision.choice.value,
            "level": decision.level.label if decision.level is not None else "",
            "why": decision.why,
            "decided_us": decision.time_us,
            "prior": prior,
            "state": state,
            "known": [f"{key}: {text}" for key, text in decision.known.items()],
            "findings": [finding.what for finding in decision.findings],
        }
        if decision.choice is Choice.STOP:
            public["nonce"] = nonce
        self.add(EntryKind.DECISION, public, {"by": decision.by})

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
        if not self._waiting or self._sent or not self._installation:
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
            gap = {"what": f"{lost} entries of watch", "why": "the recorder did not take them"}
            self._waiting.appendleft(self._entry(EntryKind.GAP, gap, {}))
        count = min(_BATCH, len(self._waiting))
        self._sent = [self._waiting.popleft() for _ in range(count)]
        for entry in self._sent:
            entry["public"]["installation"] = self._installation
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


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Make what the ledger takes: texts, integers, lists and objects, no odd text, nothing long."""
    return {str(key): _item(item) for key, item in value.items()}


def _item(item: Any) -> Any:  # noqa: ANN401 - where values become entries
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, int):
        return item if abs(item) < 1 << 53 else str(item)
    if isinstance(item, float):
        return _number(item)
    if isinstance(item, Mapping):
        return _plain(item)
    if isinstance(item, list | tuple):
        return [_item(one) for one in item]
    text = "" if item is None else str(item)
    return text.encode("utf-8", "backslashreplace").decode()[:_LONGEST_TEXT]
