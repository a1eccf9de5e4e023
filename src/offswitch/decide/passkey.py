"""A passkey's word for a reset: a WebAuthn assertion, checked by the warden (WebAuthn 3, 7.2).

    passkey {"id", "authenticatorData", "clientDataJSON", "signature"}      (base64url)

The browser is asked for an assertion whose challenge is the 32 bytes of the very digest that
is to be confirmed, so the proof is good for that and nothing else. What the authenticator signs
is `authenticatorData ‖ SHA-256(clientDataJSON)`. Checked here: that it is an assertion and no
registration; the challenge; that the page lay on a host of the key's relying party, over https
(or on localhost); that the person was there (UP) and was known to the authenticator (UV); and
the signature, ES256 or EdDSA, by the key that was registered for the person. The counter is not
looked at: passkeys that are synchronised keep none, and no challenge comes twice.

A key is given to the warden by root, as one line that the console's page shows:

    passkey:v1:NAME:RP:ID:KEY       ID and KEY (a COSE key, RFC 9052) in base64url
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from enum import IntEnum

from offswitch.decide import ed25519, p256
from offswitch.errors import Refused

__all__ = ["PREFIX", "Passkey", "id_of", "read_line", "read_passkey", "verify"]

PREFIX = "passkey "
"""What a proof by a passkey begins with."""
_LINE = re.compile(
    r"passkey:v1:([a-z][a-z0-9._-]{0,31}):([a-z0-9.-]{1,253}):([A-Za-z0-9_-]{1,1400}):([A-Za-z0-9_-]{1,400})"
)
_RP = re.compile(r"[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*")
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]{1,253})(?::[0-9]{1,5})?")
_LONGEST = 16 << 10
_MOST_ID = 1023
_FIXED = 37
_RP_HASH, _FLAGS = slice(0, 32), 32
_PRESENT, _VERIFIED, _ATTESTED, _EXTENDED = 0x01, 0x04, 0x40, 0x80
_LOCAL = "localhost"
_HINT = "confirm it anew on the page of this very reset"
_COORDINATE = 32


class _Alg(IntEnum):
    """The two algorithms of COSE that are read."""

    ES256 = -7
    EDDSA = -8


@dataclass(frozen=True, slots=True)
class Passkey:
    """One registered key. Equal ids, or equal points, are the same authenticator."""

    id: bytes
    """The credential's id."""
    rp: str
    """The relying party's id: a host's name, such as `offswitch.example.com` or `localhost`."""
    alg: int
    """-7 (ES256) or -8 (EdDSA)."""
    point: bytes
    """The public key: x and y of 32 bytes each (ES256), or 32 bytes (EdDSA)."""


def read_passkey(raw: object) -> Passkey:
    """Read one of a person's file, `{"id", "key", "rp"}`; `Refused` says why it is none."""
    if not isinstance(raw, dict) or set(raw) != {"id", "key", "rp"}:
        raise Refused("a passkey is not id, key and rp")
    rp = raw["rp"]
    if not isinstance(rp, str) or _RP.fullmatch(rp) is None:
        raise Refused("a passkey's rp is no host's name", "such as offswitch.example.com")
    ident = _bytes(raw["id"], "its id")
    if not 0 < len(ident) <= _MOST_ID:
        raise Refused(f"a passkey's id of {len(ident)} bytes")
    alg, point = _cose(_bytes(raw["key"], "its key"))
    return Passkey(ident, rp, alg, point)


def read_line(text: str) -> tuple[str, dict[str, str]]:
    """Read the line that the console shows: the person's name, and what their file says of it."""
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise Refused("that is no passkey's line", "copy it whole: passkey:v1:NAME:RP:ID:KEY")
    raw = {"id": match[3], "key": match[4], "rp": match[2]}
    read_passkey(raw)
    return match[1], raw


def id_of(proof: str) -> bytes:
    """Give the id of the key by which a proof says that it was made."""
    return _bytes(_parts(proof)["id"], "its id")


