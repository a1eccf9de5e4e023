"""Fuzzing what is read as text or bytes: orders, signatures, codes, people, configuration, scopes.

Each gives a value or an error of ours that names its kind; nothing else comes out of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK, NAMES, broken, budget
from latch_bench import reset, stop
from needs import needs_program
from offswitch.config.load import installed_kinds, parse
from offswitch.control.place import Place
from offswitch.decide.people import read_people
from offswitch.decide.secret import check_secret
from offswitch.decide.sshsig import parse_key, parse_signature
from offswitch.decide.totp import CodeBook, code_at, read_secret
from offswitch.errors import OffswitchError
from offswitch.ledger.checkpoint import VerifyKey, open_checkpoint, parse_checkpoint
from offswitch.ledger.key import SigningKey
from offswitch.model.order import Order, from_wire
from offswitch.model.scope import parse_scope
from offswitch.model.wire import canonical
from offswitch.model.wire import parse as parse_wire
from offswitch.warden.door import spool
from offswitch.warden.door.watch_report import WatchReport

KINDS = installed_kinds()
ORDER = canonical(reset("shop/eu", stop("shop/eu", "n")).wire())
TOML = b"""
[target.shop]
labels = {tenant = "acme"}
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a signature of the real ssh-keygen over `reset`."""
    needs_program("ssh-keygen")
    key = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(key)], check=True
    )
    argv = ["ssh-keygen", "-Y", "sign", "-n", "offswitch-reset", "-f", str(key)]
    done = subprocess.run(argv, input=b"reset", capture_output=True, check=True)
    return done.stdout.decode()


def read(data: bytes) -> Order | None:
    with contextlib.suppress(OffswitchError):
        return from_wire(parse_wire(data))
    return None


@budget(2_000)
@given(broken(ORDER) | JUNK | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"v":1,"kind":"stop","time_us":' + b"9" * 400 + b"}")
@example(b"[" * 100_000)
def test_an_order_is_read_as_it_is_spelt_or_not_at_all(data: bytes) -> None:
    order = read(data)
    if order is not None:
        assert canonical(order.wire()) == data


@budget(2_000)
@given(st.text(max_size=80) | NAMES.map(os.fsdecode))
def test_a_scope_is_one_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(OffswitchError):
        scope = parse_scope(text)
        assert parse_scope(scope.text) == scope


@budget(600)
@given(names=st.lists(NAMES, max_size=6, unique=True))
@example(names=[b"\xff\xfe", b"%2F", b"a\nb", b"\x1b[2J", "\u202e".encode()])
def test_SR_11_any_name_in_the_spool_is_a_scope_or_nothing(
    names: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spool", numbered=True)
    place = Place(str(folder / "home"), str(folder))
    spool.prepare(place, os.getegid())
    wanted = {name for name in names if name not in {b".", b".."}}
    for name in wanted:
        os.close(os.open(os.fsencode(place.spool) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    with contextlib.closing(spool.Scan(place)) as scan:
        found = scan.take()
    assert len(found) == len([name for name in wanted if not name.startswith(b"~taken-")])
    for spooled in found:
        with contextlib.suppress(OffswitchError):
            assert spooled.stop("0" * 32).channel == "spool"


@budget(600)
@given(data=st.data())
def test_SR_5_a_signature_with_anything_wrong_in_it_is_none(
    data: st.DataObject, signed: str
) -> None:
    text = data.draw(broken(signed.encode()) | JUNK).decode("utf-8", "surrogateescape")
    with contextlib.suppress(OffswitchError):
        signature = parse_signature(text)
        if signature.verifies(b"reset", "offswitch-reset"):
            assert signature == parse_signature(signed), "another spelling of the same one"
        assert not signature.verifies(b"another", "offswitch-reset")


@budget(1_000)
@given(text=st.text(max_size=200) | JUNK.map(lambda data: data.decode("latin1")))
def test_a_line_of_a_key_is_one_or_an_error_of_ours(text: str) -> None:
    for reader in (parse_key, read_secret, VerifyKey.parse):
        for line in (text, "ssh-ed25519 " + text):
            with contextlib.suppress(OffswitchError, ValueError):  # as each of them promises
                reader(line)


@budget(600)
@given(note=JUNK | broken(b"offswitch.dev/x\n12\nAAAA\n\n\xe2\x80\x94 x AAAAAAAA\n"))
def test_REC_1_a_checkpoint_is_signed_or_an_error_of_ours(note: bytes) -> None:
    with contextlib.suppress(ValueError):  # as it promises
        parse_checkpoint(note)
    with contextlib.suppress(ValueError):
        open_checkpoint(note, SigningKey("offswitch.dev/x", b"k" * 32).verify_key)
        pytest.fail("nobody has signed this")


@budget(600)
@given(book=JUNK | JSON.map(lambda value: json.dumps(value).encode()), code=st.text(max_size=8))
@example(book=b'{"ada": [1e999, 0, 0]}', code="000000")
@example(book=b"[" * 100_000, code="000000")
@example(book=b"{}", code="\ud800")
def test_SR_5_a_code_counts_once_whatever_the_book_of_codes_holds(
    book: bytes, code: str, tmp_path: Path
) -> None:
    path, secret, now = tmp_path / "codes", b"s" * 20, time.time_ns() // 1000
    path.write_bytes(book)
    right = code_at(secret, now // 30_000_000)
    taken = 0
    for given_code in (code, right, right):
        with contextlib.suppress(OffswitchError):
            CodeBook(str(path)).redeem("ada", secret, given_code, now)
            taken += 1
    assert taken <= 1


@budget(400)
@given(raw=JUNK | JSON.map(lambda value: json.dumps(value).encode()), fields=JSON)
@example(raw=b"[" * 100_000, fields=None)
def test_SR_5_a_person_or_a_secret_that_is_garbled_counts_for_nobody(
    raw: bytes, fields: object, tmp_path: Path
) -> None:
    folder = tmp_path / "people"
    folder.mkdir(mode=0o700, exist_ok=True)
    shaped = {"name": "ada", "uid": fields, "keys": fields, "totp": None}
    for name, data in (("ada", raw), ("bob", json.dumps({**shaped, "name": "bob"}).encode())):
        (folder / f"{name}.json").write_bytes(data)
        (folder / f"{name}.json").chmod(0o600)
    people = read_people(str(tmp_path), os.geteuid())
    assert len(people.persons) + len(people.problems) >= 2
    assert all(not person.keys for person in people.persons)
    (tmp_path / "secret").write_bytes(raw)
    (tmp_path / "secret").chmod(0o600)
    assert not check_secret(str(tmp_path), "correct horse", os.geteuid())


@budget(400)
@given(data=broken(TOML) | JUNK)
@example(data=b"a = " + b"[" * 5000)
@example(data=b"[target.a]\nlimits = {memory = " + b"9" * 5000 + b"}")
def test_a_configuration_is_one_or_an_error_with_its_place(data: bytes) -> None:
    with contextlib.suppress(OffswitchError):
        parse(data, "offswitch.toml", KINDS)


@budget(600)
@given(
    said=st.dictionaries(
        st.sampled_from(
            ["signals", "part", "of", "auto", "blind", "fast", "alarms", "notes", "untracked"]
        ),
        JSON,
    )
)
@example(said={"signals": {"a": {"b": {"age_ms": 10**400}}}})
@example(said={"part": {}, "of": []})
def test_SR_13_whatever_watch_says_is_taken_in(said: dict[str, Any]) -> None:
    report = WatchReport()
    report.take(said, 1)
    for name in (
        "a",
        *(said.get("signals") or {} if isinstance(said.get("signals"), dict) else {}),
    ):
        report.signals(str(name), 10**9)
    assert isinstance(report.blind_scopes(10), list)
