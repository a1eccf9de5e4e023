"""RST-4: what a reset needs, each thing missing once; and the one that has everything.

Two people guard this installation, ada and bob, of role safety; olga is an operator. Every
request comes as the station would hand it in, or as a thief of the station would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from authenticator import Authenticator
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.control.client import Conversation
from offswitch.control.ids import STATION
from offswitch.decide.authority import add_person
from offswitch.decide.roles import Role
from offswitch.errors import NotFound
from people import PERSON
from voice import Voice

TARGET = "shop/checkout"
GROUNDS = {
    "reason": "prices of a test went live",
    "safe": "the job that wrote them is gone",
    "changed": "the job has no write access any more",
}


class Team:
    """One installation, its station as a patched one could be, and the people's keys."""

    def __init__(self, one: Installation) -> None:
        self.one = one
        self.station = Voice(one, STATION)
        self.keys = {name: Authenticator() for name in ("ada", "bob", "olga")}
        for name, key in self.keys.items():
            roles = [Role.OPERATOR if name == "olga" else Role.SAFETY]
            add_person(one.home, name, uid=None, keys=[], passkeys=[key.raw], roles=roles)

    def word(self, name: str, digest: str) -> str:
        return self.keys[name].word(digest)

    def reset(self, by: str = "person:ada", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Hand in a reset as the station does."""
        message = {"op": "reset", "scope": TARGET, "channel": "console", "by": by, **GROUNDS}
        return self.station.ask({**message, **more})

    def opened(self, **more: Any) -> str:  # noqa: ANN401
        answer = self.reset(**more)
        assert answer["state"] == "pending", answer
        return str(answer["reset"])

    def confirm(self, digest: str, *names: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        proofs = [self.word(name, digest) for name in names]
        return self.reset(f"person:{names[0]}", digest=digest, proofs=proofs, **more)

    def stop(self) -> None:
        """Have the target run, and stop it."""
        if not self.one.target(TARGET)["latched"]:
            self.one.run("sleep", "1000", target=TARGET)
            assert self.one.stop(TARGET)["confirmed"] is True

    @property
    def latched(self) -> bool:
        return bool(self.one.target(TARGET)["latched"])

    def refusals(self) -> list[dict[str, Any]]:
        return [entry for entry in self.one.entries() if entry["kind"] == "refused"]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    needs_root()  # only there the station has a user of its own
    one = Installation(tmp_path_factory.mktemp("two"), gid=4200)
    try:
        team = Team(one.start())
        one.run("sleep", "1000", target=TARGET)
        assert one.stop(TARGET)["confirmed"] is True
        yield team
    finally:
        one.close()


@pytest.fixture(autouse=True)
def _nothing_is_cleared(team: Team, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a negative case tried, the target is latched afterwards and has not lived."""
    yield
    if "RST_4" in request.node.name:
        assert team.latched
        assert team.one.target(TARGET)["pids"] == 0


# --- the eight ------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["reason", "safe", "changed"])
def test_RST_4_1_without_its_cause_why_it_is_safe_and_what_changed(
    team: Team, missing: str
) -> None:
    for nothing in ("", "  ", None):
        answer = team.reset(**{missing: nothing})
        assert answer["error"]["kind"] == "usage"


def test_RST_4_2_while_the_evidence_cannot_be_sealed(team: Team) -> None:
    digest = team.opened()
    recorder = team.one.pids()["recorder"]
    os.kill(recorder, signal.SIGSTOP)
    try:
        answer = team.confirm(digest, "ada", "bob")
    finally:
        os.kill(recorder, signal.SIGCONT)
    assert answer["error"]["kind"] == "storage"
    assert "evidence" in answer["error"]["message"]


def test_RST_4_3_while_standstill_is_not_confirmed(team: Team) -> None:
    digest = team.opened()
    observer = team.one.pids()["observer"]
    os.kill(observer, signal.SIGSTOP)
    try:
        answer = team.confirm(digest, "ada", "bob")
    finally:
        os.kill(observer, signal.SIGCONT)
    assert answer["error"]["kind"] == "unconfirmed"
    assert "standstill" in answer["error"]["message"]


def test_RST_4_4_by_one_person(team: Team) -> None:
    digest = team.opened()
    answer = team.confirm(digest, "ada")
    assert (answer["state"], answer["cleared"], answer["proven"]) == ("pending", [], ["ada"])
    assert (answer["people"], answer["expires_us"] > answer["opened_us"]) == (2, True)
    assert "one more person of role safety" in answer["needs"][0]
    # A second one whose role does not count is none.
    assert team.confirm(digest, "olga")["proven"] == ["ada"]


def test_RST_4_5_by_the_same_person_twice(team: Team) -> None:
    digest = team.opened()
    assert team.confirm(digest, "ada", "ada")["state"] == "pending"
    assert team.confirm(digest, "ada")["proven"] == ["ada"]
    under_another_name = team.reset("person:bob", digest=digest, proofs=[team.word("ada", digest)])
    assert under_another_name["proven"] == ["ada"]


def test_RST_4_6_with_the_wrong_scope_typed(team: Team) -> None:
    digest = team.opened()
    for scope in ("shop", "shop/checkout2", "/", "tenant=acme", "", "shop/checkout/x"):
        answer = team.confirm(digest, "ada", "bob", scope=scope)
        assert answer["error"]["kind"] in {"refused", "not-found", "usage", "latched"}, scope


@pytest.mark.parametrize("by", ["token:ci", "device:ada-phone", "drill:canary-3", "ada", "", None])
def test_RST_4_7_SEC_1_by_a_token_a_phone_or_nobody(team: Team, by: Any) -> None:  # noqa: ANN401
    """Whoever steals one can at worst stop."""
    digest = team.opened()
    for message in ({}, {"digest": digest, "proofs": [team.word("ada", digest)]}):
        answer = team.reset(by, **message)
        assert answer["error"]["kind"] == "refused"
        assert "a person's" in answer["error"]["message"]
    stop = {"op": "stop", "scopes": [TARGET], "channel": "api", "by": by}
    assert team.station.ask(stop)["confirmed"] is True


def test_RST_4_8_from_a_cell(team: Team) -> None:
    """Not even by root in a cell, with everything else as it should be."""
    digest = team.opened()
    proofs = [team.word(name, digest) for name in ("ada", "bob")]
    message = {"op": "reset", "scope": TARGET, "digest": digest, "proofs": proofs, **GROUNDS}
    socket = team.one.place.warden_socket
    argv = [PYTHON, "-c", PERSON, socket, "0", "0", "", json.dumps(message)]
    running = team.one.run(*argv, target="thief", user="root")
    assert '"refused"' in running.line()
    running.close()


# --- and what else a patched station may try -------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        {"people": ["ada", "bob"]},
        {"proven": ["ada", "bob"]},
        {"confirmed": 2},
        {"mode": "local"},
        {"uid": 0},
    ],
)
def test_RST_4_SR_5_a_station_that_claims_two_confirmations_is_refused(
    team: Team, claim: dict[str, Any]
) -> None:
    answer = team.reset(**claim)
    assert answer["error"]["kind"] == "refused"
    assert "the warden finds out itself" in answer["error"]["message"]