def verify(proof: str, passkey: Passkey, digest: str) -> None:
    """Check a proof by `passkey` over `digest`, 64 hex digits; `Refused` says what is wrong."""
    parts = {key: _bytes(value, key) for key, value in _parts(proof).items()}
    if parts["id"] != passkey.id:
        raise Refused("the word of another passkey", _HINT)
    client = _client(parts["clientDataJSON"])
    challenge = base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
    if client.get("type") != "webauthn.get" or client.get("challenge") != challenge:
        raise Refused("the passkey's word is not over this digest", _HINT)
    if client.get("crossOrigin") or "topOrigin" in client:
        raise Refused("the passkey was asked from within another page", _HINT)
    if not _lies_within(client.get("origin"), passkey.rp):
        raise Refused(f"the passkey was asked on a page that is not of {passkey.rp}", _HINT)
    data = parts["authenticatorData"]
    if len(data) < _FIXED or data[_RP_HASH] != hashlib.sha256(passkey.rp.encode()).digest():
        raise Refused("the passkey is another site's", _HINT)
    flags = data[_FLAGS]
    if len(data) > _FIXED and not flags & (_ATTESTED | _EXTENDED):
        raise Refused("the passkey's data has bytes too many", _HINT)
    if not flags & _PRESENT or not flags & _VERIFIED:
        raise Refused("the passkey did not ask who is there", "use one with a PIN or a fingerprint")
    signed = data + hashlib.sha256(parts["clientDataJSON"]).digest()
    checks = p256.verify if passkey.alg == _Alg.ES256 else ed25519.verify
    if not checks(passkey.point, signed, parts["signature"]):
        raise Refused("the passkey's signature is wrong", _HINT)


def _parts(proof: str) -> dict[str, object]:
    wanted = {"id", "authenticatorData", "clientDataJSON", "signature"}
    try:
        raw = json.loads(proof.removeprefix(PREFIX)) if len(proof) <= _LONGEST else None
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or set(raw) != wanted:
        raise Refused("that is no passkey's word", _HINT)
    return raw


def _client(data: bytes) -> dict[str, object]:
    try:
        client = json.loads(data)
    except (ValueError, RecursionError):
        client = None
    if not isinstance(client, dict):
        raise Refused("the passkey's clientDataJSON is garbled", _HINT)
    return client


def _lies_within(origin: object, rp: str) -> bool:
    """Tell whether a page's origin is a host of `rp` or below, and nobody could have changed it."""
    match = _ORIGIN.fullmatch(origin) if isinstance(origin, str) else None
    if match is None:
        return False
    scheme, host = match[1], match[2]
    local = host == _LOCAL or host.endswith(f".{_LOCAL}")
    if scheme != "https" and not local:
        return False
    return host == rp or host.endswith(f".{rp}")


def _bytes(value: object, what: str) -> bytes:
    """Read base64url, without padding or with."""
    text = value.rstrip("=") if isinstance(value, str) else " "
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode("utf-8", "replace"):
        raise Refused(f"a passkey: {what} is not base64url")
    return data


# --- the key (RFC 9052, 7; RFC 9053, 7) -----------------------------------------------


def _cose(data: bytes) -> tuple[int, bytes]:
    """Read a COSE key: a CBOR map of small numbers to small numbers or bytes; no more is read."""
    fields = _cbor_map(data)
    kty, alg, curve, x, y = (fields.get(label) for label in (1, 3, -1, -2, -3))
    if not isinstance(x, bytes) or len(x) != _COORDINATE:
        pass
    elif (kty, alg, curve) == (2, _Alg.ES256, 1) and isinstance(y, bytes):
        if len(y) == _COORDINATE and p256.on_curve(x + y):
            return _Alg.ES256, x + y
    elif (kty, alg, curve, y) == (1, _Alg.EDDSA, 6, None):
        return _Alg.EDDSA, x
    raise Refused("a passkey's key is neither ES256 nor EdDSA", "register it anew on the page")


def _cbor_map(data: bytes) -> dict[int, int | bytes]:
    garbled = Refused("a passkey's key is garbled", "copy the line whole")
    at = 0

    def number() -> tuple[int, int]:
        """Read one head: its major type and its argument, up to two bytes long."""
        nonlocal at
        major, short = data[at] >> 5, data[at] & 31
        size = {24: 1, 25: 2}.get(short, 0)
        if short >= 24 and not size:  # noqa: PLR2004 - RFC 8949, 3: longer, or without an end
            raise garbled
        argument = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else short
        at += 1 + size
        return major, argument

    def value() -> int | bytes:
        nonlocal at
        major, argument = number()
        if major <= 1:
            return -1 - argument if major else argument
        if major != 2 or at + argument > len(data):  # noqa: PLR2004 - a byte string
            raise garbled
        at += argument
        return data[at - argument : at]

    try:
        major, count = number()
        fields: dict[int, int | bytes] = {}
        for _ in range(count if major == 5 else 0):  # noqa: PLR2004 - a map
            key = value()
            if not isinstance(key, int) or key in fields:
                raise garbled
            fields[key] = value()
    except IndexError:
        raise garbled from None
    if at != len(data):
        raise garbled
    return fields
