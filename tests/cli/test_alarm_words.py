"""An alarm in words: what it does now, and never that it asks when nobody is asked any more."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.decision import _silence

ALARM = {"rule": "r", "scope": "shop/a", "act": "advise", "harm": "h", "level": "kill"}


@pytest.mark.parametrize(
    ("more", "words", "typed"),
    [
        ({"state": "asks"}, "ALARM, it asks you: shop/a: h (rule r)", "offswitch stop shop/a"),
        ({}, "ALARM, it asks you: shop/a: h (rule r)", "offswitch stop shop/a"),
        (
            {"state": "acted", "level": "restrict"},
            "ALARM, nobody has answered: restrict is ordered, and it asks you: shop/a",
            "offswitch stop shop/a",
        ),
        ({"state": "ordered"}, "ALARM, kill is ordered: shop/a", ""),
        ({"state": "denied"}, "ALARM, people let it go on: shop/a", ""),
        ({"act": "auto", "state": "ordered"}, "ALARM, kill is ordered: shop/a", ""),
        ({"act": "auto"}, "ALARM, it stops by itself: shop/a", ""),
        ({"act": "shadow", "state": "stands"}, "alarm in shadow, it stops nothing: shop/a", ""),
        ({"state": "ordered", "level": "\x1b[2J"}, "ALARM, ", ""),
    ],
)
def test_an_alarm_says_what_it_does_now(more: dict[str, Any], words: str, typed: str) -> None:
    said = alarm_words({**ALARM, **more})
    assert said.startswith(words)
    assert "\x1b" not in said
    assert what_to_type({**ALARM, **more}) == typed


def test_DEC_3_the_list_of_questions_says_what_silence_did_and_will_do() -> None:
    row = {
        "events": [{"what": "asked", "time_us": 0}], "backup": False, "backup_us": 20_000_000,
        "act_us": 40_000_000, "due_us": 60_000_000, "stage": "asked", "unanswered": "restrict",
        "silence": "it is stopped",
    }  # fmt: skip
    begin, middle, end = _silence(row).split(", ")
    assert begin.startswith("goes to the backup at ")
    assert middle.startswith("restrict at ")
    assert end.startswith("it is stopped at ")
    events = [*row["events"], {"what": "backup", "time_us": 1}, {"what": "acted", "time_us": 2}]
    late = {**row, "events": events, "backup": True, "stage": "acted"}
    begin, middle, _end = _silence(late).split(", ")
    assert begin.startswith("went to the backup at ")
    assert middle.startswith("restrict was ordered at ")
    none = {**row, "backup_us": None, "act_us": None, "unanswered": None}
    assert _silence(none).startswith("it is stopped at ")
