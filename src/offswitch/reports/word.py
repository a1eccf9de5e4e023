"""What a person says about an incident, as the entry that it becomes, or why it cannot be said.

Pure: the command line and the station make their words here, and each hands them in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from offswitch.errors import Latched, Usage
from offswitch.model.scope import parse_scope
from offswitch.reports.incident import Incident, Outcome, Severity, What
from offswitch.reports.rooms import is_drill

__all__ = ["LONGEST", "Word", "closed", "graded", "handed_over", "noted", "opened"]

LONGEST = 2000
"""Characters of one text."""
_MOST_ACTIONS = 50


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of kind `incident`, but for its times and who says it."""

    incident: str
    what: What
    prior: str
    state: str
    public: Mapping[str, Any] = field(default_factory=dict)
    sealed: Mapping[str, Any] = field(default_factory=dict)
    """A person's own words."""

    @property
    def told(self) -> str:
        """Say what has been done."""
        match self.what:
            case What.OPENED:
                return f"{self.incident} opened for {self.public['scope']}"
            case What.NOTED:
                return f"noted for {self.incident}"
            case What.GRADED:
                return f"{self.incident} is {self.public['severity']} now"
            case What.HANDED_OVER:
                return f"{self.incident} handed over to {self.sealed['to']}"
            case What.CLOSED:
                return f"{self.incident} closed: {self.public['outcome']}"
            case _:
                assert_never(self.what)


def opened(nonce: str, scope: str, severity: Severity, reason: str) -> Word:
    """Open one by hand: stops of its scope that come while it is open belong to it."""
    meant = parse_scope(scope).text
    if is_drill(meant):
        raise Usage(f"{meant} is a drill's own scope", "drills have figures, not incidents")
    public = {"scope": meant, "severity": severity.value}
    sealed = {"reason": _text(reason, "reason")}
    return Word(f"inc-{nonce[:8]}", What.OPENED, "none", "open", public, sealed)


def noted(incident: Incident, text: str) -> Word:
    """Note something; in reports it is marked as an opinion."""
    state = incident.state.value
    return Word(incident.id, What.NOTED, state, state, {}, {"text": _text(text, "text")})


def graded(incident: Incident, severity: Severity, reason: str) -> Word:
    """Say how bad it is, in place of the rule; a new trip on probation still raises it."""
    before = f"{incident.state.value}, {incident.severity.value}"
    after = f"{incident.state.value}, {severity.value}"
    sealed = {"reason": _text(reason, "reason")}
    return Word(incident.id, What.GRADED, before, after, {"severity": severity.value}, sealed)


def handed_over(incident: Incident, to: str) -> Word:
    """Hand it over to somebody, by name."""
    state = incident.state.value
    return Word(incident.id, What.HANDED_OVER, state, state, {}, {"to": _text(to, "to")})


def closed(
    incident: Incident, cause: str, actions: Sequence[str], outcome: Outcome | None = None
) -> Word:
    """Close it with its cause and what is done about it; refused while something is latched."""
    if not incident.open:
        raise Usage(f"{incident.id} is closed already", f"offswitch incident show {incident.id}")
    if incident.live_count:
        raise Latched(
            f"{incident.id}: {incident.live_count} of its stops are live",
            f"offswitch reset {incident.scope} --reason TEXT",
        )
    if not 0 < len(actions) <= _MOST_ACTIONS:
        raise Usage(f"{len(actions)} actions", f"1 to {_MOST_ACTIONS}: what is done about it")
    meant = outcome or (Outcome.NEAR_MISS if not incident.orders else Outcome.STOP)
    if bool(incident.orders) is (meant is Outcome.NEAR_MISS):
        stopped = "something was stopped" if incident.orders else "nothing was stopped"
        raise Usage(
            f"{incident.id} was no {meant.value}: {stopped}",
            "its outcome is stop or false-stop where something was, near-miss where nothing was",
        )
    sealed = {"cause": _text(cause, "cause"), "actions": [_text(one, "action") for one in actions]}
    public = {"outcome": meant.value, "actions": len(actions)}
    return Word(incident.id, What.CLOSED, incident.state.value, "closed", public, sealed)


def _text(text: str, name: str) -> str:
    if not text.strip() or len(text) > LONGEST:
        raise Usage(f"{name}: 1 to {LONGEST} characters are wanted", "say it shorter, or twice")
    return text.encode("utf-8", "replace").decode()
