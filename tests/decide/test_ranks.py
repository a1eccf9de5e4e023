"""Whose word counts for which reset: what an authority stopped, no lower one resets (RST-5)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from authenticator import Authenticator
from offswitch.decide.authority import Authority, Case, Ruling, add_person, judge, prove
from offswitch.decide.authority import read_authority as read
from offswitch.decide.roles import Role
from offswitch.decide.totp import CodeBook
from offswitch.errors import Usage
from offswitch.model.level import Level

DIGEST = "ab" * 32
NOW = 1_790_000_000_000_000
ROLES = {
    "ada": [Role.SAFETY],
    "bob": [Role.SAFETY, Role.ADMIN],
    "olga": [Role.OPERATOR],
    "otto": [Role.OPERATOR],
    "alan": [Role.AUDITOR],
    "amy": [Role.ADMIN],
}
UIDS = {"ada": 1001, "olga": 1002}


class Room:
    def __init__(self, home: str) -> None:
        self.keys = {name: Authenticator() for name in ROLES}
        self.home, self.book = home, CodeBook(f"{home}/codes")
        for name, roles in ROLES.items():
            passkeys = [self.keys[name].raw]
            add_person(home, name, uid=UIDS.get(name), keys=[], passkeys=passkeys, roles=roles)
        self.authority: Authority = read(home, os.geteuid())

    def judge(self, *names: str, case: Case) -> Ruling:
        words = [self.keys[name].word(DIGEST) for name in names]
        return judge(self.authority, case, words, self.book, NOW)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(str(tmp_path_factory.mktemp("home")))


def of(level: Level, *placed_by: str, **more: object) -> Case:
    return Case(DIGEST, level, NOW, placed_by=placed_by, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [Level.KILL, Level.POWEROFF])
def test_RST_5_a_kill_is_reset_by_two_of_role_safety_and_by_nobody_else(
    room: Room, level: Level
) -> None:
    case = of(level, "rule:mass-write")
    assert room.judge("ada", "bob", case=case).allowed
    for names in (("ada", "olga"), ("olga", "otto"), ("ada", "amy"), ("bob", "alan"), ("ada",)):
        ruling = room.judge(*names, case=case)
        assert not ruling.allowed
        assert set(ruling.people) == {"ada", "bob"} & set(names)
        assert len(ruling.refused) == len(set(names) - {"ada", "bob"})


@pytest.mark.parametrize("level", [Level.RESTRICT, Level.DRAIN, Level.FREEZE])
@pytest.mark.parametrize(
    ("placed_by", "enough"),
    [
        ("person:olga", {"ada", "bob", "olga", "otto"}),
        ("uid:1002", {"ada", "bob", "olga", "otto"}),
        ("uid:7", {"ada", "bob", "olga", "otto"}),
        ("rule:x", {"ada", "bob", "olga", "otto"}),
        ("token:ci", {"ada", "bob", "olga", "otto"}),
        ("device:ada-phone", {"ada", "bob", "olga", "otto"}),
        ("person:alan", {"ada", "bob", "olga", "otto"}),
        ("person:ada", {"ada", "bob"}),
        ("uid:1001", {"ada", "bob"}),
    ],
)
def test_RST_5_a_lesser_stop_takes_one_who_stands_as_high_as_whoever_placed_it(
    room: Room, level: Level, placed_by: str, enough: set[str]
) -> None:
    case = of(level, placed_by)
    assert {name for name in ROLES if room.judge(name, case=case).allowed} == enough
    # Of several stops the highest counts.
    both = of(level, placed_by, "person:bob")
    assert {name for name in ROLES if room.judge(name, case=both).allowed} == {"ada", "bob"}


def test_RST_5_a_refusal_says_whose_word_it_takes(room: Room) -> None:
    ruling = room.judge("olga", case=of(Level.FREEZE, "person:ada"))
    assert ruling.refused == (
        "olga is operator: what a safety person stopped is reset by role safety",
    )
    assert "one more person of role safety" in ruling.needs[0]


def test_SR_5_the_configuration_asks_for_more_people_and_never_for_fewer(room: Room) -> None:
    freeze = of(Level.FREEZE, "rule:x", people=2)
    assert not room.judge("ada", case=freeze).allowed
    assert room.judge("ada", "olga", case=freeze).allowed
    assert not room.judge("ada", case=of(Level.KILL, people=1)).allowed
    three = room.judge("ada", "bob", case=of(Level.KILL, people=3))
    assert not three.allowed
    assert "it takes 3, and 2 may confirm it here" in three.needs[1]


def test_SR_5_whoever_stopped_does_not_confirm_where_that_is_asked_for(room: Room) -> None:
    for by in ("person:ada", "uid:1001"):
        case = of(Level.FREEZE, by, not_who_stopped=True)
        assert room.judge("bob", case=case).allowed
        ruling = room.judge("ada", case=case)
        assert not ruling.allowed
        assert "ada placed one of these stops" in ruling.refused[0]
        assert room.judge("ada", case=replace(case, not_who_stopped=False)).allowed


def test_SR_5_with_one_person_alone_one_known_person_is_enough(room: Room) -> None:
    case = of(Level.KILL, "rule:x", alone=True)
    assert room.judge("ada", case=case).allowed
    assert not room.judge(case=case).allowed
    assert not room.judge("olga", case=case).allowed


def test_SEC_5_no_single_admin_proves_anything_of_role_safety(room: Room) -> None:
    def asked(*names: str, about: str = "bypass", people: int = 2) -> Ruling:
        words = [room.keys[name].word(DIGEST) for name in names]
        safety = Role.SAFETY
        return prove(room.authority, about, DIGEST, people, safety, words, room.book, NOW)

    assert asked("ada", "bob").allowed
    assert not asked("amy", "amy").people
    assert asked("bob", "bob").people == ("bob",)
    assert "amy is not safety" in asked("bob", "amy").refused
    assert "of role safety" in asked("bob").needs[0]
    for about in ("reset", "", "Bypass", "a b"):
        with pytest.raises(Usage):
            asked("ada", about=about)


def test_SR_5_a_signature_for_one_thing_is_none_for_another(tmp_path: Path) -> None:
    """A reset is signed in the namespace `offswitch-reset`, and a bypass in one of its own."""
    room = Room(str(tmp_path))
    junk = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"
    ruling = prove(
        room.authority, "bypass", DIGEST, 1, Role.SAFETY, [junk, "ada", ""], room.book, NOW
    )
    assert (ruling.allowed, ruling.people, len(ruling.refused)) == (False, (), 3)


def test_SR_5_a_role_that_is_none_makes_a_person_nobody(tmp_path: Path) -> None:
    for roles in ([], ["king"], "safety", [["safety"]], {"safety": 1}):
        folder = tmp_path / "people"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "ada.json"
        file.write_text(f'{{"name": "ada", "roles": {roles!r}}}'.replace("'", '"'))
        file.chmod(0o600)
        authority = read(str(tmp_path), os.geteuid())
        assert authority.people.persons == ()
        assert "its roles are not some of" in authority.people.problems[0]
