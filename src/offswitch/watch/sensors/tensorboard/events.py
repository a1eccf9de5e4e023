"""Scalars of TensorBoard events: the few fields of `Event` and `Summary` that carry them.

    Event    1 wall_time (double)  2 step (int64)  5 summary (Summary)
    Summary  1 value (repeated)
    Value    1 tag  2 simple_value (float)  8 tensor (TensorProto)  9 metadata
    Tensor   1 dtype  2 shape  4 tensor_content  5 float_val  6 double_val  7 int_val  10 int64_val

The wire format is Protocol Buffers' (varints, length-prefixed fields), of which any field that is
not named here is passed over. Writers put a scalar as `simple_value` (the older, and PyTorch's) or
as a tensor of one number (TensorFlow 2). Whatever is hostile ends in `Broken` or in nothing: no
length is believed beyond what is there, nothing recurs, and no more than 1,000 values are read
from one event.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from offswitch.watch.sensors.tensorboard.framing import Broken

__all__ = ["Event", "read_event"]

_MOST_VALUES = 1_000
_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WALL_TIME, _STEP, _SUMMARY = 1, 2, 5
_VALUE = 1
_TAG, _SIMPLE, _TENSOR = 1, 2, 8
_DTYPE, _CONTENT, _FLOATS, _DOUBLES, _INTS, _INT64S = 1, 4, 5, 6, 7, 10
_FORMATS = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}
"""DT_FLOAT, DT_DOUBLE, DT_INT32, DT_INT64: how one number of `tensor_content` is spelt."""

Field = tuple[int, int, int | bytes]


@dataclass(frozen=True, slots=True)
class Event:
    """What one event says."""

    wall_time: float
    """UTC in seconds, as the writer had it."""
    step: int
    scalars: tuple[tuple[str, float], ...]
    """Tag and value; the tag is the training program's own text."""


def read_event(data: bytes) -> Event:
    """Read one record; raises `Broken`."""
    wall_time, step = 0.0, 0
    scalars: list[tuple[str, float]] = []
    for number, kind, value in _fields(data):
        if number == _WALL_TIME and kind == _FIXED64 and isinstance(value, bytes):
            (wall_time,) = struct.unpack("<d", value)
        elif number == _STEP and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif number == _SUMMARY and kind == _BYTES and isinstance(value, bytes):
            scalars.extend(_scalars(value, _MOST_VALUES - len(scalars)))
    return Event(wall_time, step, tuple(scalars))


def _scalars(summary: bytes, most: int) -> Iterator[tuple[str, float]]:
    for number, kind, value in _fields(summary):
        if most <= 0:
            return
        if number != _VALUE or kind != _BYTES or not isinstance(value, bytes):
            continue
        most -= 1
        tag, scalar = "", None
        for each, sort, inner in _fields(value):
            if each == _TAG and isinstance(inner, bytes):
                tag = inner.decode("utf-8", "replace")
            elif each == _SIMPLE and sort == _FIXED32 and isinstance(inner, bytes):
                (scalar,) = struct.unpack("<f", inner)
            elif each == _TENSOR and sort == _BYTES and isinstance(inner, bytes):
                scalar = _of_tensor(inner)
        if scalar is not None:
            yield tag, scalar


def _of_tensor(tensor: bytes) -> float | None:
    """Give the number of a tensor that holds one number; None for any other."""
    dtype, found = 0, None
    content = b""
    for number, kind, value in _fields(tensor):
        if number == _DTYPE and isinstance(value, int):
            dtype = value
        elif number == _CONTENT and isinstance(value, bytes):
            content = value
        elif number in (_FLOATS, _DOUBLES, _INTS, _INT64S):
            found = _number(number, kind, value)
    spelt = _FORMATS.get(dtype, "")
    if found is None and spelt and len(content) == struct.calcsize(spelt):
        found = float(struct.unpack(spelt, content)[0])
    return found


def _number(field: int, kind: int, value: int | bytes) -> float | None:
    """Read a repeated number of one, packed or not."""
    spelt = {_FLOATS: "<f", _DOUBLES: "<d"}.get(field)
    if spelt is not None:
        if not isinstance(value, bytes) or len(value) != struct.calcsize(spelt):
            return None
        return float(struct.unpack(spelt, value)[0])
    if isinstance(value, bytes) and kind == _BYTES:
        value, _end = _varint(value, 0)
    if not isinstance(value, int):
        return None
    return float(value - (1 << 64) if value >> 63 else value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at >= len(data):
            raise Broken("a number ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more comes
            return value & ((1 << 64) - 1), at
    raise Broken("a number is too long")


def _fields(data: bytes) -> Iterator[Field]:
    """Go through the fields of a message: number, wire type, value."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise Broken("a field is of no kind that we know")
        if size > len(data) - at:
            raise Broken("a field is longer than its message")
        yield number, kind, data[at : at + size]
        at += size
