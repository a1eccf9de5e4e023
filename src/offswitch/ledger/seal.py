"""Making an entry: what stands in the tree, and what lies sealed beside it.

The public half becomes canonical JSON (RFC 8785; strings and integers only). Each value of
the sealed half becomes a line beside the tree, and in the tree, under `sealed`, the hash

    FIELD SALT VALUE      salt: 16 random bytes in hex; value: canonical JSON, so no newline
    SHA-256("offswitch/sealed/v1" || 0x00 || SALT || 0x20 || VALUE)

Nobody can guess a value from its hash, and erasing salt and value, which leaves FIELD
alone, breaks no proof. No other object of an entry may bear the key `sealed`.

What comes out of the journal is entered whatever it looks like: losing it would be worse
than entering it oddly. What JSON has and we do not (floats, truth values, null, integers
beyond 2^53-1) becomes text; a record that is no entry at all becomes a `note` with its
bytes sealed; an entry too large for a bundle of tlog-tiles (65,535 bytes) keeps its common
fields, and its public half moves under the seal.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from offswitch.model.entry import COMMON, VERSION, EntryKind, missing_fields
from offswitch.model.wire import Canonical, canonical

__all__ = ["LONGEST_BODY", "SEAL_DOMAIN", "SealedEntry", "Stamp", "seal", "seal_record", "unseal"]

LONGEST_BODY = 0xFFFF
"""The longest entry that an entry bundle of tlog-tiles can carry, in bytes."""
SEAL_DOMAIN = b"offswitch/sealed/v1\0"
"""What every sealed value is hashed after, so that its hash is never taken for another."""

_SALT = 16
_LARGEST = 2**53 - 1
_DEEPEST = 20
_MANY = 100
_FIELD = re.compile(r"[a-z0-9_.]{1,64}")
_ODD_KEY = re.compile(r'["\\\x00-\x1f]')
_KINDS: frozenset[object] = frozenset(EntryKind)
_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry, ready to be stored."""

    body: bytes
    """What is hashed into the tree: canonical JSON, at most `LONGEST_BODY` bytes."""
    sealed: bytes = b""
    """The lines beside the tree, sorted by field, without a newline at the end."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where and when the recorder makes an entry of its own."""

    installation: str
    boot: str
    time_us: int
    mono_us: int

    def public(self, kind: EntryKind, **fields: object) -> dict[str, object]:
        """Give the public half of an entry of the recorder's own."""
        clocks = {"time_us": self.time_us, "mono_us": self.mono_us, "boot": self.boot}
        common = {"v": VERSION, "kind": kind.value, "installation": self.installation}
        return {**common, **clocks, **fields}


def seal(public: Mapping[str, Any], sealed: Mapping[str, Any], via: str) -> SealedEntry:
    """Make an entry of its two halves; `via` says by which door it came to the recorder."""
    lacking = missing_fields(public, sealed)
    body = _object(public, 0)
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        body["kind"] = EntryKind.NOTE.value
        body["said_kind"] = kind if isinstance(kind, str) else _spell(kind or "")
    if lacking:
        body["missing"] = list(lacking)
    body["via"] = via
    values: dict[str, Canonical] = {}
    for name, value in sealed.items():
        values[_new(_field(name), values)] = _plain(value, 0)
    return _assemble(body, values)


def seal_record(payload: bytes, stamp: Stamp, via: str) -> SealedEntry:
    """Make an entry of a record as it came: its JSON if it is one, else a note about it."""
    try:
        record = json.loads(payload)
        public, sealed = record["public"], record.get("sealed") or {}
        if isinstance(public, dict) and isinstance(sealed, dict):
            return seal(public, sealed, via)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    body = stamp.public(EntryKind.NOTE, what="a record that is no entry", bytes=len(payload))
    return seal(body, {"raw": payload.decode("utf-8", "backslashreplace")}, via)


def unseal(lines: bytes) -> dict[str, Any]:
    """Read the values beside the tree; None for one that was erased. Checks no hash."""
    values: dict[str, Any] = {}
    for line in lines.split(b"\n") if lines else ():
        field, _, rest = line.partition(b" ")
        value = rest.partition(b" ")[2]
        values[field.decode()] = json.loads(value) if value else None
    return values


def _assemble(body: dict[str, Canonical], values: dict[str, Canonical]) -> SealedEntry:
    lines: list[bytes] = []
    hashes: dict[str, Canonical] = {}
    salts = os.urandom(_SALT * len(values)).hex()
    for field in sorted(values):
        salt, salts = salts[: 2 * _SALT], salts[2 * _SALT :]
        secret = f"{salt} {_spell(values[field])}".encode()
        lines.append(field.encode() + b" " + secret)
        hashes[field] = sha256(SEAL_DOMAIN + secret).hexdigest()
    whole = _spell({**body, "sealed": hashes}).encode()
    if len(whole) <= LONGEST_BODY:
        return SealedEntry(whole, b"\n".join(lines))
    common: dict[str, Canonical] = {key: body[key] for key in (*COMMON, "via") if key in body}
    common = {key: value for key, value in common.items() if len(_spell(value)) < LONGEST_BODY >> 8}
    moved: dict[str, Canonical] = dict(values)
    if len(values) >= _MANY:
        moved = {"sealed": dict(values)}
    moved[_new("public", moved)] = body
    return _assemble({**common, "oversized": len(whole)}, moved)


def _spell(value: Canonical) -> str:
    """Give the canonical text; Python's own order of keys is RFC 8785's only for ASCII."""
    if type(value) is str:
        return encode_basestring(value)
    text = _encode(value)
    return text if text.isascii() else canonical(value).decode()


def _field(name: object) -> str:
    text = str(name)
    return text if _FIELD.fullmatch(text) else re.sub(r"[^a-z0-9_.]", "_", text.lower())[:64] or "_"


def _new(name: str, among: Mapping[str, object]) -> str:
    """Keep two names apart that are spelt the same here."""
    while name in among:
        name += "_"
    return name


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Canonical]:
    made: dict[str, Canonical] = {}
    for key, item in value.items():
        if item is None:
            continue
        plain = item if type(item) is str and item.isascii() else _plain(item, depth + 1)
        usual = type(key) is str and key.isidentifier() and key != "sealed"
        name = key if usual else _key(key)
        made[_new(name, made) if name in made else name] = plain
    return made


def _key(key: object) -> str:
    name = _ODD_KEY.sub("_", _text(str(key)))
    return "sealed_" if name == "sealed" else name


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _plain(value: Any, depth: int) -> Canonical:  # noqa: ANN401 - here JSON becomes canonical values
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if depth > _DEEPEST:
        return "nested too deeply"
    if kind is dict:
        return _object(value, depth)
    if kind is list or kind is tuple:
        return [_plain(item, depth + 1) for item in value]
    if kind is bool:
        return "yes" if value else "no"
    if kind is float:
        return f"{value:.9g}"
    return "" if value is None else _text(str(value))
