"""SSH signatures over any bytes, as `ssh-keygen -Y sign` makes them (OpenSSH, PROTOCOL.sshsig).

A signature is a blob in an armour of base64 lines: the magic `SSHSIG`, a version, the
public key, a namespace, a reserved string, the name of a hash, and the signature proper.
What is signed is not the message but

    SSHSIG | string namespace | string reserved | string hash name | string H(message)

so a signature made for mail or for git can not be presented here: its namespace is
another one. Two key types are read: `ssh-ed25519`, and `sk-ssh-ed25519@openssh.com` (a
FIDO token; PROTOCOL.u2f), of which a touch is demanded. Every length is checked against
what is there, nothing may be left over, and whatever is odd is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from offswitch.decide.ed25519 import verify
from offswitch.errors import Refused

__all__ = ["PublicKey", "Signature", "parse_key", "parse_signature"]

_MAGIC = b"SSHSIG"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_PLAIN = b"ssh-ed25519"
_TOKEN = b"sk-ssh-ed25519@openssh.com"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_TOUCHED = 0x01
_LONGEST = 8192
_POINT_BYTES = 32
_LEAST_LINES, _LEAST_WORDS = 3, 2
_HINT = "sign the digest anew: printf %s DIGEST | ssh-keygen -Y sign -n offswitch-reset -f KEY"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key. Equal keys are equal values, whatever comment stood beside them."""

    kind: str
    """`ssh-ed25519` or `sk-ssh-ed25519@openssh.com`."""
    point: bytes
    """The Ed25519 public key, 32 bytes."""
    application: bytes = b""
    """What a FIDO token was enrolled for, usually `ssh:`; empty for a plain key."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was read, and not yet checked."""

    key: PublicKey
    namespace: bytes
    reserved: bytes
    hash_name: bytes
    raw: bytes
    """The Ed25519 signature, 64 bytes."""
    suffix: bytes
    """What a FIDO token adds to what it signs: flags and counter, 5 bytes; else empty."""

    def verifies(self, message: bytes, namespace: str) -> bool:
        """Tell whether this signs `message` in `namespace`, and was touched if by a token."""
        if self.namespace != namespace.encode():
            return False
        hashed = _HASHES[self.hash_name](message).digest()
        fields = (self.namespace, self.reserved, self.hash_name, hashed)
        signed = _MAGIC + b"".join(len(item).to_bytes(4, "big") + item for item in fields)
        if self.key.kind == _TOKEN.decode():
            if not self.suffix[0] & _TOUCHED:
                return False
            application = hashlib.sha256(self.key.application).digest()
            signed = application + self.suffix + hashlib.sha256(signed).digest()
        return verify(self.key.point, signed, self.raw)


class _Reader:
    """Walks over SSH's wire format; anything short or left over is `Refused`."""

    __slots__ = ("_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what

    def take(self, size: int) -> bytes:
        if size > len(self._data):
            raise Refused(f"{self._what} breaks off", _HINT)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def end(self) -> None:
        if self._data:
            raise Refused(f"{self._what} has {len(self._data)} bytes too many", _HINT)


def _key(data: bytes) -> PublicKey:
    reader = _Reader(data, "the public key")
    kind = reader.string()
    if kind not in {_PLAIN, _TOKEN}:
        shown = kind[:40].decode("ascii", "replace")
        raise Refused(f"a key of type {shown!r}", "use an Ed25519 key: ssh-keygen -t ed25519")
    point = reader.string()
    application = reader.string() if kind == _TOKEN else b""
    reader.end()
    if len(point) != _POINT_BYTES:
        raise Refused(f"an Ed25519 key of {len(point)} bytes", _HINT)
    return PublicKey(kind.decode(), point, application)


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{what} is not base64", _HINT) from None


def parse_key(line: str) -> PublicKey:
    """Read one line of a `.pub` or `authorized_keys` file without options."""
    words = line.split()
    if len(words) < _LEAST_WORDS or len(line) > _LONGEST:
        raise Refused("that is no line of an SSH public key", "paste the line of the .pub file")
    key = _key(_base64(words[1], "the public key"))
    if key.kind != words[0]:
        raise Refused(f"a key that says {words[0][:40]!r} and is {key.kind}", _HINT)
    return key


def parse_signature(armoured: str) -> Signature:
    """Read an armoured signature; `Refused` says what is wrong with it."""
    lines = armoured.strip().splitlines()
    if (
        len(armoured) > _LONGEST
        or len(lines) < _LEAST_LINES
        or (lines[0], lines[-1]) != (_BEGIN, _END)
    ):
        raise Refused("that is no SSH signature", _HINT)
    reader = _Reader(_base64("".join(lines[1:-1]), "the signature"), "the signature")
    if reader.take(6) != _MAGIC or reader.take(4) != b"\0\0\0\1":
        raise Refused("that is no SSH signature of version 1", _HINT)
    key = _key(reader.string())
    namespace, reserved, hash_name = reader.string(), reader.string(), reader.string()
    blob = _Reader(reader.string(), "the signature")
    reader.end()
    if hash_name not in _HASHES:
        raise Refused("a signature over an unknown hash", _HINT)
    if blob.string() != key.kind.encode():
        raise Refused("a signature that is not of its own key's type", _HINT)
    raw = blob.string()
    suffix = blob.take(5) if key.kind == _TOKEN.decode() else b""
    blob.end()
    return Signature(key, namespace, reserved, hash_name, raw, suffix)
