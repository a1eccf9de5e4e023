"""SSH signatures: made by the real ssh-keygen, checked by ours."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from needs import needs_program
from offswitch.decide.sshsig import parse_key, parse_signature
from offswitch.errors import Refused

DIGEST = hashlib.sha256(b"a reset").hexdigest()


@pytest.fixture(autouse=True)
def _ssh_keygen() -> None:
    needs_program("ssh-keygen")


def _pack(*items: bytes) -> bytes:
    return b"".join(len(item).to_bytes(4, "big") + item for item in items)


def _armour(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n"


def test_a_signature_of_ssh_keygen_verifies(ssh_key: Callable[[str], Path]) -> None:
    key = ssh_key("ada")
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "offswitch-reset", "-f", str(key)],
        input=DIGEST.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    signature = parse_signature(made)
    assert signature.key == parse_key(key.with_suffix(".pub").read_text())
    assert signature.verifies(DIGEST.encode(), "offswitch-reset")
    assert not signature.verifies(DIGEST.encode(), "git")
    assert not signature.verifies(DIGEST.encode()[::-1], "offswitch-reset")


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_no_damaged_signature_verifies_or_raises_anything_but_refused(
    where: int, change: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
    public = _pack(b"ssh-ed25519", private.public_key().public_bytes_raw())
    fields = _pack(b"offswitch-reset", b"", b"sha512", hashlib.sha512(b"m").digest())
    raw = _pack(b"ssh-ed25519", private.sign(b"SSHSIG" + fields))
    whole = b"SSHSIG\0\0\0\1" + _pack(public, b"offswitch-reset", b"", b"sha512", raw)
    assert parse_signature(_armour(whole)).verifies(b"m", "offswitch-reset")
    damaged = bytearray(whole)
    damaged[where % len(damaged)] ^= change
    try:
        assert not parse_signature(_armour(bytes(damaged))).verifies(b"m", "offswitch-reset")
    except Refused:
        pass


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_arbitrary_text_is_refused_and_nothing_else(text: str) -> None:
    for parse in (parse_key, parse_signature):
        with pytest.raises(Refused):
            parse(text)
    with pytest.raises(Refused):
        parse_signature(f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----")


@pytest.mark.parametrize(("flags", "good"), [(b"\1", True), (b"\0", False), (b"\5", True)])
def test_a_token_must_have_been_touched(
    flags: bytes,
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
    kind = b"sk-ssh-ed25519@openssh.com"
    public = _pack(kind, private.public_key().public_bytes_raw(), b"ssh:")
    inner = b"SSHSIG" + _pack(b"offswitch-reset", b"", b"sha256", hashlib.sha256(b"m").digest())
    suffix = flags + b"\0\0\0\7"
    signed = hashlib.sha256(b"ssh:").digest() + suffix + hashlib.sha256(inner).digest()
    raw = _pack(kind, private.sign(signed)) + suffix
    blob = b"SSHSIG\0\0\0\1" + _pack(public, b"offswitch-reset", b"", b"sha256", raw)
    assert parse_signature(_armour(blob)).verifies(b"m", "offswitch-reset") is good


@pytest.mark.parametrize("kind", ["ecdsa"])
def test_other_kinds_of_keys_are_refused_with_the_way_on(tmp_path: Path, kind: str) -> None:
    key = tmp_path / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
    with pytest.raises(Refused, match="type") as caught:
        parse_key(key.with_suffix(".pub").read_text())
    assert "ed25519" in caught.value.hint
