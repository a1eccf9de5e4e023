"""The memory of a frozen target, copied as far as a time and a size allow (ACT-11).

    PID.maps    what the kernel says lies where (proc(5))
    PID.mem     what lies there, one part after the other; pages of zeros are holes
    PID.parts   one line a part: address, length, where it begins in PID.mem

It is read through /proc/PID/mem while the target stands still. Nobody waits for it: when the
time is up the warden kills, and what was not copied by then reads as nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence

__all__ = ["copy_memory"]

_CHUNK = 1 << 20
_LONGEST_MAPS = 4 << 20
_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (r...) [0-9a-f]+ (\S+) \d+ *(.*)")
_NOT_MEMORY = (b"[vvar", b"[vsyscall]", b"/dev/")

Made = Callable[[str], int]
"""Opens a new file of that name in the evidence's folder."""


def copy_memory(pids: Sequence[int], made: Made, most: int, until_ns: int) -> int:
    """Copy the memory of `pids`, at most `most` bytes, until that time (CLOCK_MONOTONIC).

    Gives how many bytes were read. What cannot be read is left out; a full disk raises OSError.
    """
    done = 0
    for pid in pids:
        if done >= most or time.monotonic_ns() >= until_ns:
            break
        done += _copy_one(pid, made, most - done, until_ns)
    return done


def _copy_one(pid: int, made: Made, most: int, until_ns: int) -> int:
    try:
        with open(f"/proc/{pid}/maps", "rb", buffering=0) as file:
            maps = b"".join(iter(lambda: file.read(1 << 16), b""))[:_LONGEST_MAPS]
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        _write(made(f"{pid}.maps"), maps)
        into, parts = made(f"{pid}.mem"), made(f"{pid}.parts")
        done = 0
        lines = []
        for begin, length in _parts(maps):
            if done >= most or time.monotonic_ns() >= until_ns:
                break
            copied = _copy_part(memory, into, begin, min(length, most - done), done, until_ns)
            lines.append(b"%x %d %d\n" % (begin, copied, done))
            done += copied
        os.ftruncate(into, done)
        os.close(into)
        _write(parts, b"".join(lines))
        return done
    finally:
        os.close(memory)


def _parts(maps: bytes) -> Iterator[tuple[int, int]]:
    """Give address and length of what is worth copying: what the process wrote comes first."""
    found = []
    for line in maps.splitlines():
        match = _LINE.match(line)
        if match is None or match[5].startswith(_NOT_MEMORY):
            continue
        begin, end = int(match[1], 16), int(match[2], 16)
        found.append((b"w" not in match[3], begin, end - begin))
    return iter([(begin, length) for _read_only, begin, length in sorted(found)])


def _copy_part(memory: int, into: int, begin: int, length: int, offset: int, until_ns: int) -> int:
    done = 0
    while done < length and time.monotonic_ns() < until_ns:
        try:
            data = os.pread(memory, min(_CHUNK, length - done), begin + done)
        except OSError:
            break
        if not data:
            break  # it was killed: nothing is there any more
        if data.count(0) != len(data):
            _pwrite(into, data, offset + done)
        done += len(data)
    return done


def _pwrite(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def _write(fd: int, data: bytes) -> None:
    try:
        _pwrite(fd, data, 0)
    finally:
        os.close(fd)
