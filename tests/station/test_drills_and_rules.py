"""Drills and rules in the console: what was rehearsed, what may stop by itself, what is lowered."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path

import pytest

from house import House, house
from installation import until
from offswitch.decide.authority import add_person
from offswitch.decide.totp import code_at

pytestmark = pytest.mark.usefixtures("as_root")


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


RULE = """
[[target]]
name = "shop/agent"

[[sensor]]
name = "proc"
target = "shop/agent"
kind = "processes"

[[rule]]
name = "alone"
target = "shop/agent"
harm = "it is to be one process"
time_to_harm = "5s"
false_stop_cost = "none"
detectors = [{ kind = "threshold", series = "proc.count", above = 90 }]
act = "auto"
"""


def test_HMI_6_and_SEC_5_two_people_lower_a_rule_in_the_console_and_one_puts_it_back(
    tmp_path: Path,
) -> None:
    people = {name: ["operator"] for name in ("ada", "ben", "oz")}
    with house(tmp_path, RULE, people) as own:
        for name in ("ada", "ben"):
            totp = base64.b32encode(secret(name)).decode()
            add_person(own.installation.home, name, uid=None, keys=[], totp=totp)
        own.installation.ask({"op": "people"})
        own.watch()
        ada, ben, oz = (own.person(name) for name in ("ada", "ben", "oz"))
        until(lambda: "alone" in ada.get("/rules").text, "the rule is in force")
        until(lambda: "Ask for it" in ada.get("/rules").text, "the station knows ada's role")
        wanted = {"what": "bypass", "reason": "repairs", "measure": "I watch it", "minutes": "30"}
        assert oz.post("/rules/alone/lower", data=wanted).status_code == 403
        asked = until(
            lambda: [r for r in [ada.post("/rules/alone/lower", data=wanted)] if r.is_redirect],
            "watch knows whom the warden knows",
        )[0]
        page = asked.headers["location"]
        for client, name in ((ada, "ada"), (ben, "ben")):
            assert "BYPASS" not in oz.get("/rules").text, "nobody alone lowers anything"
            proof = {"what": "bypass", "proof": code_at(secret(name), int(time.time()) // 30)}
            got = client.post(page, data=proof)
            assert got.is_redirect, got.text
        assert "BYPASS: rule alone: it asks" in oz.get("/rules").text
        assert oz.post("/rules/alone/restore", data={"what": "bypass"}).is_redirect
        assert "BYPASS" not in oz.get("/rules").text


def secret(name: str) -> bytes:
    return hashlib.sha256(f"of {name}".encode()).digest()[:20]
