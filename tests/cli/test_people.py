"""`offswitch people`: who may confirm, added and removed by root, each time an entry (SEC-5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authenticator import Authenticator
from installation import Installation, until
from offswitch.cli import app
from offswitch.decide.authority import Mode, read_authority
from ssh_keys import sign, ssh_key

__all__ = ["sign", "ssh_key"]


class Room:
    """One installation, and its people by the command line, in this very process: quicker."""

    def __init__(
        self, one: Installation, key: Callable[[str], Path], said: pytest.CaptureFixture[str]
    ) -> None:
        self.one, self.key, self._said = one, key, said

    def call(self, *words: str) -> tuple[int, str]:
        self._said.readouterr()
        code = app.main(["people", *words])
        return code, self._said.readouterr().out

    def people(self, *words: str, code: int = 0) -> dict[str, Any]:
        ended, out = self.call(*words, "--json")
        assert ended == code, out
        return dict(json.loads(out))

    def add(self, name: str, *words: str, role: str = "safety", code: int = 0) -> dict[str, Any]:
        public = str(self.key(name).with_suffix(".pub"))
        return self.people("add", name, "--role", role, "--key", public, *words, code=code)

    def entries(self) -> list[dict[str, Any]]:
        return [entry for entry in self.one.entries() if entry["kind"] == "people"]


@pytest.fixture
def room(
    fresh: Installation,
    ssh_key: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Room:
    monkeypatch.setenv("OFFSWITCH_HOME", fresh.home)
    monkeypatch.setenv("OFFSWITCH_RUN", fresh.run_folder)
    return Room(fresh, ssh_key, capsys)


def test_SR_5_the_second_person_makes_it_take_two_and_every_change_is_an_entry(
    room: Room,
) -> None:
    assert room.people("list")["mode"] == "local"
    assert room.add("ada", "--dry-run")["dry_run"] is True
    assert room.people("list")["people"] == []
    assert room.add("ada", "--uid", "1000")["mode"] == "local"
    assert room.add("bob")["mode"] == "people"
    listed = room.people("list")
    assert [one["name"] for one in listed["people"]] == ["ada", "bob"]
    assert listed["people"][0]["uid"] == 1000
    assert listed["people"][0]["keys"][0].startswith("SHA256:")
    assert room.add("ada", code=1)["error"]["kind"] == "busy"
    room.add("olga", role="operator")
    assert room.people("remove", "olga")["removed"]["roles"] == ["operator"]
    until(lambda: len(room.entries()) == 4, "all four are entered")
    first, second, _third, fourth = room.entries()
    assert (first["what"], first["prior"]) == ("added", "local, 0 known, 0 may reset a kill")
    assert (first["name"], first["by"], first["channel"]) == ("ada", "uid:0", "cli")
    assert second["state"] == "people, 2 known, 2 may reset a kill"
    assert (fourth["what"], fourth["name"]) == ("removed", "olga")
    assert not any("missing" in entry for entry in room.entries())


def test_SEC_5_one_admin_alone_adds_nobody_who_could_reset_what_is_latched(
    room: Room, sign: Callable[..., str], tmp_path: Path
) -> None:
    room.add("ada")
    room.add("bob")
    room.one.press("shop")
    refused = room.add("eve", code=3)["error"]
    assert refused["kind"] == "latched"
    assert not Path(room.one.home, "people", "eve.json").exists()
    room.add("alan", role="auditor")
    [digest] = [word for word in refused["hint"].split() if len(word) == 64]
    proof = tmp_path / "proof"
    for key, namespace in (("eve", "offswitch-people"), ("ada", "offswitch-reset")):
        proof.write_text(sign(room.key(key), digest, namespace))
        assert room.add("eve", "--proof", str(proof), code=3)["error"]["kind"] == "latched"
    proof.write_text(sign(room.key("ada"), digest, "offswitch-people"))
    other = room.add("eve", "--uid", "7", "--proof", str(proof), code=3)
    assert other["error"]["kind"] == "latched", "it is over this very change"
    assert room.add("eve", "--proof", str(proof))["added"]["name"] == "eve"


def test_SEC_5_two_who_can_confirm_stay(room: Room) -> None:
    room.add("ada")
    room.add("bob")
    room.add("olga", role="operator")
    room.one.press("shop")
    for words in ((), ("--last",)):
        assert room.people("remove", "bob", *words, code=3)["error"]["kind"] == "latched"
    room.people("remove", "olga")
    assert room.people("remove", "nobody", code=4)["error"]["kind"] == "not-found"


def test_SEC_5_the_last_ones_go_only_when_root_says_so(room: Room) -> None:
    room.add("ada")
    room.add("bob")
    assert room.people("remove", "bob", code=5)["error"]["kind"] == "refused"
    assert room.people("remove", "bob", "--last", "--dry-run")["dry_run"] is True
    assert room.people("remove", "bob", "--last")["removed"]["name"] == "bob"
    assert room.people("list")["mode"] == "people", "it goes on taking two"
    assert read_authority(room.one.home, 0).mode is Mode.PEOPLE


def test_SR_5_doctor_says_whether_one_person_resets_alone_and_what_is_wrong_with_whom(
    room: Room,
) -> None:
    def said() -> str:
        checks = json.loads(room.one.cli("doctor", "--json").stdout)["checks"]
        return next(str(check["detail"]) for check in checks if check["name"] == "reset")

    assert "ONE PERSON resets here alone" in said()
    room.add("ada")
    room.add("bob")
    assert "two people of role safety" in said()
    Path(room.one.home, "people", "bob.json").chmod(0o644)
    room.one.ask({"op": "people"})
    assert "who may reset" in said()
    assert "bob.json: others can read or write it" in said()


def test_SR_5_a_one_time_secret_is_made_and_shown_this_once(room: Room) -> None:
    uri = room.people("add", "ada", "--role", "safety", "--totp")["otpauth"]
    assert uri.startswith("otpauth://totp/Offswitch%3Aada?secret=")
    secret = uri.partition("secret=")[2].partition("&")[0]
    assert secret in Path(room.one.home, "people", "ada.json").read_text()
    assert secret not in json.dumps(room.people("list"))
    assert secret not in json.dumps(room.entries())
    _code, told = room.call("add", "bob", "--role", "safety", "--totp")
    assert "otpauth://" in told
    assert "From now on a reset takes two people." in told


def test_SR_5_a_passkeys_line_is_taken_for_the_person_that_it_names(room: Room) -> None:
    key = Authenticator("switch.example.com")
    wrong = ("add", "bob", "--role", "safety", "--passkey", key.line("ada"))
    assert room.people(*wrong, code=5)["error"]["kind"] == "refused"
    spoilt = ("add", "ada", "--role", "safety", "--passkey", key.line("ada")[:-3])
    assert room.people(*spoilt, code=5)["error"]["kind"] == "refused"
    added = room.people("add", "ada", "--role", "safety", "--passkey", key.line("ada"))
    assert added["added"]["passkeys"] == [{"id": key.raw["id"], "rp": "switch.example.com"}]


def test_wrong_calls_change_nothing(room: Room) -> None:
    for words, kind in (
        (["add", "ada"], "usage"),
        (["add", "ada", "--role", "king"], "usage"),
        (["add", "ada", "--role", "safety"], "usage"),
        (["add", "../ada", "--role", "safety", "--totp"], "usage"),
        (["add", "ada", "--role", "safety", "--key", "ssh-rsa AAAA"], "refused"),
        (["remove", "../../secret"], "not-found"),
    ):
        assert json.loads(room.call(*words, "--json")[1])["error"]["kind"] == kind, words
    assert not Path(room.one.home, "people").exists()
