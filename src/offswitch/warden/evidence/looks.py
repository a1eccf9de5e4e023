"""What a look at a target shows: its processes, its open files, its sockets. Hostile content.

All of it is text that the target chose (names, arguments, paths), or that the kernel says of
it. It is taken as bytes of a bounded length, made into text that has UTF-8, and never acted
on. To read an argument or a memory map is to read in the target's memory, and a target can
make that wait for ever; so a look is taken by a thread of its own (see `gatherer`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from offswitch.actuators import sock_diag
from offswitch.warden.cells.descendants import Tracker

__all__ = ["Look", "look", "pids_of"]

MOST_PROCESSES = 256
"""Processes of one target that are described; of the others there is the number."""
_MOST_FILES = 64
_LONGEST = 512
_LONGEST_ARGV = 4096

Look = dict[str, Any]
"""`at_ns` (CLOCK_MONOTONIC), `processes`, `more`, `sockets`: canonical JSON."""


def pids_of(facts: Mapping[str, Any]) -> list[int]:
    """List the processes of a cell and of all cgroups below it."""
    path = facts.get("path")
    if path is None:
        leader, start = int(facts["leader"]), int(facts["leader_start"])
        return [each.pid for each in Tracker(leader, start, str(facts["marker"])).members()]
    found: list[int] = []
    for folder, _folders, _files in os.walk(str(path)):
        data = _read(f"{folder}/cgroup.procs", 1 << 20)
        found.extend(int(word) for word in data.split() if word.isdigit() and word != b"0")
    return found


def look(facts: Mapping[str, Any], diag: sock_diag.Diag | None, known: Look | None = None) -> Look:
    """Look at one target now; `known` is what was seen of it before.

    `diag` was opened before the right to open one was given up.
    """
    pids = pids_of(facts)
    before = {(each["pid"], each["start"]): each for each in (known or {}).get("processes", ())}
    processes = []
    for pid in pids[:MOST_PROCESSES]:
        each = _process(pid, before)
        if each is not None:
            processes.append(each)
    return {
        "at_ns": time.monotonic_ns(),
        "processes": processes,
        "more": max(0, len(pids) - MOST_PROCESSES),
        "sockets": _sockets(facts, diag),
    }


def _process(pid: int, before: Mapping[tuple[int, int], Any]) -> dict[str, Any] | None:
    stat = _read(f"/proc/{pid}/stat", 4096)
    words = stat.rpartition(b")")[2].split()
    if len(words) < 20:  # noqa: PLR2004 - proc(5): up to the start, the 22nd field
        return None
    start = int(words[19])
    known = before.get((pid, start))
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        uid = -1
    name = stat[stat.find(b"(") + 1 : stat.rfind(b")")]
    argv = _read(f"/proc/{pid}/cmdline", _LONGEST_ARGV).split(b"\0")
    return {
        "pid": pid,
        "parent": int(words[1]),
        "uid": uid,
        "state": words[0].decode("ascii", "replace"),
        "start": start,
        "name": _text(name),
        "argv": [_text(word) for word in argv if word] or (known["argv"] if known else []),
        "files": _files(pid),
    }


def _files(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    found = []
    try:
        names = os.listdir(folder)
    except OSError as error:
        return [f"not to be read: {error.strerror}"]
    for name in names[:_MOST_FILES]:
        try:
            found.append(f"{name} {_text(os.fsencode(os.readlink(f'{folder}/{name}')))}")
        except OSError:
            continue
    more = len(names) - _MOST_FILES
    return [*found, f"and {more} more"] if more > 0 else found


def _sockets(facts: Mapping[str, Any], diag: sock_diag.Diag | None) -> list[str]:
    number = facts.get("cgroup_id")
    if number is None or diag is None:
        return []
    try:
        return [sock.where() for sock in diag.sockets_of(int(number))][:MOST_PROCESSES]
    except OSError as error:
        return [f"not to be listed: {error.strerror}"]


def _read(path: str, most: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, most)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _text(data: bytes) -> str:
    return data[:_LONGEST].decode("utf-8", "replace")
