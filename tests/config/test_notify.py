"""Who is told, and whose orders are read: what the configuration takes, and how it says no."""

from __future__ import annotations

import pytest

from offswitch.config.declared import Config
from offswitch.config.load import Kinds, parse
from offswitch.config.notify import Event, PagerDuty, Slack
from offswitch.errors import BadConfig

GOOD = """\
[[notify]]
name = "pager"
kind = "pagerduty"
routing_key_file = "/etc/offswitch/pagerduty.key"
about = "shop"
events = ["stop", "not-confirmed"]

[[notify]]
name = "room"
kind = "slack"
token_file = "/etc/offswitch/slack.token"
channel = "C0123456"
people = { U123 = "ada" }

[[notify]]
name = "ours"
kind = "webhook"
url = "https://hooks.example.org/offswitch"
secret_file = "/etc/offswitch/hook.key"
person = "ben"

[[notify]]
name = "mail"
kind = "apprise"
url_file = "/etc/offswitch/apprise"

[escalation]
lead = "ada"
[[escalation.step]]
person = "ada"
sinks = ["pager", "room"]
within = "5m"
[[escalation.step]]
person = "ben"
sinks = ["mail"]

[[outside]]
name = "acme"
keys = ["ssh-ed25519 AAAA acme"]
scopes = ["tenant=acme"]
"""


def read(text: str) -> Config:
    return parse(text.encode(), "x.toml", Kinds({}, {}))


def test_it_reads_what_the_page_shows() -> None:
    config = read(GOOD)
    pager, room = config.notify[:2]
    assert isinstance(pager, PagerDuty)
    assert pager.events == [Event.STOP, Event.NOT_CONFIRMED]
    assert pager.secret_files() == {"routing_key_file": "/etc/offswitch/pagerduty.key"}
    assert isinstance(room, Slack)
    assert room.people == {"U123": "ada"}
    assert [step.within for step in config.escalation.step] == [300_000_000, 300_000_000]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('kind = "pagerduty"', 'kind = "pagerdudy"', 3, "did you mean 'pagerduty'?"),
        ("routing_key_file", "routing_key", 4, "did you mean 'routing_key_file'?"),
        ('"not-confirmed"]', '"no-such"]', 6, "there are: stop, not-confirmed"),
        ("https://hooks", "http://hooks", 18, "unless it stays on this machine"),
        ("https://hooks", "https://me:pw@hooks", 18, "a secret stands in a file"),
        ('name = "room"', 'name = "pager"', 9, "two of the name"),
        ('["mail"]', '["mial"]', 35, "did you mean 'mail'?"),
        ('scopes = ["tenant=acme"]', 'scopes = ["a//b"]', 40, "is not a target"),
        ('"/etc/offswitch/hook.key"', '"hook.key"', 19, "a whole path"),
        ('U123 = "ada"', '"u 1" = "ada"', 13, "u 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(BadConfig) as refused:
        read(GOOD.replace(old, new, 1))
    assert said in refused.value.message, refused.value.message
    assert f"x.toml:{line}: " in refused.value.message, refused.value.message
