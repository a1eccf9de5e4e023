"""Where one person resets alone, the station's word is still no authority (SR-5, SEC-1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from authenticator import Authenticator
from installation import Installation
from needs import needs_root
from offswitch.control.ids import STATION
from offswitch.decide.authority import add_person
from offswitch.decide.roles import Role
from offswitch.decide.secret import set_secret
from voice import Voice

SAID = {
    "op": "reset",
    "scope": "shop",
    "channel": "console",
    "by": "person:ada",
    "reason": "a test",
    "safe": "it is a test",
    "changed": "nothing",
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path_factory.mktemp("alone"), gid=4200)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def station(one: Installation) -> Voice:
    one.press("shop")
    return Voice(one, STATION)


def latched(one: Installation) -> bool:
    return bool(one.status("shop")["latched"])


def test_SR_5_the_stations_word_alone_clears_nothing(one: Installation, station: Voice) -> None:
    for claim in ({}, {"proofs": ["ada"]}, {"secret": "guess one"}, {"by": "person:root"}):
        answer = station.ask({**SAID, **claim})
        assert (answer["state"], answer["cleared"], answer["people"]) == ("pending", [], 1)
        assert "it takes 1, and 0 may confirm it here" in answer["needs"][1]
    assert latched(one)
    assert one.reset("shop")["state"] == "done", "root on a terminal goes on as before"


def test_SR_5_what_root_says_through_the_station_is_the_stations_word(one: Installation) -> None:
    """Without root the two share a user; then at least an honest station takes no more for it."""
    one.press("shop")
    assert one.ask(SAID)["state"] == "pending"
    assert latched(one)


def test_SR_5_the_secret_makes_up_for_it_and_a_wrong_one_does_not(
    one: Installation, station: Voice
) -> None:
    set_secret(one.home, "correct horse")
    refused = station.ask({**SAID, "secret": "wrong horse"})["error"]
    assert (refused["kind"], refused["message"]) == ("refused", "that is not the secret")
    assert latched(one)
    assert station.ask({**SAID, "secret": "correct horse"})["state"] == "done"
    assert not latched(one)


def test_SR_5_one_known_persons_proof_makes_up_for_it(one: Installation, station: Voice) -> None:
    key, lesser = Authenticator(), Authenticator()
    add_person(one.home, "ada", uid=None, keys=[], passkeys=[key.raw])
    digest = station.ask(SAID)["reset"]

    def confirm(proof: str) -> dict[str, Any]:
        return station.ask({**SAID, "digest": digest, "proofs": [proof]})

    assert confirm(lesser.word(digest))["state"] == "pending"
    assert confirm(key.word("ab" * 32))["state"] == "pending"
    done = confirm(key.word(digest))
    assert (done["state"], done["proven"]) == ("done", ["ada"])
    assert not latched(one)
    assert one.ask({"op": "people"})["mode"] == "local"


def test_RST_5_an_operator_alone_resets_no_kill_from_the_station(
    one: Installation, station: Voice
) -> None:
    """The second person switches to two, so this is the last that one of them can show."""
    key = Authenticator()
    roles = [Role.OPERATOR]
    add_person(one.home, "olga", uid=None, keys=[], passkeys=[key.raw], roles=roles)
    for name in ("bob", "zoe"):
        mode = add_person(one.home, name, uid=None, keys=[], passkeys=[Authenticator().raw])
    assert mode == "people"
    digest = station.ask(SAID)["reset"]
    answer = station.ask({**SAID, "digest": digest, "proofs": [key.word(digest)]})
    assert (answer["state"], answer["people"], answer["proven"]) == ("pending", 2, [])
    assert latched(one)
