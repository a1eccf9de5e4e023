"""One real life of an incident: a real warden stops, a real ledger tells, the page adds up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, until
from needs import needs_root
from offswitch.ledger.reader import reading
from offswitch.reports.delays import Step
from offswitch.reports.incident import Incident, IncidentState, Severity
from offswitch.reports.incidents import incidents_of


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()


def incidents(installation: Installation) -> list[Incident]:
    installation.entries()
    with reading(installation.home) as reader:
        return incidents_of(reader.shown(0, reader.head.size))


def test_DRL_9_the_page_of_a_real_stop_is_there_at_once_and_adds_up(
    installation: Installation, tmp_path: Path
) -> None:
    installation.run("sleep", "60", target="shop/agent")
    before_us = time.time_ns() // 1000
    answer = installation.stop("shop/agent", reason="<b>odd</b>")
    took_us = time.time_ns() // 1000 - before_us
    assert answer["confirmed"]
    [incident] = until(lambda: incidents(installation), "the stop is recorded", 5)
    assert incident.id == f"inc-{answer['order'][:8]}"
    until(lambda: incidents(installation)[0].state is IncidentState.CONFIRMED, "it is confirmed", 5)
    [incident] = incidents(installation)
    delays = incident.delays
    known = [part.us for part in delays.segments if part.us is not None]
    assert [part.step for part in delays.segments if part.us is None] == [Step.DETECT, Step.DECIDE]
    assert sum(known) == delays.known_us == delays.total_us
    assert all(us >= -1 for us in known)
    assert delays.total_us is not None
    assert delays.total_us <= took_us + 1000, "what the caller waited for, within a millisecond"
    layers = answer["targets"][0]["layers"]
    last_ns = max(layer["commanded_ns"] for layer in layers)
    seen_ns = max(layer["effect_ns"] or 0 for layer in layers)
    assert abs((delays.of(Step.LAST_ACT) or 0) - last_ns / 1000) <= 2
    confirmed_us = (delays.of(Step.LAST_ACT) or 0) + (delays.of(Step.CONFIRMED) or 0)
    assert abs(confirmed_us - seen_ns / 1000) <= 2

    refused = installation.cli("incident", "close", incident.id, "--cause", "x", "--action", "y")
    assert refused.returncode == 3
    assert installation.reset("shop/agent")["state"] == "done"
    closed = installation.cli(
        "incident", "close", incident.id, "--cause", "it tried", "--action", "drill it", "--json"
    )
    assert json.loads(closed.stdout)["what"] == "closed", closed.stderr
    begin = time.monotonic()
    page = tmp_path / "page.html"
    done = installation.cli("incident", "report", incident.id, "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 60
    assert "&lt;b&gt;odd&lt;/b&gt;" in page.read_text()
    [incident] = incidents(installation)
    assert (incident.state, incident.severity) == (IncidentState.CLOSED, Severity.HIGH)
    kinds = {"order", "receipt", "exit", "evidence", "reset", "note", "incident"}
    assert kinds <= set(incident.counts)


def test_a_stop_that_covers_nothing_is_an_incident_that_is_not_confirmed(
    installation: Installation,
) -> None:
    installation.stop("nothing/here")
    [incident] = until(lambda: incidents(installation), "the stop is recorded", 5)
    assert incident.state is IncidentState.UNCONFIRMED
    assert (incident.severity, incident.severity_why) == (Severity.LOW, "it covered nothing")
