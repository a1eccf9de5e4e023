"""People at watch's desk, with a real warden, a real watch and the real command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from installation import until
from offswitch.control.client import Conversation
from offswitch.errors import BadConfig, NotFound, OffswitchError

if TYPE_CHECKING:
    from conftest import Shop

SPOIL = "sql UPDATE prices SET price = 9999 WHERE id < 400"
LOWER = ("--owner", "ann", "--reason", "a migration", "--measure", "ben looks on", "--for", "2h")


def desk(shop: Shop) -> str:
    return f"{shop.installation.place.control}/watch"


def asked(shop: Shop, **message: object) -> dict[str, Any]:
    with Conversation(desk(shop)) as conversation:
        return conversation.ask(dict(message))


def cli(shop: Shop, *words: str) -> dict[str, Any]:
    done = shop.installation.cli(*words, "--json")
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout), "code": done.returncode}


def open_questions(shop: Shop) -> list[dict[str, Any]]:
    return list(asked(shop, op="decisions")["decisions"])


def test_DEC_3_a_person_lets_it_go_on_and_then_silence_stops_it(shop: Shop) -> None:
    shop.make()
    shop.start_watch(
        shop.sensor(), shop.rule(shop.RATE, act="advise", name="asks", answer_within='"2s"')
    )
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    assert shop.tell(agent, SPOIL).startswith("done")
    [question] = until(lambda: open_questions(shop), "it asks")
    assert 0 < question["left_ms"] <= 2000
    assert question["silence"] == "it is stopped"
    name = question["decision"]
    said = asked(shop, op="deny", decision=name[:12], reason="a sale", for_us=1_000_000)
    assert (said["choice"], said["open"]) == ("nothing", False)
    with pytest.raises(NotFound):
        asked(shop, op="deny", decision=name, reason="again")
    [once_more] = until(lambda: open_questions(shop), "when that is over it asks again")
    assert once_more["decision"] != name
    assert shop.level() is None
    stopped = shop.wait_stopped(agent)
    assert stopped["level"] == "kill"
    decisions = until(
        lambda: [one for one in shop.entries("decision") if one["choice"] == "stop"], "recorded", 5
    )
    assert "nobody answered within 2s, and silence stops" in decisions[0]["why"]
    [said] = [one for one in shop.entries("decision") if one["by"] == "uid:0"]
    assert "deny by user 0: a sale" in said["why"]


def test_HMI_6_a_bypassed_rule_asks_stands_in_status_and_outlives_watch(shop: Shop) -> None:
    shop.make()
    tables = (shop.sensor(), shop.rule(shop.RATE))
    shop.start_watch(*tables)
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    done = cli(shop, "rule", "bypass", "mass-write", *LOWER)
    assert (done["code"], done["pending"], done["by"]) == (0, False, "uid:0")
    assert done["until_us"] - done["since_us"] == 2 * 3_600_000_000
    banner = until(
        lambda: [n for n in shop.installation.status()["notes"] if n.startswith("BYPASS")], "banner"
    )
    assert "rule mass-write: it asks" in banner[0]
    assert "by ann: a migration; instead: ben looks on" in banner[0]
    until(lambda: Path(shop.installation.home, "watch/lowered.json").exists(), "it is kept")
    assert shop.watch is not None
    shop.watch.terminate()
    shop.watch.wait()
    shop.start_watch(*tables)
    until(lambda: _rules(shop), "watch is there again")
    [rule] = _rules(shop)
    assert (rule["act"], rule["acts_now"]) == ("auto", "advise")
    until(shop.seen, "the data set is watched")
    time.sleep(0.3)
    assert shop.tell(agent, SPOIL).startswith("done")
    [question] = until(lambda: open_questions(shop), "it asks instead of stopping")
    assert shop.tell(agent, "sql SELECT 1").startswith("done"), "the agent lives"
    said = shop.installation.cli("decision", "approve", question["decision"][:12])
    assert "stop ordered: shop/agent" in said.stdout
    assert shop.wait_stopped(agent)["level"] == "kill"
    [entry] = until(lambda: shop.entries("bypass"), "it is recorded", 5)
    assert (entry["prior"], entry["measure"]) == ("as declared", "ben looks on")
    [live] = shop.installation.status()["latched"]
    assert "approve by user 0" in live["reason"]


def _rules(shop: Shop) -> list[dict[str, Any]]:
    try:
        return list(asked(shop, op="rules")["rules"])
    except OffswitchError:
        return []


def test_SR_3_another_configuration_is_applied_by_its_owner_and_alarms_go_on(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE, act="shadow"))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    assert shop.tell(agent, SPOIL).startswith("done")
    until(lambda: asked(shop, op="alarms")["alarms"], "its alarm stands")
    other = shop.installation.work / "other.toml"
    other.write_text("[[rule]]\nname = 7\n")
    with pytest.raises(BadConfig):
        asked(shop, op="apply", text=other.read_text(), path="x")
    text = shop.sensor() + shop.rule(shop.RATE) + shop.rule(shop.DELETED, name="more")
    other.write_text(text)
    other.chmod(0o600)
    dry = asked(shop, op="apply", dry_run=True, text=text, path="x")
    assert [one["what"] for one in dry["changes"]] == [
        "rule mass-write: act auto, was shadow", "rule more: new, auto",
    ]  # fmt: skip
    assert len(_rules(shop)) == 1
    done = cli(shop, "config", "apply", str(other))
    assert (done["code"], done["applied"], done["targets"]) == (0, True, "")
    assert shop.config.read_text() == text
    assert shop.wait_stopped(agent)["level"] == "kill", "its alarm stood, and now it may stop"
    entry = until(
        lambda: [one for one in shop.entries("config") if one.get("sha256") == done["sha256"]],
        "recorded", 5,
    )[0]  # fmt: skip
    assert entry["changes"] == ["rule mass-write: act auto, was shadow", "rule more: new, auto"]
    less = shop.sensor() + shop.rule(shop.RATE.replace("above = 50", "above = 90"))
    weaker = asked(shop, op="apply", text=less, path="x")["changes"]
    assert {one["what"] for one in weaker if one["weaker"]} == {
        "rule more (auto): removed", "rule mass-write: channel 1: above 90.0, was 50.0",
    }  # fmt: skip
    assert _rules(shop)[0]["channels"][0]["detector"] == "rate(above=90.0)"
    first, more = cli(shop, "rule", "list")["rules"]
    assert first["now"]["tally"]["stops"] >= 1
    assert more["now"] is None, "it stands in the file, and is not in force"
    rows = {row["sensor"]: row for row in asked(shop, op="sensors")["sensors"]}
    assert rows["orders-db"]["state"] == "ok"
    seen = cli(shop, "sensor", "probe", "orders-db")
    values = {row["series"]: row["value"] for row in seen["samples"]}
    assert values['orders-db.rows{table="prices"}'] == 1000
