"""Follow what is appended to files, through everything that happens to logs.

    rename + create   the old file is read to its end, then the new one from its beginning
    copytruncate      the size falls, or the last bytes that were read are others: from the start
    unlinked          what is still written into the open file is read until it is quiet
    partial lines     a line is one when its newline is there; until then it waits, cut at 8 KiB
    too much          beyond 4 MiB since the last look the rest is skipped, and counted as lost

A file is known by device and inode, never by its name, so one that is renamed within a
pattern is not read twice. Names are hostile: no component of a path is followed if it is a
link, a FIFO or device is never opened for reading, and a folder's listing is bounded.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from offswitch.control.canary import Canaries, CanaryStream
from offswitch.watch.unlinked import FILE, FOLDER, open_unlinked

__all__ = ["LONGEST_LINE", "MOST_A_LOOK", "Piece", "Tails"]

MOST_A_LOOK = 4 << 20
LONGEST_LINE = 8192
_MOST_ENTRIES = 4096
_MARK = 64
"""Bytes before the place up to which was read: others now mean that it was written anew."""
_QUIET_LOOKS = 10
_PACKED = (".gz", ".xz", ".bz2", ".zst", ".zip", ".lz4")

Identity = tuple[int, int]


@dataclass(slots=True)
class Piece:
    """What came since the last look, of all files together."""

    lines: list[bytes] = field(default_factory=list)
    """Whole lines, without newlines and NULs, each cut at 8 KiB."""
    bytes: int = 0
    """How much was appended, read or not."""
    lost: int = 0
    """How much of it was skipped."""
    rotated: int = 0
    """Files that ended: renamed away, or deleted."""
    truncated: int = 0
    """Times that a file was cut or written anew."""
    canaries: list[str] = field(default_factory=list)
    """Names of the tokens that it holds."""
    files: int = 0
    """How many are followed."""
    omitted: int = 0
    """How many match and are not followed: there are too many."""


class _Tail:
    """One open file."""

    __slots__ = ("_held", "_mark", "_rest", "_stream", "at", "fd", "name", "quiet")

    def __init__(self, fd: int, name: str, at: int, stream: CanaryStream | None) -> None:
        self.fd = fd
        self.name = name
        self.at = at
        self._mark = self._marked()
        self._rest = b""
        self._held = 0
        self._stream = stream
        self.quiet = 0

    @property
    def rest(self) -> int:
        """How many bytes of an unfinished line wait."""
        return len(self._rest)

    def read(self, piece: Piece) -> None:
        """Add what is new to `piece`."""
        size = os.fstat(self.fd).st_size
        if size < self.at or self._mark != self._marked():
            self.at, self._rest, self._held, self._mark = 0, b"", 0, b""
            piece.truncated += 1
        fresh = size - self.at
        if fresh <= 0:
            return
        data = os.pread(self.fd, min(fresh, MOST_A_LOOK), self.at)
        piece.bytes += fresh
        self.at += len(data)
        self._mark = (self._mark + data[-_MARK:])[-_MARK:]
        self._take(data, piece)
        if fresh > MOST_A_LOOK:
            piece.lost += size - self.at
            self.at, self._rest, self._held = size, b"", 0
            self._mark = self._marked()

    def _marked(self) -> bytes:
        return os.pread(self.fd, min(_MARK, self.at), max(self.at - _MARK, 0)) if self.at else b""

    def _take(self, data: bytes, piece: Piece) -> None:
        if self._stream is not None:
            piece.canaries += self._stream.feed(data)
        newline = data.rfind(b"\n")
        self._held = self._held + len(data) if newline < 0 else len(data) - newline - 1
        if b"\0" in data:
            data = data.replace(b"\0", b"")  # what copytruncate leaves before a writer's place
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        piece.lines += [line[:LONGEST_LINE] for line in lines]

    def finish(self, piece: Piece) -> None:
        """Read to the end; what waits for its newline is a line."""
        self.read(piece)
        if self._rest:
            piece.lines.append(self._rest)
        os.close(self.fd)

    def place(self) -> int:
        """Where another life goes on: the begin of the unfinished line, unless that is long."""
        return self.at - self._held if self._held <= LONGEST_LINE else self.at


class Tails:
    """The files that match a path."""

    __slots__ = ("_before", "_canaries", "_first", "_most", "_tails")

    def __init__(
        self, memory: Mapping[str, str], canaries: Canaries | None = None, most: int = 16
    ) -> None:
        """Go on where `memory` says; without one, what stands in the files now is the past."""
        self._before: dict[Identity, int] = {}
        for key, at in memory.items():
            device, _, inode = key.partition(":")
            if device.isdecimal() and inode.isdecimal() and at.isdecimal():
                self._before[int(device), int(inode)] = int(at)
        self._first = not self._before
        self._canaries = canaries
        self._most = most
        self._tails: dict[Identity, _Tail] = {}

    def look(self, folder: str, pattern: str) -> Piece:
        """Read what is new in the files of `folder` that match; OSError where it cannot be read."""
        piece = Piece()
        names = self._match(folder, pattern, piece)
        for identity in [one for one in self._tails if one not in names]:
            self._end(identity, piece)
        for identity, (name, size) in names.items():
            known = self._tails.get(identity)
            if known is None:
                at = size if self._first else 0
                known = self._begin(folder, name, identity, self._before.pop(identity, at))
            if known is not None:
                known.name = name
                known.read(piece)
        if names:
            self._first = False
        piece.files = len(self._tails)
        return piece

    def names(self) -> list[str]:
        """Name the files that are followed."""
        return [tail.name for tail in self._tails.values()]

    @property
    def waiting(self) -> int:
        """How many bytes of unfinished lines wait."""
        return sum(tail.rest for tail in self._tails.values())

    def memory(self) -> dict[str, str]:
        """Give up to where each was read, for another life."""
        return {
            f"{device}:{inode}": str(tail.place()) for (device, inode), tail in self._tails.items()
        }

    def close(self) -> None:
        """Let go of them all."""
        for tail in self._tails.values():
            os.close(tail.fd)
        self._tails.clear()

    def _end(self, identity: Identity, piece: Piece) -> None:
        """A file bears no name any more that matches: it was rotated, or deleted.

        Whoever writes may hold it open for a while, so it is read until it is quiet.
        """
        tail = self._tails[identity]
        before = tail.at
        tail.read(piece)
        tail.quiet = tail.quiet + 1 if tail.at == before else 0
        if tail.quiet >= _QUIET_LOOKS or len(self._tails) > 2 * self._most:
            tail.finish(piece)
            del self._tails[identity]
            piece.rotated += 1

    def _begin(self, folder: str, name: str, identity: Identity, at: int) -> _Tail | None:
        try:
            fd = open_unlinked(folder, name, FILE)
        except FileNotFoundError:
            return None
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) != identity or not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            return None  # it was replaced between two calls: the next look sees what it is
        stream = self._canaries.stream() if self._canaries is not None else None
        tail = self._tails[identity] = _Tail(fd, name, at if at <= facts.st_size else 0, stream)
        return tail

    def _match(self, folder: str, pattern: str, piece: Piece) -> dict[Identity, tuple[str, int]]:
        """Find the files that match, the youngest first where there are too many."""
        try:
            fd = open_unlinked(folder, "", FOLDER)
        except FileNotFoundError:
            return {}
        try:
            names = _listed(fd, folder, pattern)
            found: list[tuple[int, str, os.stat_result]] = []
            for name in names:
                try:
                    facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(facts.st_mode):
                    found.append((facts.st_mtime_ns, name, facts))
                elif names == [pattern]:
                    raise OSError(0, "it is not a regular file")
        finally:
            os.close(fd)
        found.sort(key=lambda one: (-one[0], one[1]))
        piece.omitted = max(len(found) - self._most, 0)
        return {
            (facts.st_dev, facts.st_ino): (name, facts.st_size)
            for _age, name, facts in found[: self._most]
        }


def _listed(fd: int, folder: str, pattern: str) -> Sequence[str]:
    """List the entries that match; a name without a wildcard is taken as it is."""
    if not any(sign in pattern for sign in "*?["):
        return [pattern]
    readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    names = []
    try:
        with os.scandir(readable) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_ENTRIES:
                    raise OSError(0, f"{folder} holds more than {_MOST_ENTRIES} entries")
                if not entry.name.endswith(_PACKED) and fnmatch.fnmatchcase(entry.name, pattern):
                    names.append(entry.name)
    finally:
        os.close(readable)
    return sorted(names)