def test_RST_4_SR_5_a_station_that_names_no_road_is_the_station_all_the_same(team: Team) -> None:
    for channel in (None, "cli", "", ["console"], 7):
        answer = team.reset(channel=channel)
        assert answer["error"]["kind"] == "refused", channel
    [*_, last] = [one for one in team.refusals() if one["what"] == "reset"]
    assert last["channel"] == "station"


def test_RST_4_SR_5_a_stations_words_in_the_place_of_proofs_are_none(team: Team) -> None:
    digest, other = team.opened(), team.opened()
    assert digest != other
    for proofs in (
        ["ada", "bob"],
        ["code ada 000000", "code bob 000000"],
        [team.word("ada", other), team.word("bob", other)],
        [Authenticator().word(digest), Authenticator().word(digest)],
        [{"person": "ada"}, {"person": "bob"}],
    ):
        answer = team.reset(digest=digest, proofs=proofs, secret="no such thing")
        assert (answer["state"], answer["proven"]) == ("pending", [])
    for by in ("person:ada", "person:bob", "person:root"):
        assert team.reset(by, digest=digest)["proven"] == []
    entered = [one for one in team.refusals() if one["what"] == "proof" and one["digest"] == digest]
    assert len(entered) == 5


def test_RST_4_SEC_2_what_was_confirmed_on_other_grounds_is_another_reset(team: Team) -> None:
    """The digest that people sign covers the cause, why it is safe and what changed."""
    same = {"nonce": "1" * 32}
    digests = {
        team.opened(**same, safe="the job is gone"),
        team.opened(**same, safe="it is not gone"),
        team.opened(**same, changed="nothing"),
        team.opened(**same, reason="another cause"),
    }
    assert len(digests) == 4


