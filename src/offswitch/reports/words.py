"""What a person says about an incident, as the entry that says it.

    opened, noted, graded, handed over, closed

The command line, the console and the API make the same entries by these, with the same checks:
a text has a bound, an incident of which a stop is live is not closed, and what was stopped was no
near miss. Who, and what was written, is sealed, so that it can be erased; what follows from it
(the severity, the outcome) is public. Handed to the recorder it is one `EntryKind.INCIDENT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.errors import Latched, Usage
from offswitch.model.scope import parse_scope
from offswitch.reports.incident import Incident, Outcome, Severity, What
from offswitch.reports.rooms import is_drill

__all__ = ["Word", "closed", "graded", "handed_over", "noted", "opened"]

_LONGEST = 2000
_LONGEST_NAME = 200
_MOST_ACTIONS = 50


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of kind `incident`, but for the fields that all entries have."""

    incident: str
    told: str
    """What has been done, for people."""
    public: dict[str, Any]
    sealed: dict[str, Any]


def opened(
    scope: str, severity: Severity, reason: str, nonce: str, *, by: str, channel: str
) -> Word:
    """Somebody opens one: stops of its scope that come while it is open belong to it."""
    meant = parse_scope(scope).text
    if is_drill(meant):
        raise Usage(f"{meant} is a drill's own scope", "drills have figures, not incidents")
    name = f"inc-{nonce[:8]}"
    public = {"scope": meant, "severity": severity.value}
    sealed = {"reason": _text(reason, "the reason")}
    word = _word(name, What.OPENED, ("none", "open"), channel, by)
    return _with(word, f"{name} opened for {meant}", public, sealed)


def noted(incident: Incident, text: str, *, by: str, channel: str) -> Word:
    """Somebody notes something; reports mark it as an opinion."""
    word = _word(incident.id, What.NOTED, _same(incident), channel, by)
    return _with(word, f"noted for {incident.id}", {}, {"text": _text(text, "the note")})


def graded(incident: Incident, severity: Severity, reason: str, *, by: str, channel: str) -> Word:
    """Somebody says how bad it is, in place of the rule."""
    state = incident.state.value
    change = (f"{state}, {incident.severity.value}", f"{state}, {severity.value}")
    word = _word(incident.id, What.GRADED, change, channel, by)
    sealed = {"reason": _text(reason, "the reason")}
    told = f"{incident.id} is {severity.value} now"
    return _with(word, told, {"severity": severity.value}, sealed)


def handed_over(incident: Incident, to: str, *, by: str, channel: str) -> Word:
    """Somebody else has it in hand from now on."""
    name = _text(to, "the name", _LONGEST_NAME)
    word = _word(incident.id, What.HANDED_OVER, _same(incident), channel, by)
    return _with(word, f"{incident.id} handed over to {name}", {}, {"to": name})


def closed(
    incident: Incident,
    cause: str,
    actions: Sequence[str],
    outcome: Outcome | None,
    *,
    by: str,
    channel: str,
) -> Word:
    """It is closed with its cause and what is done; `outcome` None: as it looks.

    Raises `Latched` while one of its stops is live, and `Usage` for what cannot be said of it.
    """
    if not incident.open:
        raise Usage(f"{incident.id} is closed already", f"offswitch incident show {incident.id}")
    if incident.live_count:
        raise Latched(
            f"{incident.id}: {incident.live_count} of its stops are live",
            f"offswitch reset {incident.scope} --reason TEXT",
        )
    if not 0 < len(actions) <= _MOST_ACTIONS:
        raise Usage(f"{len(actions)} actions", f"name 1 to {_MOST_ACTIONS}; 'none' is one, too")
    stopped = bool(incident.orders)
    meant = outcome or (Outcome.STOP if stopped else Outcome.NEAR_MISS)
    if stopped is (meant is Outcome.NEAR_MISS):
        what = "something was stopped" if stopped else "nothing was stopped"
        raise Usage(
            f"{incident.id} was no {meant.value}: {what}",
            "stop or false-stop where something was, near-miss where nothing was",
        )
    word = _word(incident.id, What.CLOSED, (incident.state.value, "closed"), channel, by)
    public = {"outcome": meant.value, "actions": len(actions)}
    texts = [_text(one, "an action") for one in actions]
    sealed = {"cause": _text(cause, "the cause"), "actions": texts}
    return _with(word, f"{incident.id} closed: {meant.value}", public, sealed)


def _same(incident: Incident) -> tuple[str, str]:
    return incident.state.value, incident.state.value


def _word(incident: str, what: What, change: tuple[str, str], channel: str, by: str) -> Word:
    public = {
        "channel": channel,
        "incident": incident,
        "what": what.value,
        "prior": change[0],
        "state": change[1],
    }
    return Word(incident, "", public, {"by": by})


def _with(word: Word, told: str, public: dict[str, Any], sealed: dict[str, Any]) -> Word:
    return Word(word.incident, told, word.public | public, word.sealed | sealed)


def _text(text: str, what: str, longest: int = _LONGEST) -> str:
    if not text.strip() or len(text) > longest:
        raise Usage(f"{what}: 1 to {longest} characters are wanted", "say it in fewer words")
    return text.encode("utf-8", "replace").decode()
