"""A passkey's word: over this very digest, on our own page, by somebody who was there (SR-5)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authenticator import PRESENT, VERIFIED, Authenticator, b64url
from offswitch.decide.authority import Case, add_person, judge, read_authority
from offswitch.decide.passkey import read_line, read_passkey, verify
from offswitch.decide.totp import CodeBook
from offswitch.errors import Refused
from offswitch.model.level import Level
from scale import runs

DIGEST, OTHER = "ab" * 32, "cd" * 32
RP = "switch.example.com"
NOW = 1_790_000_000_000_000
KEY = Authenticator()


@pytest.mark.parametrize("eddsa", [False, True])
@pytest.mark.parametrize(
    ("rp", "origin"),
    [
        ("localhost", "http://localhost:7474"),
        (RP, f"https://{RP}"),
        (RP, f"https://eu.{RP}:8443"),
    ],
)
def test_SR_5_a_passkeys_word_over_this_digest_counts(*, eddsa: bool, rp: str, origin: str) -> None:
    key = Authenticator(rp, eddsa=eddsa)
    verify(key.word(DIGEST, origin=origin), read_passkey(key.raw), DIGEST)
    name, raw = read_line(key.line("ada"))
    assert (name, read_passkey(raw)) == ("ada", read_passkey(key.raw))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"challenge": b64url(bytes.fromhex(OTHER))}, "not over this digest"),
        ({"challenge": b64url(DIGEST.encode())}, "not over this digest"),
        ({"type": "webauthn.create"}, "not over this digest"),
        ({"origin": f"http://{RP}"}, "not of"),
        ({"origin": f"https://evil-{RP}"}, "not of"),
        ({"origin": "https://example.com"}, "not of"),
        ({"origin": f"https://{RP}.evil.org"}, "not of"),
        ({"origin": f"https://evil.org/.{RP}"}, "not of"),
        ({"origin": f"https://a@{RP}"}, "not of"),
        ({"origin": ["x"]}, "not of"),
        ({"crossOrigin": True}, "within another page"),
        ({"topOrigin": f"https://{RP}"}, "within another page"),
        ({"rp": "evil.org"}, "another site's"),
        ({"flags": VERIFIED}, "who is there"),
        ({"flags": PRESENT}, "who is there"),
        ({"more": b"x"}, "too many"),
    ],
)
def test_SR_5_a_passkeys_word_that_is_wrong_in_one_thing_is_refused(
    wrong: dict[str, Any], why: str
) -> None:
    key = Authenticator(RP)
    with pytest.raises(Refused, match=why):
        verify(
            key.word(DIGEST, **{"origin": f"https://{RP}", **wrong}), read_passkey(key.raw), DIGEST
        )


def test_SR_5_a_passkeys_signature_by_another_key_or_spoilt_is_refused() -> None:
    key, other = Authenticator(RP), Authenticator(RP)
    word = json.loads(key.word(DIGEST, origin=f"https://{RP}").removeprefix("passkey "))
    theirs = json.loads(other.word(DIGEST, origin=f"https://{RP}").removeprefix("passkey "))
    for spoilt in (
        {**word, "signature": theirs["signature"]},
        {**word, "signature": "AAAA"},
        {**word, "authenticatorData": word["authenticatorData"][:-4] + "AAAA"},
        {**word, "clientDataJSON": b64url(b"[]")},
        {**word, "clientDataJSON": "!"},
        {**word, "more": ""},
        {key: value for key, value in word.items() if key != "id"},
        {**word, "id": ""},
        {**word, "id": theirs["id"]},
        [],
    ):
        with pytest.raises(Refused):
            verify("passkey " + json.dumps(spoilt), read_passkey(key.raw), DIGEST)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"id": "AAAA", "key": "AAAA"},
        {"id": "AAAA", "key": "AAAA", "rp": RP},
        {"id": "", "key": Authenticator(RP).raw["key"], "rp": RP},
        {**Authenticator(RP).raw, "rp": "https://x"},
        {**Authenticator(RP).raw, "more": 1},
        {"id": "AAAA", "key": b64url(b"\xa5" + b"\xff" * 80), "rp": RP},
        {"id": "AAAA", "key": b64url(Authenticator(RP).cose + b"\0"), "rp": RP},
        {"id": "AAAA", "key": b64url(Authenticator(RP).cose[:-1] + b"\0\0"), "rp": RP},
        "AAAA",
    ],
)
def test_SR_5_what_is_no_passkey_is_refused(raw: object) -> None:
    with pytest.raises(Refused):
        read_passkey(raw)


def test_SR_5_two_people_confirm_by_passkey_and_a_shared_one_counts_for_neither(
    tmp_path: Path,
) -> None:
    keys = {name: Authenticator() for name in ("ada", "bob")}
    for name, key in keys.items():
        add_person(str(tmp_path), name, uid=None, keys=[], passkeys=[key.raw])
    book = CodeBook(str(tmp_path / "codes"))
    case = Case(DIGEST, Level.KILL, NOW)
    words = [key.word(DIGEST) for key in keys.values()]
    authority = read_authority(str(tmp_path), os.geteuid())
    assert judge(authority, case, words, book, NOW).people == ("ada", "bob")
    assert judge(authority, case, [words[0]] * 2, book, NOW).people == ("ada",)
    with pytest.raises(Refused, match="share"):
        add_person(str(tmp_path), "eve", uid=None, keys=[], passkeys=[keys["ada"].raw])
    eve = {"name": "eve", "passkeys": [{**keys["ada"].raw, "id": "AAAA"}]}
    (tmp_path / "people" / "eve.json").write_text(json.dumps(eve))
    (tmp_path / "people" / "eve.json").chmod(0o600)
    shared = read_authority(str(tmp_path), os.geteuid())
    assert judge(shared, case, words, book, NOW).people == ("bob",)
    assert "ada: a passkey stands under two names" in shared.people.problems


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=8,
)
PARTS = st.sampled_from(["id", "authenticatorData", "clientDataJSON", "signature"])


@settings(max_examples=runs(150), deadline=None)
@given(text=st.text(max_size=200), parts=st.dictionaries(PARTS, JUNK), raw=JUNK, key=st.binary())
def test_SR_5_whatever_comes_in_the_place_of_a_passkeys_word_is_refused_and_no_more(
    text: str, parts: dict[str, object], raw: object, key: bytes
) -> None:
    """Nothing but `Refused` is raised, and nothing counts."""
    mine = read_passkey(KEY.raw)
    word = json.loads(KEY.word(DIGEST).removeprefix("passkey "))
    for proof in (text, json.dumps(parts), json.dumps({**word, **parts}) if parts else "{"):
        with pytest.raises(Refused):
            verify("passkey " + proof, mine, DIGEST)
    for odd in (raw, {"id": "AAAA", "key": b64url(key), "rp": RP}, {**KEY.raw, "key": raw}):
        with pytest.raises(Refused):
            read_passkey(odd)
    with pytest.raises(Refused):
        read_line(text)
