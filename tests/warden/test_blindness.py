"""What nobody watches falls to its declared level, and not before its lease has run out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.model.target import Target
from offswitch.warden.door.watch_report import WatchReport

S = 1_000_000
AGENT = Target("shop/eu/agent", {"tenant": "acme"})


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    installation.start()
    yield installation
    installation.close()


def report(one: Installation, **more: object) -> None:
    one.ask({"op": "report", "part": 0, "of": 1, "signals": {}, "auto": ["shop"], **more})


def level(one: Installation, name: str = "shop/a") -> Any:  # noqa: ANN401
    return one.target(name)["level"]


def test_SR_13_a_lease_runs_out_after_three_seconds_of_silence_or_of_blindness() -> None:
    heard = WatchReport()
    heard.begin(0)
    heard.meant(["shop", ["tenant=acme", "fast"]])
    assert heard.lapsed(30 * S) == frozenset(), "watch may be starting"
    lapsed = heard.lapsed(30 * S + 1)
    assert lapsed == {"shop", "tenant=acme"}
    assert heard.blind_in(AGENT, lapsed) is True, "the fastest harm counts"
    assert heard.blind_in(Target("shop/eu/other"), lapsed) is False
    assert heard.blind_in(Target("other"), lapsed) is None
    heard.take({"auto": ["shop"], "fast": [], "blind": []}, 40 * S)
    assert heard.lapsed(43 * S) == frozenset()
    assert heard.lapsed(43 * S + 1) == {"shop"}
    for second in range(50, 54):
        heard.take({"auto": ["shop"], "fast": [], "blind": ["shop"]}, second * S)
    assert heard.lapsed(53 * S) == frozenset()
    assert heard.lapsed(53 * S + 1) == {"shop"}, "it speaks, and sees nothing"
    heard.take({"blind": []}, 54 * S)
    heard.take({"blind": ["shop"]}, 55 * S)
    assert heard.lapsed(57 * S) == frozenset(), "it saw in between"
    assert WatchReport().lapsed(99 * S) == frozenset(), "no automatic rule is about anything"
    again = WatchReport()
    again.meant(heard.to_keep())
    assert (again.auto, again.fast) == (heard.auto, heard.fast)


def test_SR_13_what_nobody_watches_falls_to_restrict_and_where_harm_is_fast_is_killed(
    one: Installation,
) -> None:
    slow = one.run("sleep", "600", target="shop/a")
    fast = one.run("sleep", "600", target="bank/a")
    other = one.run("sleep", "600", target="other")
    report(one, auto=["shop", "bank"], fast=["bank"])
    until(lambda: level(one) == "restrict", "it falls when its lease runs out")
    until(lambda: level(one, "bank/a") == "kill", "and this one is killed")
    assert level(one, "other") is None
    assert one.target("shop/a")["state"] == "restricted"
    orders = [entry for entry in one.entries() if entry["kind"] == "order"]
    assert {order["by"] for order in orders} == {"warden"}
    assert all("nobody has watched it" in order["reason"] for order in orders)
    until(lambda: one.reset("shop/a").get("state") == "done", "a person resets it")
    until(lambda: level(one) == "restrict", "nobody watches yet, so it falls again")
    for running in (slow, fast, other):
        running.close()


def test_SR_13_a_rule_that_sees_again_in_time_costs_nothing(one: Installation) -> None:
    running = one.run("sleep", "600", target="shop/a")
    end = time.monotonic() + 4.5
    blind_until = time.monotonic() + 2
    while time.monotonic() < end:
        report(one, fast=["shop"], blind=["shop"] if time.monotonic() < blind_until else [])
        time.sleep(0.2)
    assert level(one) is None
    running.close()


def test_SR_15_what_nobody_watches_only_is_noted_while_we_observe(one: Installation) -> None:
    running = one.run("sleep", "600", target="shop/a")
    one.ask({"op": "declare", "mode": "observe", "targets": []})
    report(one, fast=["shop"])

    def noted() -> list[dict[str, Any]]:
        return [
            entry
            for entry in one.entries()
            if entry["kind"] == "note" and "would have stopped shop/a" in entry["what"]
        ]

    until(noted, "it is noted")
    assert level(one) is None
    assert len(noted()) == 1
    running.close()