def test_RST_4_SEC_2_a_reset_that_was_carried_out_is_not_replayed(team: Team) -> None:
    digest = team.opened()
    assert team.confirm(digest, "ada", "bob")["state"] == "done"
    assert not team.latched
    team.stop()
    answer = team.confirm(digest, "ada", "bob")
    assert answer["error"]["kind"] == "not-found"


# --- the one that has everything -------------------------------------------------------


def test_SR_5_SEC_1_two_people_confirm_from_two_browsers_and_all_is_entered(team: Team) -> None:
    team.stop()
    digest = team.opened()
    asked = team.station.ask({"op": "resets"})
    assert asked["mode"] == "people"
    [waiting] = [one for one in asked["resets"] if one["digest"] == digest]
    assert (waiting["scope"], waiting["level"], waiting["people"]) == (TARGET, "kill", 2)
    assert (waiting["by"], waiting["proven"]) == ("person:ada", [])
    assert waiting["expires_us"] - waiting["opened_us"] == 15 * 60 * 1_000_000
    assert team.confirm(digest, "ada")["proven"] == ["ada"]
    done = team.confirm(digest, "bob")
    assert (done["state"], done["exit"]) == ("done", 0)
    assert not team.latched
    assert team.one.target(TARGET)["pids"] == 0, "a reset starts nothing"
    [entry] = [
        entry
        for entry in team.one.entries()
        if entry["kind"] == "reset" and entry["state"] == "done" and entry["digest"] == digest
    ]
    assert {key: entry[key] for key in GROUNDS} == GROUNDS
    assert (entry["by"], entry["proven"]) == ("person:ada", ["ada", "bob"])
    assert entry["channel"] == "console"
    assert digest not in {one["digest"] for one in team.station.ask({"op": "resets"})["resets"]}


def test_SR_5_two_who_confirm_at_the_same_moment_reset_it_once(team: Team) -> None:
    team.stop()
    digest = team.opened()
    socket = team.one.place.warden_socket
    lines = [Conversation(socket, 30.0) for _ in range(4)]
    for line, name in zip(lines, ("ada", "bob", "ada", "bob"), strict=True):
        message = {"op": "reset", "scope": TARGET, "digest": digest, "reason": "x"}
        line.send({**message, "proofs": [team.word(name, digest)]})
    said = []
    for line in lines:
        with line, contextlib.suppress(NotFound):
            answer = line.receive()
            assert answer is not None
            said.append(answer["state"])
    assert said.count("done") == 1
    entered = [e for e in team.one.entries() if e["kind"] == "reset" and e["digest"] == digest]
    assert [e["state"] for e in entered].count("done") == 1


def test_SR_18_the_station_can_ask_which_of_adas_stops_were_reset(team: Team) -> None:
    stop = {"op": "stop", "scopes": ["bank"], "channel": "console", "by": "person:ada"}
    team.station.ask(stop)
    digest = team.opened(scope="bank", by="person:bob")
    assert team.confirm(digest, "bob", "ada", scope="bank")["state"] == "done"
    told = team.station.ask({"op": "resets", "for": "person:ada"})["told"]
    assert any("your stop of bank was reset by person:bob" in one for one in told)
    assert not any(
        "bank" in one for one in team.one.ask({"op": "resets", "for": "person:bob"})["told"]
    )
    member = Voice(team.one, 4242)
    assert "told" not in member.ask({"op": "resets", "for": "person:ada"})


