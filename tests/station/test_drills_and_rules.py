"""Drills and rules in the console: what was rehearsed, what may stop by itself, what is lowered."""

from __future__ import annotations

import pytest

from house import House
from installation import until

pytestmark = pytest.mark.skipif("os.geteuid() != 0", reason="needs root")


def test_DRL_1_and_REL_1_a_drill_from_the_page_is_counted_from_the_record(home: House) -> None:
    client = home.client()
    page = client.post("/drills").text
    assert "passed" in page, page[-3000:]
    said = until(
        lambda: [s for s in [client.get("/api/v1/drills").json()] if s["figures"]["counted"] == 1],
        "the record has it",
    )[0]
    rows = said["figures"]["layers"]
    process = next(row for row in rows if row["layer"] == "process" and row["n"])
    assert (process["n"], process["k"]) == (1, 0)
    assert process["bound"] == pytest.approx(0.9)
    assert "not a SIL claim" in client.get("/drills").text
    assert client.get("/api/v1/status").json()["latched"] == [], "a drill leaves nothing latched"


def test_without_watch_the_page_says_that_nothing_is_known_of_rules(home: House) -> None:
    client = home.client()
    page = client.get("/rules")
    assert page.status_code == 200
    assert "watch does not answer" in page.text
    assert client.get("/api/v1/rules").json()["kind"] == "unreachable"
