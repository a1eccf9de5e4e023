"""Records of an event file: TensorFlow's TFRecord framing, read as bytes arrive.

    length          uint64, little endian
    its CRC         uint32: CRC-32C (Castagnoli, RFC 3720 appendix B.4), masked
    data            `length` bytes
    data's CRC      uint32, likewise

Masked means rotated right by 15 bits and 0xa282ead8 added, as the format has it, so that a CRC
of data that holds CRCs keeps its strength. A writer appends and does not sync, so a record may be
there in part: it is waited for. A wrong CRC of the length means that nothing after it can be
found; one of the data costs this record alone. Only what is to be read is checked whole: the CRC
runs in Python, so a record beyond `CHECKED` bytes (a picture, a histogram) is passed over unread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["CHECKED", "Broken", "Records", "masked_crc"]

CHECKED = 64 << 10
"""Bytes: scalars are hundreds; what is longer is none of ours."""
_HEAD, _TAIL = 12, 4
_LONGEST = 1 << 32
_MASK = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """Give the masked CRC-32C of `data`."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


class Broken(ValueError):
    """The framing cannot be followed any further."""


@dataclass(slots=True)
class Records:
    """Takes bytes in as they come and gives the records that are whole."""

    spoilt: int = 0
    """Records whose data did not match their CRC."""
    passed_over: int = 0
    """Records that were too long to be read."""
    _rest: bytes = b""
    _skip: int = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the records that are whole by now; raises `Broken`."""
        self._rest += data
        at = 0
        try:
            while True:
                if self._skip:
                    passed = min(self._skip, len(self._rest) - at)
                    self._skip -= passed
                    at += passed
                    if self._skip:
                        return
                if len(self._rest) - at < _HEAD:
                    return
                length, crc = struct.unpack_from("<QI", self._rest, at)
                if masked_crc(self._rest[at : at + 8]) != crc or length > _LONGEST:
                    raise Broken("the length of a record is not what its CRC says")
                if length > CHECKED:
                    self.passed_over += 1
                    self._skip = _HEAD + length + _TAIL
                    continue
                end = at + _HEAD + length + _TAIL
                if len(self._rest) < end:
                    return
                record = self._rest[at + _HEAD : end - _TAIL]
                (crc,) = struct.unpack_from("<I", self._rest, end - _TAIL)
                at = end
                if masked_crc(record) == crc:
                    yield record
                else:
                    self.spoilt += 1
        finally:
            self._rest = self._rest[at:]
