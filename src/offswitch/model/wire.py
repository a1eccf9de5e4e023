"""Canonical JSON and digests: the one spelling that everything signed or named has.

RFC 8785 (JCS), narrowed to what we allow: objects with string keys, arrays, strings and
integers within ±(2^53-1), nested at most 64 deep. Floats, booleans and null have no place
here, so two implementations can not disagree about them. A digest is SHA-256 over a domain
prefix and the canonical bytes; the prefix keeps an order from ever being taken for an entry.
"""

from __future__ import annotations

import hashlib
import json
from typing import TypeAlias

from offswitch.errors import Corrupt

__all__ = ["Canonical", "canonical", "digest", "parse"]

Canonical: TypeAlias = "str | int | list[Canonical] | dict[str, Canonical]"

_LARGEST = 2**53 - 1
_DEEPEST = 64
"""How deeply arrays and objects may be nested: a limit of the format, not of some stack."""


def _check(value: object, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise Corrupt("$: nested too deeply")
    if isinstance(value, bool) or value is None or isinstance(value, float):
        raise Corrupt(f"{where}: only strings, integers, arrays and objects are canonical")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Corrupt(f"{where}: a lone surrogate has no UTF-8") from None
    elif isinstance(value, int):
        if abs(value) > _LARGEST:
            raise Corrupt(f"{where}: {value} is beyond 2^53-1")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Corrupt(f"{where}: a key that is not a string")
            _check(key, where)
            _check(item, f"{where}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", depth + 1)
    else:
        raise Corrupt(f"{where}: {type(value).__name__} is not canonical")


def _utf16(value: object) -> object:
    """Order keys as RFC 8785 section 3.2.3 wants: by UTF-16 code units."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return {key: _utf16(item) for key, item in ordered}
    if isinstance(value, list | tuple):
        return [_utf16(item) for item in value]
    return value


def canonical(value: object) -> bytes:
    """Give the canonical bytes of `value`; raises `Corrupt` and names the place if it has none."""
    _check(value, "$")
    text = json.dumps(_utf16(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def parse(data: bytes) -> Canonical:
    """Read canonical bytes; anything that is not spelt canonically is `Corrupt`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"not JSON: {error}") from None
    if canonical(value) != data:
        raise Corrupt("JSON that is not in its canonical spelling")
    result: Canonical = value
    return result


def digest(domain: str, value: object) -> str:
    """Name `value`: 64 hex digits of SHA-256 over `offswitch/DOMAIN/v1`, a NUL, and its bytes."""
    prefix = f"offswitch/{domain}/v1\0".encode()
    return hashlib.sha256(prefix + canonical(value)).hexdigest()
