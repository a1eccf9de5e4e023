"""The tables `[[notify]]`, `[escalation]`, `[[outside]]`: who is told, whose orders are read.

    [[notify]]              one way to tell somebody: webhook, pagerduty, slack or apprise
    [escalation]            who is called when nobody answers, in which order, and who leads
    [[outside]]             who outside may hand in orders, by which keys, about what

A secret stands in a file that only its owner may read, and is named here by that file's path.
What leaves this machine goes by TLS, unless it stays on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from offswitch.config.secret import SecretFile
from offswitch.config.section import Duration, Name, Section, Text
from offswitch.config.url import Url
from offswitch.errors import Usage
from offswitch.model.scope import parse_scope

__all__ = [
    "KINDS",
    "AnyNotify",
    "Apprise",
    "Escalation",
    "Event",
    "NotifySection",
    "Outside",
    "PagerDuty",
    "Slack",
    "Step",
    "Webhook",
]

_MINUTE_US = 60_000_000


class Event(StrEnum):
    """What people are told of. Closed: a configuration names these and no others."""

    STOP = "stop"
    """Something was stopped: commanded, then confirmed; and it was reset."""
    NOT_CONFIRMED = "not-confirmed"
    """A stop was not seen to work (VER-4)."""
    ALARM = "alarm"
    """A rule sees something, and does not stop by itself."""
    QUESTION = "question"
    """A rule asks whether it may stop (DEC-3)."""
    BLIND = "blind"
    """Nobody sees what an automatic rule is about (SR-13)."""
    RESET = "reset"
    """A reset waits for a second person, or is done."""
    RE_TRIP = "re-trip"
    """What was reset was stopped again while it is on probation."""
    DRILL = "drill"
    """A drill has failed."""
    READINESS = "readiness"
    """A layer could act and cannot be sure to any more, or is well again (REL-7)."""
    BYPASS = "bypass"
    """What was lowered comes back soon."""
    TICKET = "ticket"
    """An order from outside came in, waits, or is overdue."""


def _scope(value: str) -> str:
    try:
        return parse_scope(value).text
    except Usage as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _event(value: object) -> Event:
    """Take a text for an event."""
    known = {event.value: event for event in Event}
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"no event {str(value)[:40]!r}; there are: {', '.join(known)}")
    return known[value]


ScopeText = Annotated[str, AfterValidator(_scope)]
Events = list[Annotated[Event, BeforeValidator(_event)]]


class NotifySection(Section):
    """What all ways to tell somebody have in common."""

    name: Name
    about: ScopeText = "/"
    """It is told of this scope, what is below, and what lies over it."""
    events: Events = Field(default_factory=list)
    """Of which events; all of them unless given. An escalation reaches it all the same."""
    person: Text | None = None
    """Whose it is: they are told here, too, when a stop of theirs is cleared."""

    def secret_files(self) -> dict[str, str]:
        """Give the files of its secrets, by the key that names each."""
        keys = [key for key in type(self).model_fields if key.endswith("_file")]
        return {key: str(path) for key in keys if (path := getattr(self, key)) is not None}


class Webhook(NotifySection):
    """A signed message to a server of yours (Standard Webhooks)."""

    kind: Literal["webhook"]
    url: Url
    secret_file: SecretFile
    """What it is signed with, by HMAC-SHA-256."""


class PagerDuty(NotifySection):
    """PagerDuty, by its Events API v2."""

    kind: Literal["pagerduty"]
    routing_key_file: SecretFile
    """The integration's key."""
    webhook_secret_file: SecretFile | None = None
    """With it, what is acknowledged there is acknowledged here: a webhook v3 to
    `/hooks/pagerduty`, signed with this."""
    url: Url = "https://events.pagerduty.com/v2/enqueue"


class Slack(NotifySection):
    """Slack: a thread for each incident, `/offswitch`, buttons."""

    kind: Literal["slack"]
    token_file: SecretFile
    """A bot's token, for chat.postMessage and chat.update."""
    channel: Annotated[str, Field(pattern=r"^[A-Za-z0-9#@_-]{1,80}$")]
    signing_secret_file: SecretFile | None = None
    """With it, people may stop and acknowledge there: requests to `/hooks/slack`."""
    people: dict[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,40}$")], Name] = Field(
        default_factory=dict
    )
    """Who is who: a Slack user's id to the name of a person here. Nobody else may do anything."""
    url: Url = "https://slack.com/api"


class Apprise(NotifySection):
    """Any of the services that apprise knows (extra `notify`)."""

    kind: Literal["apprise"]
    url_file: SecretFile
    """Apprise URLs, one a line: they hold the service's secrets."""


KINDS: Mapping[str, type[NotifySection]] = {
    "webhook": Webhook,
    "pagerduty": PagerDuty,
    "slack": Slack,
    "apprise": Apprise,
}
AnyNotify = Annotated[Webhook | PagerDuty | Slack | Apprise, Field(discriminator="kind")]


class Step(Section):
    """One in the chain."""

    person: Text
    """Who is called."""
    sinks: Annotated[list[Name], Field(min_length=1)]
    """By which `[[notify]]`."""
    within: Duration = 5 * _MINUTE_US
    """How long they may take to acknowledge; then the next is called."""


class Escalation(Section):
    """Who is called, in which order, when nobody acknowledges."""

    lead: Text = ""
    """Who leads where nobody has taken over; named in every page."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    """How often the chain is gone through."""
    step: list[Step] = Field(default_factory=list)


class Outside(Section):
    """Somebody outside who may hand in orders (DEC-8)."""

    name: Name
    """A customer, regulator or insurer."""
    keys: Annotated[list[Text], Field(min_length=1, max_length=20)]
    """Lines of SSH public keys (Ed25519)."""
    scopes: Annotated[list[ScopeText], Field(min_length=1, max_length=256)]
    """What they may ask to be stopped: these, and what is below."""
