"""What telling people needs of root before rights are given away: secrets, certificates, code.

Which way it fails: a way that cannot be prepared is left out, and that is said at the start and
recorded. The station starts all the same, and the other ways are used.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from offswitch.clock import Clock
from offswitch.config.declared import Config
from offswitch.config.notify import Apprise, NotifySection, PagerDuty, Slack, Webhook
from offswitch.config.secret_file import read_secret
from offswitch.errors import Internal, OffswitchError
from offswitch.station.notify.sinks.apprise import AppriseSink, apprise_of
from offswitch.station.notify.sinks.contract import Sink
from offswitch.station.notify.sinks.http import Caller
from offswitch.station.notify.sinks.pagerduty import PagerDutySink
from offswitch.station.notify.sinks.slack import SlackSink
from offswitch.station.notify.sinks.webhook import WebhookSink

__all__ = ["Addresses", "Incoming", "Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where others are."""

    console: str
    """What links lead to."""
    watch: str
    """The socket of watch's desk."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One sender whose requests are believed, if they are signed."""

    sink: str
    secret: str = field(repr=False)
    people: Mapping[str, str] = field(default_factory=dict)
    """A Slack user's id → who that is here."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """All ways that can be used."""

    sinks: tuple[Sink, ...] = field(default=(), repr=False)
    slack: tuple[Incoming, ...] = ()
    pagerduty: tuple[Incoming, ...] = ()
    problems: tuple[str, ...] = ()
    """A sentence for each that cannot be used."""


def prepare(config: Config, clock: Clock) -> Prepared:
    """Read the secrets, and make every way that can be made."""
    sinks: list[Sink] = []
    slack: list[Incoming] = []
    pagerduty: list[Incoming] = []
    problems: list[str] = []
    tls = ssl.create_default_context() if config.notify else None
    for section in config.notify:
        try:
            secrets = {key: read_secret(path) for key, path in section.secret_files().items()}
            sinks.append(_sink(section, secrets, tls, clock))
        except OffswitchError as error:
            problems.append(f"notify {section.name} cannot be used: {error.message}")
            continue
        except Exception as error:  # noqa: BLE001 - a third party's code is loaded: this way is out
            problems.append(f"notify {section.name} cannot be used: {type(error).__name__}")
            continue
        if isinstance(section, Slack) and "signing_secret_file" in secrets:
            known = dict(section.people)
            slack.append(Incoming(section.name, secrets["signing_secret_file"], known))
        if isinstance(section, PagerDuty) and "webhook_secret_file" in secrets:
            pagerduty.append(Incoming(section.name, secrets["webhook_secret_file"]))
    return Prepared(tuple(sinks), tuple(slack), tuple(pagerduty), tuple(problems))


def _sink(
    section: NotifySection,
    secrets: Mapping[str, str],
    tls: Any,  # noqa: ANN401 - never None where there is a section
    clock: Clock,
) -> Sink:
    match section:
        case Webhook():
            secret = secrets["secret_file"]
            return WebhookSink(section.name, section.url, secret, Caller(tls), clock)
        case PagerDuty():
            key = secrets["routing_key_file"]
            return PagerDutySink(section.name, section.url, key, Caller(tls))
        case Slack():
            return SlackSink(
                section.name,
                section.url,
                secrets["token_file"],
                section.channel,
                Caller(tls),
                answers="signing_secret_file" in secrets,
            )
        case Apprise():
            return AppriseSink(section.name, apprise_of(secrets["url_file"]))
        case _:
            raise Internal(f"no way to tell anybody by {section.name}")
