"""SR-5 and SR-2: two people, this very reset, checked by the warden itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from needs import needs_program, needs_root
from offswitch.decide.authority import (
    VALID_US,
    Authority,
    Case,
    Mode,
    Ruling,
    add_person,
    again,
    at_start,
    judge,
    needed,
    read_authority,
)
from offswitch.decide.people import read_people
from offswitch.decide.totp import CodeBook, code_at, read_secret
from offswitch.errors import Busy, Refused, Usage
from offswitch.model.level import Level

ME = os.geteuid()
NOW = 1_790_000_000_000_000
CASE = Case(digest="ab" * 32, level=Level.KILL, opened_us=NOW - 1_000_000)
OTHER = "cd" * 32
SECRETS = {"ada": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "bob": "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"}

Sign = Callable[..., str]
Keys = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _ssh_keygen() -> None:
    needs_program("ssh-keygen")


class Room:
    """An installation with two people in it."""

    def __init__(self, home: Path, keys: Keys) -> None:
        self.home = str(home)
        self.book = CodeBook(str(home / "codes"))
        self.keys = {name: keys(name) for name in ("ada", "bob", "eve")}
        for name in ("ada", "bob"):
            line = self.keys[name].with_suffix(".pub").read_text()
            add_person(self.home, name, uid=None, keys=[line], totp=SECRETS[name])
        self.authority = read_authority(self.home, ME)

    def judge(self, *proofs: str, case: Case = CASE, now_us: int = NOW, **more: object) -> Ruling:
        return judge(self.authority, case, proofs, self.book, now_us, **more)  # type: ignore[arg-type]


@pytest.fixture
def room(tmp_path: Path, ssh_key: Keys) -> Room:
    home = tmp_path / "home"
    home.mkdir()
    return Room(home, ssh_key)


def test_SR_5_two_people_over_this_reset_are_enough(room: Room, sign: Sign) -> None:
    ruling = room.judge(*(sign(room.keys[name], CASE.digest) for name in ("ada", "bob")))
    assert ruling.allowed
    assert ruling.people == ("ada", "bob")
    assert not ruling.needs


def test_SR_5_a_digest_that_was_piped_with_a_newline_counts(room: Room, sign: Sign) -> None:
    assert room.judge(sign(room.keys["ada"], CASE.digest + "\n")).people == ("ada",)


def test_SR_5_the_proofs_may_come_one_after_the_other(room: Room, sign: Sign) -> None:
    first = room.judge(sign(room.keys["ada"], CASE.digest))
    assert not first.allowed
    assert CASE.digest in first.needs[0]
    second = room.judge(sign(room.keys["bob"], CASE.digest), already=first.people)
    assert second.allowed


@pytest.mark.parametrize(
    ("level", "people"),
    [
        (Level.RESTRICT, 1),
        (Level.DRAIN, 1),
        (Level.FREEZE, 1),
        (Level.KILL, 2),
        (Level.POWEROFF, 2),
    ],
)
def test_SR_5_how_many_people_depends_on_the_level(
    room: Room, sign: Sign, level: Level, people: int
) -> None:
    assert needed(level) == people
    ruling = room.judge(sign(room.keys["ada"], CASE.digest), case=replace(CASE, level=level))
    assert ruling.allowed == (people == 1)


def test_SR_5_one_person_twice_is_one(room: Room, sign: Sign) -> None:
    code = code_at(read_secret(SECRETS["ada"]), NOW // 30_000_000)
    signed = sign(room.keys["ada"], CASE.digest)
    ruling = room.judge(signed, signed, f"code ada {code}")
    assert not ruling.allowed
    assert ruling.people == ("ada",)


def test_SR_5_a_proof_over_another_digest_or_namespace_is_refused(room: Room, sign: Sign) -> None:
    for proof in (
        sign(room.keys["bob"], OTHER),
        sign(room.keys["bob"], CASE.digest, "git"),
        sign(room.keys["bob"], CASE.digest + "\n\n"),
        sign(room.keys["eve"], CASE.digest),
        "",
        "bob",
        "code bob 12345",
    ):
        ruling = room.judge(sign(room.keys["ada"], CASE.digest), proof)
        assert not ruling.allowed
        assert ruling.people == ("ada",)
        assert len(ruling.refused) == 1


def test_SR_5_a_claim_of_two_confirmations_is_no_proof(room: Room) -> None:
    # What a patched station would send: names, not signatures; and names of earlier
    # rulings that the warden does not know as people.
    assert not room.judge("ada", "bob", '{"confirmed": ["ada", "bob"]}').allowed
    assert not room.judge(already=("mallory", "station")).allowed


def test_SR_5_an_expired_future_or_replayed_reset_is_refused(room: Room, sign: Sign) -> None:
    proofs = [sign(room.keys[name], CASE.digest) for name in ("ada", "bob")]
    assert room.judge(*proofs, now_us=CASE.opened_us + VALID_US).allowed
    assert not room.judge(*proofs, now_us=CASE.opened_us + VALID_US + 1).allowed
    assert not room.judge(*proofs, now_us=CASE.opened_us - 120_000_000).allowed
    assert not room.judge(*proofs, case=replace(CASE, done=True)).allowed


def test_SR_5_one_time_codes_count_once_and_only_now(room: Room) -> None:
    step = NOW // 30_000_000
    ada, bob = (read_secret(SECRETS[name]) for name in ("ada", "bob"))
    both = (f"code ada {code_at(ada, step)}", f"code bob {code_at(bob, step - 1)}")
    assert room.judge(*both).allowed
    again_ = room.judge(*both)
    assert again_.people == ()
    assert "used already" in again_.refused[0]
    # Not after a restart either: the book is a file.
    room.book = CodeBook(f"{room.home}/codes")
    assert room.judge(*both).people == ()
    assert room.judge(f"code ada {code_at(ada, step - 5)}").people == ()
    assert room.judge(f"code ada {code_at(ada, step + 1)}").people == ("ada",)


def test_SR_5_guessing_codes_shuts_them_for_a_while(room: Room) -> None:
    ada, step = read_secret(SECRETS["ada"]), NOW // 30_000_000
    right = {code_at(ada, step + n) for n in (-1, 0, 1)}
    wrong = next(f"{n:06}" for n in range(10) if f"{n:06}" not in right)
    for _ in range(5):
        assert room.judge(f"code ada {wrong}").people == ()
    shut = room.judge(f"code ada {code_at(ada, step)}")
    assert shut.people == ()
    assert "too many" in shut.refused[0]
    later = replace(CASE, opened_us=NOW + 16 * 60_000_000)
    good = f"code ada {code_at(ada, later.opened_us // 30_000_000)}"
    assert room.judge(good, case=later, now_us=later.opened_us).people == ("ada",)


def test_SR_5_a_book_of_codes_that_cannot_be_kept_accepts_none(room: Room) -> None:
    Path(f"{room.home}/codes").write_text("{garbled")
    code = code_at(read_secret(SECRETS["ada"]), NOW // 30_000_000)
    assert room.judge(f"code ada {code}").people == ()
    Path(f"{room.home}/codes").unlink()
    Path(f"{room.home}/codes.new").mkdir()
    assert room.judge(f"code ada {code}").people == ()


def test_rfc_6238_codes_are_those_of_the_rfc() -> None:
    # Appendix B, SHA-1; the RFC prints eight digits, of which ours are the last six.
    secret = b"12345678901234567890"
    table = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    for second, code in table.items():
        assert code_at(secret, second // 30) == code


def test_SR_5_what_two_names_share_counts_for_neither(room: Room, sign: Sign) -> None:
    path = Path(f"{room.home}/people/bob.json")
    line = room.keys["ada"].with_suffix(".pub").read_text()
    escaped = line.strip()
    path.write_text(f'{{"name": "bob", "uid": null, "keys": ["{escaped}"], "totp": null}}')
    path.chmod(0o600)
    room.authority = read_authority(room.home, ME)
    assert room.judge(sign(room.keys["ada"], CASE.digest)).people == ()
    assert any("two names" in problem for problem in room.authority.people.problems)
    with pytest.raises(Refused, match="two names"):
        add_person(room.home, "carl", uid=None, keys=[line])


def test_SR_5_one_user_id_under_two_names_counts_for_nobody(tmp_path: Path, ssh_key: Keys) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "people"
        folder.mkdir(mode=0o700, exist_ok=True)
        line = ssh_key(name).with_suffix(".pub").read_text().strip()
        path = folder / f"{name}.json"
        path.write_text(f'{{"name": "{name}", "uid": 1000, "keys": ["{line}"]}}')
        path.chmod(0o600)
    assert read_people(str(tmp_path), ME).persons == ()


@pytest.mark.parametrize(
    "harm", ["mode", "link", "fifo", "json", "name", "owner", "huge", "folder"]
)
def test_SR_5_a_persons_file_that_others_could_touch_counts_for_nobody(
    room: Room, harm: str, sign: Sign
) -> None:
    path = Path(f"{room.home}/people/bob.json")
    if harm == "mode":
        path.chmod(0o640)
    elif harm == "link":
        path.rename(f"{room.home}/elsewhere")
        path.symlink_to(f"{room.home}/elsewhere")
    elif harm == "fifo":
        path.unlink()
        os.mkfifo(path, 0o600)
    elif harm == "json":
        path.write_text("[" * 5000)
    elif harm == "name":
        path.write_text(path.read_text().replace('"bob"', '"carl"'))
    elif harm == "huge":
        path.write_text(path.read_text() + " " * 100_000)
    elif harm == "folder":
        path.parent.chmod(0o777)
    else:
        needs_root()  # only root can give a file away
        os.chown(path, 4242, 4242)
    room.authority = read_authority(room.home, ME)
    assert room.authority.people.problems
    assert "bob" not in room.judge(sign(room.keys["bob"], CASE.digest)).people


def test_the_second_person_switches_to_people_for_good(tmp_path: Path, ssh_key: Keys) -> None:
    home = str(tmp_path)
    assert read_authority(home, ME).mode is Mode.LOCAL
    lines = [ssh_key(name).with_suffix(".pub").read_text() for name in ("ada", "bob")]
    assert add_person(home, "ada", uid=None, keys=[lines[0]]) is Mode.LOCAL
    assert at_start(home, ME, latched=False).note == ""
    assert add_person(home, "bob", uid=None, keys=[lines[1]]) is Mode.PEOPLE
    started = at_start(home, ME, latched=False)
    assert started.authority.mode is Mode.PEOPLE
    assert "local to people" in started.note
    assert at_start(home, ME, latched=False).note == ""
    for name in ("ada", "bob"):
        (tmp_path / "people" / f"{name}.json").unlink()
    assert read_authority(home, ME).mode is Mode.PEOPLE
    with pytest.raises(Usage):
        add_person(home, "../etc", uid=None, keys=[lines[0]])
    with pytest.raises(Usage):
        add_person(home, "empty", uid=None, keys=[])
    add_person(home, "ada", uid=None, keys=[lines[0]])
    with pytest.raises(Busy):
        add_person(home, "ada", uid=None, keys=[lines[0]])


@pytest.mark.parametrize("how", ["write", "remove"])
def test_going_back_to_local_is_offline_recorded_and_never_while_latched(
    room: Room, how: str
) -> None:
    assert at_start(room.home, ME, latched=False).authority.mode is Mode.PEOPLE
    path = Path(f"{room.home}/authority")
    path.unlink()
    if how == "write":
        path.write_text("local\n")
        path.chmod(0o644)
    assert again(room.authority, room.home, ME).mode is Mode.PEOPLE
    latched = at_start(room.home, ME, latched=True)
    assert latched.authority.mode is Mode.PEOPLE
    assert "while latched" in latched.note
    assert len(latched.authority.people.persons) == 2
    free = at_start(room.home, ME, latched=False)
    assert free.authority.mode is Mode.LOCAL
    assert "people to local" in free.note
    assert at_start(room.home, ME, latched=False).note == ""


@pytest.mark.parametrize(
    "word", [b"", b"nobody", b"LOCAL", b"local people", b"\xff\xfe", b"l" * 99]
)
def test_a_garbled_authority_file_lets_nobody_reset(room: Room, sign: Sign, word: bytes) -> None:
    Path(f"{room.home}/authority").write_bytes(word)
    authority = read_authority(room.home, ME)
    assert authority.mode is Mode.PEOPLE
    proofs = [sign(room.keys[name], CASE.digest) for name in ("ada", "bob")]
    ruling = judge(authority, CASE, proofs, room.book, NOW)
    assert not ruling.allowed
    assert ruling.needs


def test_an_authority_file_that_others_can_write_lets_nobody_reset(room: Room) -> None:
    path = Path(f"{room.home}/authority")
    path.write_text("local")
    path.chmod(0o666)
    found = read_authority(room.home, ME)
    assert (found.mode, found.people.persons) == (Mode.PEOPLE, ())
    path.unlink()
    path.symlink_to("/dev/null")
    assert read_authority(room.home, ME).mode is Mode.PEOPLE


def test_people_without_problems_is_what_a_ruling_needs(room: Room) -> None:
    empty = Authority(Mode.PEOPLE)
    assert not judge(empty, CASE, (), room.book, NOW).allowed
