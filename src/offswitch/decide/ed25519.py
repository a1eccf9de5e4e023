"""Ed25519, the checking half only: RFC 8032, sections 5.1.3 (decoding) and 5.1.7 (verify).

The warden checks people's signatures under a reset without any third-party package. It
never signs, and it only handles public values, so nothing here needs constant time.

Strict where the RFC leaves room, because a lenient check means that two checkers can
disagree: S must be below L; the public key and R must be spelt canonically; a public key
or an R of small order is refused (with such a key a signature says nothing about the
message); and the equation is the one without the cofactor, with R compared byte for byte.
So whatever is accepted here is accepted by every other checker, never the reverse.

Points are extended coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z. The sum
[S]B - [k]A is made in one pass (Straus) over signed windows of both scalars. About one
millisecond and a half a signature; a reset can afford that.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

__all__ = ["verify"]

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_TWO_D = 2 * _D % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_WIDTH = 5
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64

_Point: TypeAlias = tuple[int, int, int, int]
_IDENTITY: _Point = (0, 1, 1, 0)
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is that of `message` under `public_key`; never raises."""
    if len(public_key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    s = int.from_bytes(signature[32:], "little")
    key = _decode(public_key)
    if s >= _L or key is None or _is_small(key):
        return False
    encoded_r = signature[:32]
    hashed = hashlib.sha512(encoded_r + public_key + message).digest()
    k = int.from_bytes(hashed, "little") % _L
    r = _double_multiply(s, _BASE, k, _negate(key))
    return not _is_small(r) and _encode(r) == encoded_r


def _decode(data: bytes) -> _Point | None:
    """Decode a point (RFC 8032, 5.1.3); None if it is none or not spelt canonically."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    # x^2 = (y^2 - 1) / (d y^2 + 1); the root by one exponentiation, as in the RFC.
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    v3 = v * v * v % _P
    x = u * v3 * pow(u * v3 * v3 * v, (_P - 5) // 8, _P) % _P
    square = v * x * x % _P
    if square == -u % _P and u:
        x = x * _SQRT_MINUS_1 % _P
    elif square != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    affine_x, affine_y = x * inverse % _P, y * inverse % _P
    return (affine_y | (affine_x & 1) << 255).to_bytes(32, "little")


def _negate(point: _Point) -> _Point:
    x, y, z, t = point
    return -x % _P, y, z, -t % _P


def _is_small(point: _Point) -> bool:
    """Tell whether eight times the point is the identity (order 1, 2, 4 or 8)."""
    for _ in range(3):
        point = _double(point)
    x, y, z, _t = point
    return x == 0 and y == z


def _add(a: _Point, b: _Point) -> _Point:
    """Add two points (RFC 8032, 5.1.4); complete, so it also doubles."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    left = (y1 - x1) * (y2 - x2) % _P
    right = (y1 + x1) * (y2 + x2) % _P
    c = t1 * t2 % _P * _TWO_D % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(point: _Point) -> _Point:
    """Double a point (RFC 8032, 5.1.4)."""
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * z * z % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _signed_windows(scalar: int) -> list[int]:
    """Write a scalar in width-5 non-adjacent form: digits odd and below 16, or 0, least first."""
    digits = []
    while scalar:
        digit = 0
        if scalar & 1:
            digit = scalar % (1 << _WIDTH)
            if digit >= 1 << (_WIDTH - 1):
                digit -= 1 << _WIDTH
            scalar -= digit
        digits.append(digit)
        scalar >>= 1
    return digits


def _odd_multiples(point: _Point) -> list[_Point]:
    """Give 1, 3, 5, … 15 times the point."""
    twice = _double(point)
    table = [point]
    for _ in range((1 << (_WIDTH - 2)) - 1):
        table.append(_add(table[-1], twice))
    return table


def _double_multiply(s: int, a: _Point, k: int, b: _Point) -> _Point:
    """Give [s]a + [k]b."""
    tables = (_odd_multiples(a), _odd_multiples(b))
    rows = (_signed_windows(s), _signed_windows(k))
    total = _IDENTITY
    for index in range(max(len(rows[0]), len(rows[1])) - 1, -1, -1):
        total = _double(total)
        for table, digits in zip(tables, rows, strict=True):
            digit = digits[index] if index < len(digits) else 0
            if digit > 0:
                total = _add(total, table[digit >> 1])
            elif digit < 0:
                total = _add(total, _negate(table[-digit >> 1]))
    return total
