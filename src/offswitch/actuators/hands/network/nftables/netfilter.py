"""nf_tables by netlink, as far as a stop needs it: messages in batches, questions, answers.

No library and no `nft`: the layouts are those of linux/netfilter/nf_tables.h and nfnetlink.h. What
changes something goes in a batch, which the kernel does as a whole or not at all; with the
generation that was read before (`generation`) it does it only if nobody changed anything since.
Everything here needs CAP_NET_ADMIN, questions too. Every refusal is an OSError.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

__all__ = [
    "INET",
    "Change",
    "Netfilter",
    "What",
    "listed",
    "nest",
    "number",
    "parse",
    "parse_list",
    "raw",
    "text",
    "wide",
]

INET = 1
"""NFPROTO_INET: IPv4 and IPv6 in one table."""
_NETLINK_NETFILTER = 12
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END, _BATCH_GENID = 0x10, 0x11, 1
_REQUEST, _ACK, _DUMP, _CREATE, _EXCLUSIVE, _APPEND = 1, 4, 0x300, 0x400, 0x200, 0x800
_ERROR, _DONE = 2, 3
_NESTED, _KIND = 0x8000, 0x3FFF
_HEAD = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_FAMILY_LENGTH = 4
_TIMEOUT_S = 0.5
_MOST = 1 << 16
_GENERATION_ID = 1
_LIST_ELEMENT = 1


class What(IntEnum):
    """NFT_MSG_*: what a message is about."""

    NEW_TABLE = 0
    GET_TABLE = 1
    DELETE_TABLE = 2
    NEW_CHAIN = 3
    GET_CHAIN = 4
    NEW_RULE = 6
    GET_RULE = 7
    DELETE_RULE = 8
    NEW_SET = 9
    GET_SET = 10
    NEW_ELEMENT = 12
    GET_ELEMENT = 13
    DELETE_ELEMENT = 14
    GET_GENERATION = 16


@dataclass(frozen=True, slots=True)
class Change:
    """One message of a batch."""

    what: What
    body: bytes
    """Its attributes."""
    append: bool = False
    """Put a rule at the end of its chain, and not before the others."""


def _attribute(kind: int, payload: bytes) -> bytes:
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind)
    return head + payload + bytes(-len(payload) % 4)


def text(kind: int, value: str) -> bytes:
    """Give an attribute that is a name."""
    return _attribute(kind, value.encode("ascii") + b"\0")


def number(kind: int, value: int) -> bytes:
    """Give one that is a number of 32 bits, in the order of networks."""
    return _attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def wide(kind: int, value: int) -> bytes:
    """Give one that is a number of 64 bits, in the order of networks."""
    return _attribute(kind, struct.pack("!Q", value))


def raw(kind: int, value: bytes) -> bytes:
    """Give one that is bytes."""
    return _attribute(kind, value)


def nest(kind: int, *inner: bytes) -> bytes:
    """Give one that holds others."""
    return _attribute(kind | _NESTED, b"".join(inner))


def listed(kind: int, *elements: bytes) -> bytes:
    """Give one that is a list: of each element, its attributes."""
    return nest(kind, *(nest(_LIST_ELEMENT, each) for each in elements))


def parse(payload: bytes) -> dict[int, bytes]:
    """Take attributes apart: kind → what it holds."""
    found, offset = {}, 0
    while offset + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND] = payload[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def parse_list(payload: bytes) -> Iterator[dict[int, bytes]]:
    """Take a list apart: of each element, its attributes."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(payload):
        length, _kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < _ATTRIBUTE.size:
            break
        yield parse(payload[offset + _ATTRIBUTE.size : offset + length])
        offset += (length + 3) & ~3


class Netfilter:
    """A conversation with the kernel's packet filter, in the network where it was begun."""

    __slots__ = ("_number", "_sock")

    def __init__(self) -> None:
        """Begin it."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._sock = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        self._sock.settimeout(_TIMEOUT_S)
        self._number = int.from_bytes(os.urandom(3)) << 7

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End it."""
        self._sock.close()

    def generation(self) -> int:
        """Give the number of the rule set as it is: each change by anybody makes another one."""
        for found in self.ask(What.GET_GENERATION, b""):
            return int.from_bytes(found[_GENERATION_ID])
        raise OSError(errno.EIO, "nf_tables: no generation")

    def change(self, changes: Sequence[Change], generation: int | None = None) -> None:
        """Do all of it or nothing; with a `generation`, only where it is the current one."""
        first = self._next()
        guard = b"" if generation is None else number(_BATCH_GENID, generation)
        data = _message(_BATCH_BEGIN, _REQUEST, first, guard, family=0, subsystem=_NFTABLES)
        for each in changes:
            flags = _REQUEST | _ACK | (_APPEND if each.append else 0)
            flags |= _CREATE if each.what.name.startswith("NEW_") else 0
            kind = _NFTABLES << 8 | each.what
            data += _message(kind, flags, last := self._next(), each.body)
        data += _message(_BATCH_END, _REQUEST, self._next(), b"", family=0, subsystem=_NFTABLES)
        self._sock.send(data)
        self._acknowledged(first, last)

    def _acknowledged(self, first: int, last: int) -> None:
        while True:
            for kind, asked, payload in _split(self._sock.recv(_MOST)):
                if kind != _ERROR or not first <= asked <= last:
                    continue  # late, to a question that we have given up
                (code,) = struct.unpack_from("=i", payload)
                if code:
                    raise OSError(-code, f"nf_tables: {os.strerror(-code)}")
                if asked == last:
                    return

    def ask(
        self, what: What, body: bytes, *, everything: bool = False
    ) -> Iterator[Mapping[int, bytes]]:
        """Ask for one thing, or for `everything` there is of that kind; give its attributes."""
        flags = _REQUEST | (_DUMP if everything else _ACK)
        asked_by = self._next()
        self._sock.send(_message(_NFTABLES << 8 | what, flags, asked_by, body))
        while True:
            for kind, asked, payload in _split(self._sock.recv(_MOST)):
                if asked != asked_by:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code:
                        raise OSError(-code, f"nf_tables: {os.strerror(-code)}")
                    return
                yield parse(payload[_FAMILY_LENGTH:])

    def _next(self) -> int:
        self._number = self._number % 0xFFFFFFFF + 1
        return self._number


def _message(
    kind: int, flags: int, asked: int, body: bytes, *, family: int = INET, subsystem: int = 0
) -> bytes:
    general = struct.pack("!BBH", family, 0, subsystem)
    length = _HEAD.size + len(general) + len(body)
    return _HEAD.pack(length, kind, flags, asked, 0) + general + body


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give the messages in `data`: kind, number, payload."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, kind, _flags, asked, _pid = _HEAD.unpack_from(data, offset)
        if length < _HEAD.size:
            return
        yield kind, asked, data[offset + _HEAD.size : offset + length]
        offset += (length + 3) & ~3
