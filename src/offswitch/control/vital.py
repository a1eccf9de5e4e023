"""The sign of life: a word in the page by which the kernel itself says that the warden died.

    warden   holds the word as a robust lock of its main thread (its thread id stands in it)
    kernel   marks the word the moment that thread dies, whatever killed it, and wakes a waiter
    keeper   waits for that word in a thread of its own, mapping the page read-only

A process that is killed is dead for its pidfd and hangs up its sockets only when its memory
is torn down and its last thread has ended: 2 to 10 ms, by the size and the load. The mark
comes first of all that. It makes the loss of the warden *sooner* known and is relied on for
nothing: only one waiter is woken, and pidfd and lease still say the same.

The word is given up before an exec, which the kernel would mark as well. Source: the kernel's
Documentation/locking/robust-futex-ABI.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import sys
import threading

from offswitch.control.page import VITAL

__all__ = ["Vital", "await_death"]

_WAITERS = 0x8000_0000
_OWNER_DIED = 0x4000_0000
_FUTEX_WAIT = 0
_STACK = 256 * 1024
"""The keeper's memory is locked: a thread with the usual stack would hold eight megabytes."""
_FAILED = ctypes.c_void_p(-1).value
_NUMBERS = {"x86_64": (202, 273), "aarch64": (98, 99)}
"""The calls `futex` and `set_robust_list`."""


def _calls() -> tuple[int, int] | None:
    return _NUMBERS.get(platform.machine())


class _Head(ctypes.Structure):
    _fields_ = (
        ("next", ctypes.c_void_p),
        ("offset", ctypes.c_long),
        ("pending", ctypes.c_void_p),
        ("entry", ctypes.c_void_p),
    )
    """The kernel's three, and behind them the list's only entry, which points back to its head."""


class Vital:
    """The warden's side. Made by the thread whose death it marks."""

    def __init__(self, page: mmap.mmap) -> None:
        """Hold the word in the writable mapping `page`; where that cannot be, hold nothing."""
        libc = ctypes.CDLL(None)
        self._page = page  # unmapped, it could not be marked
        at_word = ctypes.addressof(ctypes.c_char.from_buffer(page)) + VITAL * 8
        self._word = ctypes.c_uint32.from_address(at_word)
        self._head = head = _Head()
        at = ctypes.addressof(head)
        entry = at + _Head.entry.offset
        head.next, head.entry, head.pending = entry, at, None
        head.offset = at_word - entry
        calls = _calls()
        size = ctypes.c_size_t(_Head.entry.offset)
        if calls is None or libc.syscall(ctypes.c_long(calls[1]), ctypes.byref(head), size):
            return
        self._word.value = threading.get_native_id() | _WAITERS

    def give_up(self) -> None:
        """Hold it no longer: this is an end that was told, or an exec."""
        self._head.next = ctypes.addressof(self._head)
        self._word.value = 0


def await_death(path: str, priority: int) -> int:
    """Give a descriptor that is readable once the holder died; where nobody can tell, never.

    `path` names the page; `priority` is the waiting thread's, where that is allowed.
    """
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
        with contextlib.suppress(OSError):
            if _marked(path):
                os.write(tell, b"1")

    before = threading.stack_size(_STACK)
    threading.Thread(target=wait, name="vital", daemon=True).start()
    threading.stack_size(before)
    return told


def _marked(path: str) -> bool:
    """Wait until the word is marked; false where nobody can wait, or the page was cut short.

    The word is read and not looked at in the mapping: a page that is cut short kills who looks.
    """
    calls = _calls()
    if calls is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        word = _mapped(libc, fd) + VITAL * 8
        while read := os.pread(fd, 4, VITAL * 8):
            value = int.from_bytes(read, sys.byteorder)
            if value & _OWNER_DIED:
                return True
            told = libc.syscall(
                ctypes.c_long(calls[0]),
                ctypes.c_void_p(word),
                ctypes.c_int(_FUTEX_WAIT),
                ctypes.c_uint32(value),
                None,
            )
            if told and ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
                return False
    finally:
        os.close(fd)
    return False


def _mapped(libc: ctypes.CDLL, fd: int) -> int:
    """Map the page's head read-only, for good, and give its address, which `mmap` does not."""
    libc.mmap.restype = ctypes.c_void_p
    size = ctypes.c_size_t(mmap.PAGESIZE)
    start = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
    if start == _FAILED:
        raise OSError(ctypes.get_errno(), "the page cannot be mapped")
    return int(start)
