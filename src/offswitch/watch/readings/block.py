"""A block: some readings of one series, one after the other, as they lie in the store.

    "OSR1" | zlib( count u32 | details' length u32 | times | values | details )

Times are microseconds UTC as differences to the one before (int64), values IEEE doubles, both
little-endian and by columns, which zlib shortens to 2 to 5 bytes a reading. Details are JSON,
`{position: {name: text}}`, of those readings that have any. Whoever may write the store may
write nonsense: a block is decoded within bounds, and what is no block is a `Corrupt`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from offswitch.errors import Corrupt

__all__ = ["Block", "Detail", "decode", "encode"]

_MAGIC = b"OSR1"
_HEAD = struct.Struct("<II")
_LARGEST = 8 << 20
"""Bytes, inflated."""
_MOST = 100_000
_FAST = 1

Detail = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Block:
    """Readings of one series, the earliest first."""

    times_us: Sequence[int]
    """UTC; never falling unless the clock was set."""
    values: Sequence[float]
    """Not a number where the value could not be known."""
    details: Mapping[int, Detail]
    """By position; hostile text included."""


def encode(block: Block) -> bytes:
    """Make the bytes of a block."""
    times = np.diff(np.asarray(block.times_us, dtype="<i8"), prepend=np.int64(0))
    values = np.asarray(block.values, dtype="<f8")
    details = json.dumps({str(at): dict(one) for at, one in block.details.items()}).encode()
    head = _HEAD.pack(len(values), len(details) if block.details else 0)
    body = head + times.tobytes() + values.tobytes() + (details if block.details else b"")
    return _MAGIC + zlib.compress(body, _FAST)


def decode(data: bytes) -> Block:
    """Read a block; `Corrupt` for whatever is none."""
    if data[:4] != _MAGIC:
        raise _corrupt("it does not begin as one")
    try:
        body = zlib.decompressobj().decompress(data[4:], _LARGEST)
        count, length = _HEAD.unpack_from(body)
        whole = _HEAD.size + 16 * count + length
        if count > _MOST or whole != len(body):
            raise _corrupt("its lengths do not fit")
        times = np.cumsum(np.frombuffer(body, "<i8", count, _HEAD.size))
        values = np.frombuffer(body, "<f8", count, _HEAD.size + 8 * count)
        said = json.loads(body[whole - length :]) if length else {}
        details = {int(at): {str(k): str(v) for k, v in one.items()} for at, one in said.items()}
    except (zlib.error, struct.error, ValueError, AttributeError, RecursionError) as error:
        raise _corrupt(str(error)) from None
    if not all(0 <= at < count for at in details):
        raise _corrupt("it has details of readings that are not there")
    return Block(times.tolist(), values.tolist(), details)


def _corrupt(why: str) -> Corrupt:
    return Corrupt(f"no block of readings: {why}", "what was read then is lost; nothing else is")
