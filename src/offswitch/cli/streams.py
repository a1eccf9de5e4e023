"""What a target is born with as stdin, stdout and stderr, and what is relayed of it.

Where stdin is a terminal the target gets one of its own; whatever else is a terminal
becomes a pipe, so that no descriptor of the person's terminal ever enters a cell (SR-14).
stdin that is a file or a pipe is passed on as it is; stdout and stderr go through pipes and
are teed into the target's log, or with `--raw` are passed on untouched.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from offswitch.cli.terminal import Terminal

__all__ = ["Streams"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2


@dataclass(slots=True)
class Streams:
    """The three descriptors that a target is born with, and what is relayed of them."""

    given: list[int] = field(default_factory=lambda: [_STDIN, _STDOUT, _STDERR])
    """What the target gets, in order."""
    pumped: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of a pipe's read end and where its bytes go (-1: to the log only)."""
    terminal: Terminal | None = None
    _ours: list[int] = field(default_factory=list)

    @classmethod
    def of_caller(cls, *, raw: bool) -> Streams:
        """Arrange the caller's own three for a target."""
        _fill_gaps()
        streams = cls()
        if os.isatty(_STDIN):
            streams.terminal = terminal = Terminal(_STDIN)
            streams.given = [terminal.slave] * 3
            # What it shows belongs on the person's screen, wherever their stdout goes.
            screen = next((fd for fd in (_STDOUT, _STDERR) if os.isatty(fd)), _STDIN)
            streams.pumped.append((os.dup(terminal.master), screen))
        for fd in (_STDOUT, _STDERR):
            on_screen = os.isatty(fd)
            if streams.terminal is not None and on_screen:
                continue  # a terminal shows both anyway
            if raw and not on_screen:
                streams.given[fd] = fd
            else:
                streams._pipe(fd, fd)
        return streams

    @classmethod
    def detached(cls, *, raw: bool) -> Streams:
        """Arrange streams for a target that nobody looks at: its output goes to the log."""
        streams = cls()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        streams._ours.append(null)
        streams.given = [null] * 3
        if not raw:
            for fd in (_STDOUT, _STDERR):
                streams._pipe(fd, -1)
        return streams

    def _pipe(self, fd: int, sink: int) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        # Programs open /dev/stdout anew; the target's user is another one than the pipe's.
        os.fchmod(write, 0o622)
        self.given[fd] = write
        self._ours.append(write)
        self.pumped.append((read, sink))

    def handed_over(self) -> None:
        """Close our copies of what the target holds now, or its end would never show."""
        for fd in self._ours:
            os.close(fd)
        self._ours.clear()
        if self.terminal is not None:
            self.terminal.close_slave()


def _fill_gaps() -> None:
    """Open whatever of the three is closed: else a pipe of ours would get its number."""
    for fd in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
