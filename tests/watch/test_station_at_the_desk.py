"""The station at watch's desk, with a real warden that checks real proofs, and a real watch."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from authenticator import Authenticator
from installation import until
from offswitch.control.ids import STATION
from offswitch.decide.authority import add_person
from offswitch.decide.roles import Role
from offswitch.errors import OffswitchError
from voice import Voice

if TYPE_CHECKING:
    from conftest import Shop

S = 1_000_000
SPOIL = "sql UPDATE prices SET price = 9999 WHERE id < 400"
LOWER = {"rule": "mass-write", "owner": "ada", "reason": "a migration", "measure": "bob looks on",
         "for_us": 3600 * S, "by": "person:ada"}  # fmt: skip


def station(shop: Shop) -> Voice:
    """Speak as the station does: it is in the group to which the folder of the sockets is open."""
    control = shop.installation.place.control
    shop.installation.gid = os.stat(control).st_gid
    return Voice(shop.installation, STATION, f"{control}/watch")


def answers(voice: Voice) -> bool:
    try:
        return "rules" in voice.ask({"op": "rules"})
    except OffswitchError:
        return False


def people(shop: Shop) -> dict[str, Authenticator]:
    keys = {name: Authenticator() for name in ("ada", "bob", "olga")}
    for name, key in keys.items():
        roles = [Role.OPERATOR if name == "olga" else Role.SAFETY]
        add_person(shop.installation.home, name, uid=None, keys=[], passkeys=[key.raw], roles=roles)
    return keys


def test_SEC_5_over_the_station_two_safety_people_whom_the_warden_has_proved_bypass_a_rule(
    shop: Shop,
) -> None:
    keys = people(shop)
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE))
    voice = station(shop)
    until(lambda: answers(voice), "watch has its desk")
    opened = until(
        lambda: [a for a in [voice.ask({"op": "bypass", **LOWER})] if "error" not in a],
        "watch has heard from the warden under whom targets run",
    )[0]
    assert (opened["pending"], opened["people"]) == (True, 2)
    digest = opened["digest"]
    proof = {"op": "bypass", "digest": digest, "by": "person:ada"}

    def prove(*names: str, of: str = digest) -> dict[str, Any]:
        return voice.ask({**proof, "proofs": [keys[name].word(of) for name in names]})

    said = prove("olga")["error"]
    assert (said["kind"], "olga is not safety" in said["message"]) == ("refused", True)
    assert prove("bob", of="ab" * 32)["error"]["kind"] == "refused", "of something else"
    one = prove("ada")
    assert (one["pending"], one["proven"]) == (True, ["ada"])
    assert prove("ada")["error"]["kind"] == "refused", "ada twice is one"
    done = prove("bob")
    assert (done["pending"], done["by"], done["second"]) == (False, "person:ada", "person:bob")
    [rule] = voice.ask({"op": "rules"})["rules"]
    assert (rule["act"], rule["acts_now"]) == ("auto", "advise")
    banner = until(
        lambda: [n for n in shop.installation.status()["notes"] if n.startswith("BYPASS")], "banner"
    )
    assert "rule mass-write: it asks" in banner[0]
    assert voice.ask({"op": "restore", "rule": "mass-write", "by": "person:olga"})["restored"]
    told = until(lambda: [one for one in shop.entries("refused") if one["channel"] == "desk"], "in")
    assert told[0]["by"] == f"uid:{STATION}, as person:ada"


def alarms(shop: Shop, state: str) -> list[dict[str, Any]]:
    return [one for one in shop.installation.status()["alarms"] if one["state"] == state]


@pytest.mark.long
def test_DEC_3_nobody_answers_and_the_backup_is_called_then_it_is_restricted_then_stopped(
    shop: Shop,
) -> None:
    shop.make()
    rule = shop.rule(shop.RATE, act="advise", name="asks", time_to_harm='"12s"')
    shop.start_watch(shop.sensor(), rule)
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    voice = station(shop)
    begin = time.monotonic()
    assert shop.tell(agent, SPOIL).startswith("done")

    def row() -> dict[str, Any]:
        rows = voice.ask({"op": "decisions"})["decisions"]
        return dict(rows[0]) if rows else {}

    until(lambda: row().get("backup"), "it goes to the backup", 10)
    assert 4 <= time.monotonic() - begin < 6
    assert shop.level() is None
    until(lambda: shop.level() == "restrict", "it is restricted", 10)
    assert 8 <= time.monotonic() - begin < 10
    assert row()["stage"] == "acted", "and it asks on"
    [alarm] = until(lambda: alarms(shop, "acted"), "status tells of it")
    assert alarm["level"] == "restrict"
    assert "nobody has answered" in shop.installation.cli("status").stdout
    assert shop.wait_stopped(agent)["level"] == "kill"
    assert 12 <= time.monotonic() - begin < 14
    until(lambda: not alarms(shop, "acted"), "nothing is asked any more")
    assert "asks you" not in shop.installation.cli("status").stdout
    steps = until(
        lambda: [one for one in shop.entries("decision") if one["by"] == "rule:asks"][3:] and
        [one for one in shop.entries("decision") if one["by"] == "rule:asks"], "recorded", 5,
    )  # fmt: skip
    told = [(one["choice"], one["level"]) for one in steps if "alarm" not in one["why"][:10]]
    assert told[:4] == [("ask", "kill"), ("nothing", ""), ("stop", "restrict"), ("stop", "kill")]
