"""Signed checkpoints: C2SP's formats to the byte, and nothing accepted that is not one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from offswitch.errors import Corrupt
from offswitch.ledger.checkpoint import Checkpoint, VerifyKey, open_checkpoint, parse_checkpoint
from offswitch.ledger.key import SigningKey

ORIGIN = "offswitch/0123456789abcdef0123456789abcdef"
SEED = bytes(range(32))
GOLDEN_VKEY = f"{ORIGIN}+dc730379+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
GOLDEN_SIGNATURE = (
    "3HMDeQ57VfsATwwiXQoiqZ04xOR072K9ClUUqsA2DhqkTZZv1AjOiUWAEexRowqSY8o5I8cSZNpBP1sk/IvvVCmt5wg="
)
KEY = SigningKey(ORIGIN, SEED)
CHECKPOINT = Checkpoint(ORIGIN, 1042, bytes(range(32)))


def test_the_spelling_is_final() -> None:
    text = f"{ORIGIN}\n1042\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert KEY.verify_key.text() == GOLDEN_VKEY
    assert CHECKPOINT.text() == text
    assert KEY.sign(CHECKPOINT).decode() == f"{text}\n\u2014 {ORIGIN} {GOLDEN_SIGNATURE}\n"


def test_a_key_that_c2sp_publishes_is_read_and_spelt_the_same() -> None:
    published = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert VerifyKey.parse(published + "\n").text() == published


def test_what_was_signed_opens_with_its_own_key_alone() -> None:
    note = KEY.sign(CHECKPOINT)
    assert open_checkpoint(note, KEY.verify_key) == CHECKPOINT
    with pytest.raises(ValueError, match="not signed by"):
        open_checkpoint(note, SigningKey(ORIGIN, b"x" * 32).verify_key)
    other = SigningKey("offswitch/" + "f" * 32, SEED)
    with pytest.raises(ValueError, match="not signed by"):
        open_checkpoint(note, other.verify_key)


def test_a_checkpoint_of_another_log_is_not_ours_even_if_our_key_signed_it() -> None:
    other = SigningKey("offswitch/" + "f" * 32, SEED)
    with pytest.raises(ValueError, match="does not sign for"):
        other.sign(CHECKPOINT)
    text = CHECKPOINT.text()
    blob = base64.b64encode(other.verify_key.id + other._private.sign(text.encode())).decode()
    note = f"{text}\n\u2014 {other.verify_key.name} {blob}\n".encode()
    with pytest.raises(ValueError, match="of another log"):
        open_checkpoint(note, other.verify_key)


def test_signatures_of_strangers_are_left_alone() -> None:
    note = KEY.sign(CHECKPOINT) + f"\u2014 witness.example {'AAAA' * 20}\n".encode()
    assert open_checkpoint(note, KEY.verify_key) == CHECKPOINT
    assert [name for name, _ in parse_checkpoint(note)[2]] == [ORIGIN, "witness.example"]


def test_every_flipped_bit_of_a_note_is_found() -> None:
    note = KEY.sign(CHECKPOINT)
    for bit in range(8 * len(note)):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r".+"):
            open_checkpoint(bytes(changed), KEY.verify_key)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"origin\n1\n\n",
        b"\xff\xfe",
        b"x" * (2 << 20),
        f"{ORIGIN}\n-1\nAAAA\n\n\u2014 a AAAA\n".encode(),
        f"{ORIGIN}\n01\nAAAA\n\n\u2014 a AAAA\n".encode(),
        f"{ORIGIN}\n1\nAAAA\n\n\u2014 a AAAA\n".encode(),
        f"{ORIGIN}\n1\n{'A' * 43}=\n\n\u2014 a b AAAA\n".encode(),
        f"{ORIGIN}\n1\n{'A' * 43}=\n\n- a AAAA\n".encode(),
        f"{ORIGIN}\n1\n{'A' * 42}B=\n\n\u2014 a AAAA\n".encode(),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_never_crashes(note: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        open_checkpoint(note, KEY.verify_key)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000+", "na me+00000000+AAAA", "name+00000000+AQ==", "++", "n+zz+!!!"],
)
def test_what_is_no_verifying_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        VerifyKey.parse(text)


def test_a_verifying_key_whose_id_is_not_its_own_is_refused() -> None:
    text = KEY.verify_key.text().replace(KEY.verify_key.id.hex(), "00000000")
    with pytest.raises(ValueError, match="does not belong"):
        VerifyKey.parse(text)


def test_the_signing_key_is_stored_privately_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = SigningKey.create(str(path), ORIGIN)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(str(path)).text() == made.text()
    assert made.text().startswith(f"PRIVATE+KEY+{ORIGIN}+{made.verify_key.id.hex()}+")
    for wrong in ("", "PRIVATE+KEY+a+b+c", made.text().replace("PRIVATE", "PUBLIC"), "\x00" * 99):
        path.write_text(wrong)
        with pytest.raises(Corrupt):
            SigningKey.load(str(path))
    path.write_text(made.text().replace(made.verify_key.id.hex(), "00000000"))
    with pytest.raises(Corrupt, match="not its own"):
        SigningKey.load(str(path))
