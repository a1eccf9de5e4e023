"""What an entry is made of: final to the byte, whatever comes in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.ledger.seal import LONGEST_BODY, SealedEntry, Stamp, seal, seal_record, unseal
from offswitch.ledger.verifier import unsealed
from offswitch.model.entry import COMMON, REQUIRED, EntryKind, missing_fields
from offswitch.model.wire import parse

GOLDEN = Path(__file__).parent / "golden"
STAMP = Stamp("0" * 32, "b" * 32, 1_750_000_000_000_000, 7_000_000)
PUBLIC = {
    "v": 1,
    "kind": "order",
    "time_us": 1_750_000_000_000_001,
    "mono_us": 5_000_001,
    "boot": "b" * 32,
    "installation": "0" * 32,
    "channel": "cli",
    "scope": "shop/eu/checkout",
    "level": "kill",
    "digest": "d" * 64,
    "prior": "running",
    "state": "stopping",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def fixed_salts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offswitch.ledger.seal.os.urandom", lambda size: bytes(range(size)))


def test_the_spelling_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_salts(monkeypatch)
    made = seal(
        {**PUBLIC, "détail": {"ärger": "naïve 💥", "z": [1, "two"]}},
        {"by": "uid:1000", "reason": "Schreibt Unsinn\n", "argv": ["python", "agent.py"]},
        "journal",
    )
    assert made.body == (GOLDEN / "entry.json").read_bytes()
    assert made.sealed == (GOLDEN / "entry.sealed").read_bytes()


def test_a_sealed_value_stands_in_the_tree_as_its_salted_hash() -> None:
    made = seal(PUBLIC, {"by": "uid:1000", "reason": "nonsense"}, "journal")
    body = json.loads(made.body)
    assert b"nonsense" not in made.body
    for line in made.sealed.split(b"\n"):
        field, salt, value = line.decode().split(" ", 2)
        assert len(bytes.fromhex(salt)) == 16
        text = b"offswitch/sealed/v1\x00" + f"{salt} {value}".encode()
        assert body["sealed"][field] == hashlib.sha256(text).hexdigest()
    assert unseal(made.sealed) == {"by": "uid:1000", "reason": "nonsense"}
    again = seal(PUBLIC, {"by": "uid:1000", "reason": "nonsense"}, "journal")
    assert json.loads(again.body)["sealed"] != body["sealed"]


def check(made: SealedEntry) -> dict[str, Any]:
    """Check what every entry must be; give its public half."""
    assert len(made.body) <= LONGEST_BODY
    body = parse(made.body)  # raises unless it is canonical
    assert isinstance(body, dict)
    assert body["kind"] in set(EntryKind)
    assert unsealed(made.sealed, made.body)
    assert set(unseal(made.sealed)) == set(body["sealed"])
    return body


@given(st.dictionaries(st.text(), JSON, max_size=6), st.dictionaries(st.text(), JSON, max_size=4))
def test_whatever_json_comes_in_becomes_a_canonical_entry(
    public: dict[str, Any], sealed: dict[str, Any]
) -> None:
    check(seal(public, sealed, "socket"))
    check(seal({**PUBLIC, **public}, sealed, "socket"))


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_out_of_the_ring_become_an_entry(record: bytes) -> None:
    check(seal_record(record, STAMP, "journal"))


def test_a_record_that_is_no_entry_is_a_note_with_its_bytes_sealed() -> None:
    for record in (b"\xff\x00garbage", b"[1, 2]", b'{"public": 3}', b"[" * 100_000):
        made = seal_record(record, STAMP, "journal")
        body = check(made)
        assert (body["kind"], body["bytes"]) == ("note", len(record))
        assert "raw" in unseal(made.sealed)


def test_nobody_can_smuggle_in_the_key_that_holds_the_hashes() -> None:
    nested = {'x"sealed': {"by": "0" * 64}, "sealed": {"by": "0" * 64}, "note": '"sealed":{"by":'}
    made = seal({**PUBLIC, **nested, "inner": nested}, {"by": "uid:0"}, "socket")
    check(made)
    assert made.body.count(b'"sealed":{') == 1


def test_names_that_become_the_same_keep_their_values_apart() -> None:
    made = seal({**PUBLIC, 'a"': "1", "a\\": "2"}, {"By": "x", "by": "y", "bÿ": "z"}, "socket")
    body = check(made)
    assert (body["a_"], body["a__"]) == ("1", "2")
    assert sorted(unseal(made.sealed).values()) == ["x", "y", "z"]


def test_what_canonical_json_lacks_becomes_text() -> None:
    odd = {"yes": True, "no": False, "none": None, "pi": 3.25, "big": 2**60, "bad": "a\ud800b"}
    body = check(seal({**PUBLIC, **odd}, {}, "journal"))
    assert body["yes"] == "yes"
    assert body["no"] == "no"
    assert "none" not in body
    assert body["pi"] == "3.25"
    assert body["big"] == str(2**60)
    assert body["bad"] == "a?b"


def test_an_entry_too_large_for_a_bundle_keeps_its_head_and_seals_the_rest() -> None:
    public = {**PUBLIC, "detail": "x" * 200_000}
    made = seal(public, {"by": "uid:0"}, "journal")
    body = check(made)
    assert [key for key in COMMON if key not in body] == []
    values = unseal(made.sealed)
    assert values["public"]["detail"] == "x" * 200_000
    assert values["by"] == "uid:0"
    many = {f"field_{number}": "x" for number in range(5000)}
    made = seal(PUBLIC, many, "journal")
    check(made)
    assert unseal(made.sealed)["sealed"] == many


def test_an_unknown_kind_is_a_note_that_says_so() -> None:
    body = check(seal({**PUBLIC, "kind": "coup"}, {}, "socket"))
    assert (body["kind"], body["said_kind"]) == ("note", "coup")


@pytest.mark.parametrize("kind", list(EntryKind))
def test_REC_2_an_entry_says_who_over_which_channel_why_and_what_changed(kind: EntryKind) -> None:
    required = REQUIRED[kind]
    acts = {"decision", "order", "reset", "run", "start", "bypass"}
    acts |= {"receipt", "refused", "watch", "restart"}
    if kind in acts:
        assert {"channel", "prior", "state"} <= set(required.public)
        assert "by" in required.sealed
        assert "why" in required.public or "reason" in required.sealed
    if kind in {"reset", "bypass", "erase"}:
        assert "reason" in required.sealed
    public = {key: PUBLIC.get(key, "x") for key in (*COMMON, *required.public)} | {"kind": kind}
    sealed = dict.fromkeys(required.sealed, "x")
    assert missing_fields(public, sealed) == []
    assert "missing" not in check(seal(public, sealed, "journal"))
    for key in (*COMMON, *required.public):
        if key != "kind":
            less = {name: value for name, value in public.items() if name != key}
            assert check(seal(less, sealed, "journal"))["missing"] == [key]
    for key in required.sealed:
        less = {name: value for name, value in sealed.items() if name != key}
        assert check(seal(public, less, "journal"))["missing"] == [f"sealed.{key}"]
