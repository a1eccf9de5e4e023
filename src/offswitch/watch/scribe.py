"""What watch has found and decided, as entries; how they leave is the `outbox`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from offswitch.clock import Clock
from offswitch.config.load import Loaded
from offswitch.control.place import Place
from offswitch.ledger.outbox import Outbox, plain_number
from offswitch.model.decision import Choice, Decision
from offswitch.model.entry import EntryKind
from offswitch.model.finding import Finding
from offswitch.watch.recent import Recent

__all__ = ["Scribe"]

_RULES_AN_ENTRY = 100

_UNWELL = {"silence": "stale", "failure": "failed"}
"""What a source is called of which it is claimed that it cannot be relied on."""

_SAYS = {"announce": "announced", "early": "early sign", "budget": "budget spent"}
"""What is said of a value that has not tripped, and of a rule that trips too often."""


class Scribe(Outbox):
    """Hands entries in."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Record with the recorder of `place`."""
        super().__init__(place, clock, "watch")
        self.recent = Recent()
        """The last findings, for whoever shows them."""

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
        self.recent.add(finding)
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
            "score": plain_number(finding.score),
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
        if decision.also:
            public["also"] = [scope.text for scope in decision.also]
        self.add(EntryKind.DECISION, public, {"by": decision.by})