def test_SR_5_who_is_known_is_told_to_the_station_without_any_secret(team: Team) -> None:
    answer = team.station.ask({"op": "people"})
    assert answer["mode"] == "people"
    ada, _bob, olga = answer["people"]
    assert (ada["name"], ada["roles"], ada["totp"], ada["uid"]) == ("ada", ["safety"], False, None)
    assert ada["passkeys"] == [{"id": team.keys["ada"].raw["id"], "rp": "localhost"}]
    assert olga["roles"] == ["operator"]
    assert Voice(team.one, 4242).ask({"op": "people"})["error"]["kind"] == "refused"


def test_SEC_5_the_warden_says_who_proved_something_else(team: Team) -> None:
    about = {"op": "prove", "about": "bypass", "digest": "cd" * 32, "people": 2, "role": "safety"}
    words = [team.word(name, "cd" * 32) for name in ("ada", "bob", "olga")]
    assert team.station.ask({**about, "proofs": words[:2]})["people"] == ["ada", "bob"]
    one = team.station.ask({**about, "proofs": words[1:]})
    assert (one["allowed"], one["people"]) == (False, ["bob"])
    assert one["refused"] == ["olga is not safety"]
    assert (
        team.station.ask({**about, "about": "reset", "proofs": words})["error"]["kind"] == "usage"
    )
    assert Voice(team.one, 4242).ask({**about, "proofs": words})["error"]["kind"] == "refused"


def test_SEC_5_one_admin_attempts_all_and_nothing_comes_of_it(team: Team) -> None:
    """Reset, bypass, configuration, code, people: with the station, and a passkey of their own."""
    amy = Authenticator()
    team.keys["amy"] = amy
    roles = [Role.ADMIN]
    add_person(team.one.home, "amy", uid=None, keys=[], passkeys=[amy.raw], roles=roles)
    team.stop()
    digest = team.opened(by="person:amy")
    assert team.confirm(digest, "amy")["proven"] == []
    about = {"op": "prove", "digest": "cd" * 32, "people": 1, "role": "safety"}
    for what in ("bypass", "shelve", "people", "rules"):
        said = team.station.ask({**about, "about": what, "proofs": [amy.word("cd" * 32)]})
        assert (said["allowed"], said["people"]) == (False, [])
    for op in ("declare", "handover", "adopt", "release", "report", "end-probation", "run"):
        refused = team.station.ask({"op": op, "targets": [], "target": "x"})
        assert refused["error"]["kind"] == "refused", op
    assert team.latched


def test_RST_5_a_freeze_that_has_become_a_kill_takes_two(team: Team) -> None:
    """One is enough for a freeze; but it moved, or outlived its limit, and was killed."""
    one = team.one
    one.ask({"op": "declare", "targets": [{"name": "slow", "limits_s": {"freeze": 0.2}}]})
    one.run("sleep", "1000", target="slow")
    one.stop("slow", level="freeze")
    early = team.opened(scope="slow", by="person:olga")
    [waiting] = [w for w in one.ask({"op": "resets"})["resets"] if w["digest"] == early]
    until(lambda: one.target("slow")["level"] == "kill", "the freeze has become a kill")
    until(lambda: one.target("slow")["confirmed"], "and it is seen")
    digest = team.opened(scope="slow", by="person:olga")
    [waiting] = [w for w in one.ask({"op": "resets"})["resets"] if w["digest"] == digest]
    assert (waiting["level"], waiting["people"]) == ("kill", 2)
    assert team.confirm(digest, "olga", scope="slow")["state"] == "pending"
    assert team.confirm(digest, "ada", scope="slow")["state"] == "pending"
    # What was opened while it was a freeze clears that, and the kill holds.
    if team.confirm(early, "olga", scope="slow")["state"] == "done":
        assert one.target("slow")["level"] == "kill"
    digest = team.opened(scope="slow", by="person:ada")
    assert team.confirm(digest, "ada", "bob", scope="slow")["state"] == "done"
    assert one.target("slow")["latched"] is False
