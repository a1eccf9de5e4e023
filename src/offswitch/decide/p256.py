"""ECDSA over P-256 with SHA-256, verifying only (FIPS 186-5, 6.4; curve: SP 800-186, 3.2.1.3).

Passkeys sign so (ES256), and the warden, which loads nothing that is not Python's own, must
check them itself. Nothing here is secret: the time that it takes may tell what it likes. A
check takes some milliseconds, which a reset can afford. Whatever is odd is no signature: a
point that is not on the curve, numbers out of range, DER that could be spelt otherwise.
"""

from __future__ import annotations

import hashlib

__all__ = ["on_curve", "verify"]

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_BYTES = 32
_SEQUENCE, _INTEGER = 0x30, 0x02
_LONG_FORM = 0x80

Point = tuple[int, int, int]
"""Jacobian: x = X/Z², y = Y/Z³; Z = 0 is infinity."""
_INFINITY: Point = (1, 1, 0)


def on_curve(point: bytes) -> bool:
    """Tell whether `point`, x and y of 32 bytes each, is a public key of this curve."""
    if len(point) != 2 * _BYTES:
        return False
    x, y = int.from_bytes(point[:_BYTES], "big"), int.from_bytes(point[_BYTES:], "big")
    return x < _P and y < _P and (y * y - (x * x - 3) * x - _B) % _P == 0


def verify(point: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` (DER) over `message` was made by the key of `point`."""
    pair = _read(signature)
    if pair is None or not on_curve(point):
        return False
    r, s = pair
    if not (0 < r < _N and 0 < s < _N):
        return False
    e = int.from_bytes(hashlib.sha256(message).digest(), "big")
    w = pow(s, -1, _N)
    key = int.from_bytes(point[:_BYTES], "big"), int.from_bytes(point[_BYTES:], "big"), 1
    x, _y, z = _sum_of_multiples(e * w % _N, (*_G, 1), r * w % _N, key)
    if z == 0:
        return False
    return x * pow(z, -2, _P) % _P % _N == r


def _read(data: bytes) -> tuple[int, int] | None:
    """Read SEQUENCE { r INTEGER, s INTEGER } in its only spelling; None if it is not that."""
    body = _content(data, _SEQUENCE)
    if body is None or body[1]:
        return None
    first = _content(body[0], _INTEGER)
    second = None if first is None else _content(first[1], _INTEGER)
    if first is None or second is None or second[1]:
        return None
    numbers = [_positive(first[0]), _positive(second[0])]
    return None if numbers[0] is None or numbers[1] is None else (numbers[0], numbers[1])


def _content(data: bytes, tag: int) -> tuple[bytes, bytes] | None:
    """Give the content of one element of the short form, and what follows it."""
    if len(data) < 2 or data[0] != tag or data[1] >= _LONG_FORM:  # noqa: PLR2004 - tag and length
        return None
    end = 2 + data[1]
    return (data[2:end], data[end:]) if end <= len(data) else None


def _positive(content: bytes) -> int | None:
    """Read an INTEGER that is not negative and has no byte too many."""
    if not content or content[0] & 0x80 or (len(content) > 1 and not content[0] | content[1] >> 7):
        return None
    return int.from_bytes(content, "big")


# --- the curve ------------------------------------------------------------------------


def _double(point: Point) -> Point:
    x, y, z = point
    if z == 0 or y == 0:
        return _INFINITY
    square = y * y % _P
    s = 4 * x * square % _P
    zz = z * z % _P
    m = 3 * (x - zz) * (x + zz) % _P  # a = -3
    x3 = (m * m - 2 * s) % _P
    return x3, (m * (s - x3) - 8 * square * square) % _P, 2 * y * z % _P


def _add(one: Point, other: Point) -> Point:
    if one[2] == 0:
        return other
    if other[2] == 0:
        return one
    (x1, y1, z1), (x2, y2, z2) = one, other
    zz1, zz2 = z1 * z1 % _P, z2 * z2 % _P
    u1, u2 = x1 * zz2 % _P, x2 * zz1 % _P
    s1, s2 = y1 * zz2 * z2 % _P, y2 * zz1 * z1 % _P
    if u1 == u2:
        return _double(one) if s1 == s2 else _INFINITY
    h, r = (u2 - u1) % _P, (s2 - s1) % _P
    hh = h * h % _P
    hhh, v = hh * h % _P, u1 * hh % _P
    x3 = (r * r - hhh - 2 * v) % _P
    return x3, (r * (v - x3) - s1 * hhh) % _P, z1 * z2 * h % _P


def _sum_of_multiples(a: int, one: Point, b: int, other: Point) -> Point:
    """Give a·one + b·other, both at once, bit by bit (Shamir's trick)."""
    table = (_INFINITY, one, other, _add(one, other))
    total = _INFINITY
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        total = _add(_double(total), table[(a >> bit & 1) | (b >> bit & 1) << 1])
    return total
