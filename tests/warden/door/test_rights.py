"""Whose stop it is: the kernel's word, but for those of ours who speak for others."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.control.ids import GATEWAY, OBSERVER, STATION, WATCH
from offswitch.control.peer import Peer
from offswitch.errors import Refused
from offswitch.warden.door.rights import STATION_CHANNELS, Rights

pytestmark = pytest.mark.usefixtures("as_root")

SOMEBODY = 4242


def peer(uid: int) -> Peer:
    return Peer(pid=1, uid=uid, gid=uid, groups=())


@pytest.fixture
def rights() -> Rights:
    return Rights(SOMEBODY, "offswitch-x")


def said(by: Any = "person:ada", channel: Any = "console") -> dict[str, Any]:  # noqa: ANN401
    return {"op": "stop", "by": by, "channel": channel}


@pytest.mark.parametrize("uid", [0, STATION])
@pytest.mark.parametrize("channel", sorted(STATION_CHANNELS))
@pytest.mark.parametrize("by", ["person:ada", "token:ci", "device:ada-phone", "drill:canary-3"])
def test_SR_4_the_station_names_whose_stop_it_hands_in(
    rights: Rights, uid: int, channel: str, by: str
) -> None:
    assert rights.named(peer(uid), said(by, channel)) == by


@pytest.mark.parametrize("uid", [SOMEBODY, WATCH, GATEWAY, OBSERVER])
def test_SR_4_nobody_else_is_believed_to_speak_for_a_person(rights: Rights, uid: int) -> None:
    assert rights.named(peer(uid), said()) == f"uid:{uid}"
    assert not rights.station(peer(uid), said())


def test_SR_4_a_rule_is_named_by_watch_and_never_by_the_station(rights: Rights) -> None:
    assert rights.named(peer(WATCH), said("mass-write", "rule")) == "mass-write"
    assert rights.named(peer(STATION), said("mass-write", "rule")) == f"uid:{STATION}"


@pytest.mark.parametrize(
    "by",
    [
        "ada",
        "uid:0",
        "warden",
        "person:",
        "person:ada\n",
        "person:ada\x1b[2J",
        "person:" + "a" * 65,
        "person:ä",
        "rule:x",
        7,
        None,
        ["person:ada"],
    ],
)
def test_SR_4_a_name_that_is_none_is_the_stations_own(rights: Rights, by: object) -> None:
    """The stop is obeyed all the same."""
    assert rights.named(peer(STATION), said(by)) == f"uid:{STATION}"


@pytest.mark.parametrize("channel", [["console"], {"console": 1}, 7, None, True])
def test_SR_4_a_road_that_is_none_spoils_no_stop(rights: Rights, channel: object) -> None:
    for uid in (0, STATION, WATCH):
        assert rights.named(peer(uid), said(channel=channel)) == f"uid:{uid}"


def test_SR_5_without_root_only_the_stations_own_word_tells_it_from_the_owner(
    rights: Rights,
) -> None:
    """So an honest one takes no more for it; that a patched one could leave it out is a note."""
    rights.uid, rights._roles = SOMEBODY, {}
    owner = peer(SOMEBODY)
    assert rights.station(owner, said())
    assert rights.named(owner, said()) == "person:ada"
    assert not rights.station(owner, {"op": "reset"})
    assert not rights.station(peer(7), said())


def test_SR_4_the_station_asks_about_people_and_the_group_only_looks_at_resets(
    rights: Rights,
) -> None:
    for operation in ("people", "prove", "resets", "reset", "stop"):
        rights.check(peer(STATION), operation, in_cell=False)
    member = Peer(pid=1, uid=7, gid=SOMEBODY, groups=())
    rights.check(member, "resets", in_cell=False)
    for uid, operation in ((7, "people"), (7, "prove"), (WATCH, "reset"), (STATION, "declare")):
        one = member if uid == 7 else peer(uid)
        with pytest.raises(Refused):
            rights.check(one, operation, in_cell=False)
