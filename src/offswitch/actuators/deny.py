"""The programs that deny a cgroup the network, written by hand (linux/bpf.h, linux/filter.h).

Nothing comes in, no socket is made. Nothing goes out
but one thing: a TCP reset without payload. A dead agent's database or model server thereby
learns at once that its client is gone, drops its transaction and stops computing, instead
of waiting for a time-out with its locks held. A reset carries no data of the target's.
"""

from __future__ import annotations

import struct

from offswitch.actuators.bpf import Attach, Program

__all__ = ["DENY", "bare_reset_only"]

_LOAD_BYTES = 26
"""bpf_skb_load_bytes: the packet's bytes from its IP header on."""
_TCP = 6
_RST = 4


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def _set(register: int, value: int) -> bytes:
    return _op(0xB7, register, value=value)


def _copy(target: int, source: int) -> bytes:
    return _op(0xBF, target, source)


_EXIT = _op(0x95)
_NO = _set(0, 0) + _EXIT


def _unless(code: int, register: int, value: int, otherwise: bytes) -> bytes:
    """Do `otherwise` unless the comparison `code` (a jump) of `register` with `value` holds."""
    return _op(code, register, offset=len(otherwise) // 8, value=value) + otherwise


_IS = 0x15
_HAS = 0x45


def _byte(offset: int | None) -> bytes:
    """Load a byte of the packet into r0, at `offset` or at r2 if None; deny if it is not there."""
    where = b"" if offset is None else _set(2, offset)
    call = _copy(1, 6) + where + _copy(3, 10) + _op(0x07, 3, value=-8) + _set(4, 1)
    call += _op(0x85, value=_LOAD_BYTES)
    return call + _unless(_IS, 0, 0, _NO) + _op(0x71, 0, 10, -8)


def bare_reset_only() -> bytes:
    """Give the egress program: r6 the packet, r7 the length of its IP header."""
    four = (
        _copy(7, 0)
        + _op(0x57, 7, value=15)
        + _op(0x67, 7, value=2)  # IHL, in words
        + _byte(9)
        + _unless(_IS, 0, _TCP, _NO)
    )
    six = _set(7, 40) + _byte(6) + _unless(_IS, 0, _TCP, _NO)
    choose = _byte(0) + _copy(8, 0) + _op(0x77, 8, value=4)
    four_branch = four + _op(0x05, offset=(len(six) + len(_unless(_IS, 8, 6, _NO))) // 8)
    branches = _op(0x55, 8, offset=len(four_branch) // 8, value=4) + four_branch
    branches += _unless(_IS, 8, 6, _NO) + six
    flags = _copy(2, 7) + _op(0x07, 2, value=13) + _byte(None) + _unless(_HAS, 0, _RST, _NO)
    # Data offset (upper nibble of byte 12), in words: the packet must end where TCP's header does.
    bare = _copy(2, 7) + _op(0x07, 2, value=12) + _byte(None)
    bare += _op(0x77, 0, value=4) + _op(0x67, 0, value=2) + _op(0x0F, 7, 0)
    bare += _op(0x61, 1, 6, 0) + _op(0x1D, 7, 1, offset=2) + _NO
    return _copy(6, 1) + choose + branches + flags + bare + _set(0, 1) + _EXIT


DENY: tuple[tuple[Program, Attach, bytes], ...] = (
    (Program.CGROUP_SKB, Attach.EGRESS, bare_reset_only()),
    (Program.CGROUP_SKB, Attach.INGRESS, _NO),
    (Program.CGROUP_SOCK, Attach.SOCK_CREATE, _NO),
)
"""Kind, place and code, in the order in which they are attached: what goes out first."""
