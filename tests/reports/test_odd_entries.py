"""Entries that nobody sane would write: incidents, pages and figures come of them all the same."""

from __future__ import annotations

import json
import random
from typing import Any

from offswitch.cli.incident_words import figures_lines, in_full, list_lines
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.reports.after_action import Head, report_of
from offswitch.reports.figures import figures
from offswitch.reports.incidents import incidents_of
from offswitch.reports.paper import Paper
from offswitch.reports.support import support_of_incident
from scale import runs

KINDS = [*(kind.value for kind in EntryKind), "unheard of", 3, None]
VALUES: list[Any] = [
    None, 0, -5, 2**53 - 1, -(2**53), "", "shop", "shop/a", "/", ".drill/x", "tenant=a", "//",
    "a=b=c", "inc-00c0ffee", "kill", "freeze", "trip", "early sign", "stop", "nothing", "ask",
    "would-stop", "opened", "noted", "closed", "graded", "handed over", "yes", "done", "merged",
    "false-stop", "high", "\x1b[2J<b>", "x" * 3000, [], ["d1", "shop"], [1, None, ["x"]], {},
    {"shop/a": "running"}, {"a": {"b": [1]}}, "d1", "d2", "process", "guard",
]  # fmt: skip
PUBLIC = [
    "time_us", "mono_us", "boot", "channel", "scope", "level", "digest", "order", "target",
    "layer", "state", "prior", "what", "why", "choice", "known", "findings", "options",
    "given_us", "accepted_mono_us", "decided_us", "found_us", "commanded_ns", "effect_ns",
    "confirmed", "clears", "incident", "severity", "outcome", "times", "series", "instead_of",
    "targets", "kept", "oversized",
]  # fmt: skip
SEALED = ["by", "reason", "detail", "text", "cause", "actions", "to", "evidence", "what", "public"]


def odd(seed: int) -> list[ShownEntry]:
    rng = random.Random(seed)
    made = []
    for index in range(rng.randrange(1, 60)):
        public = {key: rng.choice(VALUES) for key in rng.sample(PUBLIC, rng.randrange(30))}
        public["kind"] = rng.choice(KINDS)
        if rng.random() < 0.7:  # enough that fits together
            public |= {
                "scope": rng.choice(["shop", "shop/a", "/", "t=x"]),
                "target": "shop/a",
                "digest": rng.choice(["d1", "d2", "d3"]),
                "order": rng.choice(["d1", "d2"]),
                "time_us": 10**15 + index * rng.randrange(10**9),
                "mono_us": index * 1000,
                "prior": {"shop/a": "running"},
                "incident": "inc-00c0ffee",
            }
        sealed = {key: rng.choice(VALUES) for key in rng.sample(SEALED, rng.randrange(8))}
        made.append(ShownEntry(index, public, sealed, intact=rng.random() < 0.9))
    return made


def test_whatever_was_entered_there_is_a_list_a_page_and_a_sum_that_is_right() -> None:
    paper, seen = Paper(), 0
    for seed in range(runs(800)):
        entries = odd(seed)
        known = {entry.index: entry for entry in entries}
        found = incidents_of(entries)
        shown = list_lines(found, found) + figures_lines(figures(found, len(entries)))
        for incident in found:
            delays = incident.delays
            if delays.total_us is not None:
                assert delays.known_us + delays.unknown_us == delays.total_us, seed
            report = report_of(incident, known, Head("o", len(entries), "ab"))
            page = paper.html(report)
            shown += page + in_full(incident)
            assert "<b>" not in page, seed
            json.dumps([incident.as_dict(), report.as_dict()])
            json.dumps(support_of_incident(incident, known).as_dict())
        assert "\x1b" not in shown, seed
        seen += len(found)
    assert seen > runs(800) // 2, "most of them tell of something"
