"""Signed checkpoints: what the tree is, said once and for all.

    offswitch/0123…cdef                    the origin (c2sp.org/tlog-checkpoint)
    1042                                   how many entries
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=   the root, base64

    — offswitch/0123…cdef Az3grl…          a signature (c2sp.org/signed-note)

A signature is Ed25519 over the text up to the empty line, after four bytes of key id; the
key id is the beginning of SHA-256(name || 0x0A || 0x01 || public key). A verifying key is
spelt `name+key id+base64(0x01 || public key)`. Lines of keys that we do not know are left
alone, as the note format wants: that is where witnesses will sign.

Imports nothing of ours: the verifier stands on this file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["ED25519", "Checkpoint", "VerifyKey", "key_id", "open_checkpoint", "parse_checkpoint"]

ED25519 = b"\x01"
"""The signature type of plain Ed25519 in a note."""

_LONGEST = 1 << 20
_DASH = "\u2014 "
_HASH = 32
_ID = 4
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a tree is: whose, how large, which root."""

    origin: str
    """The name of the log, `offswitch/` and the installation's id."""
    size: int
    """How many entries the tree has."""
    root: bytes
    """The root, 32 bytes."""

    def text(self) -> str:
        """Spell the part that is signed, its last newline included."""
        root = binascii.b2a_base64(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}"


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """The public half of a ledger's key, with its name."""

    name: str
    """The key's name, which is the origin of the log that it signs."""
    raw: bytes
    """The Ed25519 public key, 32 bytes."""

    @classmethod
    def parse(cls, text: str) -> VerifyKey:
        """Read a verifying key; `ValueError` says what is wrong with it."""
        name, _, rest = text.strip().partition("+")
        identity, _, encoded = rest.partition("+")
        if not _NAME.fullmatch(name) or not encoded:
            raise ValueError("not a key: NAME+ID+BASE64 was expected")
        blob = _decode(encoded)
        if blob[:1] != ED25519 or len(blob) != 1 + _HASH:
            raise ValueError("not an Ed25519 key")
        key = cls(name, blob[1:])
        if identity != key.id.hex():
            raise ValueError("the key's id does not belong to its name and bytes")
        return key

    @property
    def id(self) -> bytes:
        """The four bytes that signatures of this key begin with."""
        return key_id(self.name, self.raw)

    def text(self) -> str:
        """Spell it."""
        blob = base64.b64encode(ED25519 + self.raw).decode()
        return f"{self.name}+{self.id.hex()}+{blob}"


def key_id(name: str, raw: bytes) -> bytes:
    """Give the four bytes of key id for a named Ed25519 public key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + raw).digest()[:_ID]


def parse_checkpoint(note: bytes) -> tuple[Checkpoint, str, list[tuple[str, bytes]]]:
    """Take a note apart: checkpoint, signed text, signatures (name, id and bytes). Checks nothing.

    Raises `ValueError` when it is no note or its text is no checkpoint.
    """
    if len(note) > _LONGEST:
        raise ValueError("longer than any checkpoint")
    whole = note.decode("utf-8", "strict")
    text, gap, tail = whole.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise ValueError("not a signed note: the signatures are missing or cut off")
    text += "\n"
    signatures = []
    for line in tail[:-1].split("\n"):
        name, space, blob = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name):
            raise ValueError("not a signed note: a line is no signature")
        signatures.append((name, _decode(blob)))
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004
        raise ValueError("not a checkpoint: origin, size and root were expected")
    root = _decode(lines[2])
    if len(root) != _HASH:
        raise ValueError("not a checkpoint: the root is no SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root), text, signatures


def open_checkpoint(note: bytes, key: VerifyKey) -> Checkpoint:
    """Give the checkpoint in `note` if `key` signed it; `ValueError` says why not."""
    checkpoint, text, signatures = parse_checkpoint(note)
    ours = [blob[_ID:] for name, blob in signatures if (name, blob[:_ID]) == (key.name, key.id)]
    if not ours:
        named = ", ".join(sorted({name for name, _ in signatures}))
        raise ValueError(f"not signed by {key.name} ({key.id.hex()}) but by {named}")
    public = Ed25519PublicKey.from_public_bytes(key.raw)
    for signature in ours:
        try:
            public.verify(signature, text.encode())
        except InvalidSignature:
            raise ValueError(f"the signature of {key.name} is wrong") from None
    if checkpoint.origin != key.name:
        raise ValueError(f"signed by {key.name}, but of another log, {checkpoint.origin!r}")
    return checkpoint


def _decode(text: str) -> bytes:
    """Decode base64 in its one canonical spelling; the decoder alone lets spare bits pass."""
    given = text.encode("ascii", "replace")
    try:
        decoded = base64.b64decode(given, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.b64encode(decoded) != given:
        raise ValueError("not base64 as it must be spelt")
    return decoded
