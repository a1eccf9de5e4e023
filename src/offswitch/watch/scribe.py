"""What watch has found and decided, on its way to the recorder. Never in the way of a stop.

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
from collections.abc import Mapping, Sequence
from typing import Any

from offswitch.clock import Clock, boot_id
from offswitch.config.load import Loaded
from offswitch.control import frames
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.decision import Choice, Decision
from offswitch.model.entry import VERSION, EntryKind
from offswitch.model.finding import Finding
from offswitch.watch.warden_link import Line

__all__ = ["Scribe"]

_MOST = 10_000
_BATCH = 100
_BATCH_BYTES = 256 << 10
_RETRY_US = 500_000
_RULES_AN_ENTRY = 100
_LONGEST_TEXT = 2000
_LONGEST_KEY = 200

_UNWELL = {"silence": "stale", "failure": "failed"}
"""What a source is called of which it is claimed that it cannot be relied on."""

_SAYS = {"announce": "announced", "early": "early sign", "budget": "budget spent"}
"""What is said of a value that has not tripped, and of a rule that trips too often."""

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

    def tell(
        self,
        kind: EntryKind,
        what: str,
        *,
        why: object,
        prior: str,
        state: str,
        by: str = "watch",
        channel: str = "watch",
        **more: object,
    ) -> None:
        """Have recorded what has become of watch itself, its eyes or its presses."""
        public = {"channel": channel, "what": what, "why": why, "prior": prior, "state": state}
        self.add(kind, {**public, **more}, {"by": by})

    def rules(self, loaded: Loaded, rules: Sequence[Mapping[str, object]]) -> None:
        """Have recorded which rules are in force; many in several entries."""
        count = len(rules)
        for at in range(0, max(count, 1), _RULES_AN_ENTRY):
            self.tell(
                EntryKind.CONFIG,
                "rules in force",
                why="read at the start of watch",
                prior="none in force",
                state=f"{count} in force" + (f", from number {at + 1} on" if at else ""),
                path=loaded.path,
                sha256=loaded.sha256,
                degraded=list(loaded.degraded),
                rules=rules[at : at + _RULES_AN_ENTRY],
            )

    def finding(self, finding: Finding) -> None:
        """Have a finding recorded."""
        unwell = _UNWELL.get(finding.detector)
        public = {
            "channel": f"sensor:{finding.series.partition('.')[0]}",
            "why": unwell or f"{finding.detector} on {finding.series}",
            "prior": "ok",
            "state": unwell or _SAYS.get(finding.detector, "trip"),
            "target": finding.target,
            "detector": finding.detector,
            "series": finding.series,
            "what": finding.what,
            "found_us": finding.time_us,
            "score": _number(finding.score),
        }
        # What the target wrote may be anybody's data: sealed, so that it can be erased.
        sealed = {"by": "watch", "evidence": dict(finding.evidence)}
        self.add(EntryKind.FINDING, public, sealed)

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
            "options": [f"{key}: {text}" for key, text in decision.options.items()],
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
                "channel": "watch",
                "what": f"{lost} entries of watch",
                "why": "the recorder did not take them",
                "prior": "waiting",
                "state": "lost",
            }
            self._waiting.appendleft(self._entry(EntryKind.GAP, gap, {"by": "watch"}))
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


def _number(value: float) -> str:
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
        return _number(item)
    if isinstance(item, Mapping):
        return _plain(item)
    if isinstance(item, list | tuple):
        return [_item(one) for one in item]
    text = "" if item is None else str(item)
    return text.encode("utf-8", "backslashreplace").decode()[:_LONGEST_TEXT]
