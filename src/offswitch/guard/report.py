"""How a guard tells which steps its program takes: small lines, one way, and never waiting.

`OFFSWITCH_REPORT` names a descriptor that the cell was born with, the write end of a bounded
pipe, and the pipe's inode: a program that closes what it does not know, and opens something
else under that number, must not find our lines in it. What finds no room is dropped and
counted, and the next line that fits says how many. Nothing is ever read back, and nothing
that is reported makes the switch do less (SR-6): a program that says nothing loses nothing.

What a step was given may be told, too: at most twelve arguments, 200 characters of each, as one
flat text a name. A line stays shorter than what a pipe takes at once, whatever is in it.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Mapping

__all__ = ["Report"]

_LONGEST_NAME = 100
_MOST_ARGUMENTS = 12
_LONGEST_ARGUMENT = 200
_LONGEST_LINE = 4000
"""Below 4,096: what a pipe takes whole or not at all (pipe(7))."""
_TOO_LONG = 8
"""Digits that no descriptor has."""


class Report:
    """The way to report of one program; works in threads, and in children after a fork."""

    __slots__ = ("_fd", "_inode", "dropped")

    def __init__(self, named: str | None) -> None:
        """Report by what `OFFSWITCH_REPORT` says; None or nonsense: to nobody."""
        fd, _, inode = (named or "").partition(":")
        sound = fd.isascii() and fd.isdecimal() and len(fd) < _TOO_LONG
        self._fd = int(fd) if sound else -1
        self._inode = inode
        self.dropped = 0
        """How many lines found no room and were not told of yet."""

    def tell(
        self, what: str, kind: str, name: str, args: Mapping[str, object] | None = None
    ) -> None:
        """Report that a step of `kind` began (`what` is "step") or was refused; never raises."""
        if self._fd < 0:
            return
        line: dict[str, object] = {what: kind, "name": name[:_LONGEST_NAME]}
        if args is not None:
            line["args"] = _shortened(args)
        lost = self.dropped
        if lost:
            line["dropped"] = lost
        data = json.dumps(line).encode()
        if len(data) > _LONGEST_LINE:
            data = json.dumps({**line, "args": {}, "cut": True}).encode()
        try:
            self._write(data + b"\n")
        except OSError:
            self.dropped += 1
        else:
            self.dropped -= lost

    def _write(self, line: bytes) -> None:
        """Write it whole or not at all: it is shorter than what a pipe takes at once."""
        info = os.fstat(self._fd)
        if not stat.S_ISFIFO(info.st_mode) or str(info.st_ino) != self._inode:
            self._fd = -1
            raise OSError
        if os.get_blocking(self._fd):
            os.set_blocking(self._fd, False)
        if signal.getsignal(signal.SIGPIPE) is not signal.SIG_DFL:
            os.write(self._fd, line)
            return
        # Nobody reads just now: a program that would die of that must not die of us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        try:
            os.write(self._fd, line)
        except BrokenPipeError:
            signal.sigtimedwait({signal.SIGPIPE}, 0)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shortened(args: Mapping[str, object]) -> dict[str, str]:
    """Give the first arguments, each as a short text; what cannot be told is left out."""
    told: dict[str, str] = {}
    try:
        for name, value in args.items():
            if len(told) == _MOST_ARGUMENTS:
                told["…"] = f"{len(args) - _MOST_ARGUMENTS} more"
                break
            text = value if isinstance(value, str) else json.dumps(value, default=repr)
            shown = text[:_LONGEST_ARGUMENT]
            told[str(name)[:40]] = shown + "…" if len(text) > _LONGEST_ARGUMENT else shown
    except Exception:  # noqa: BLE001 - a program's own object: its step must not fail of being told
        told["…"] = "could not be told"
    return told
