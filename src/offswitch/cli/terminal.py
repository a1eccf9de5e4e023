"""The person's terminal, and the target's own (SR-14).

A target that is run from a terminal gets another one: its keys and its output are relayed,
its session is its own, and nothing it does to its terminal reaches the person's. While it
runs the person's is in raw mode, so that ^C and ^Z go to the target as keys; it is put
back whatever happens. In the background nothing is read and no mode is set, or the shell
would stop us.
"""

from __future__ import annotations

import fcntl
import os
import signal
import termios
import tty
from typing import Any

__all__ = ["SUSPEND", "Terminal"]

SUSPEND = b"\x1a"
_NO_SIZE = bytes(8)
_TIDY = (
    b"\x1b[?1047l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l"
    b"\x1b[?2004l\x1b[?1l\x1b>\x1b[0m"
)
"""Leave the second screen, show the cursor, let go of mouse, paste and keypad modes."""


class Terminal:
    """The person's terminal at `fd` (stdin) and the master side of the target's."""

    __slots__ = ("_raw", "_usual", "fd", "master", "slave")

    def __init__(self, fd: int) -> None:
        """Open a terminal for the target that looks like the one at `fd`."""
        self.fd = fd
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self._usual: list[Any] = termios.tcgetattr(fd)
        self._raw = False
        termios.tcsetattr(self.slave, termios.TCSANOW, self._usual)
        self.resize()

    @property
    def raw(self) -> bool:
        """Whether the person's terminal is in raw mode now, so that keys may be read."""
        return self._raw

    @property
    def foreground(self) -> bool:
        """Whether we may read this terminal and set its mode."""
        try:
            return os.tcgetpgrp(self.fd) == os.getpgrp()
        except OSError:
            return False

    def enter(self) -> bool:
        """Go to raw mode if we are in the foreground; return whether keys may be read."""
        if not self._raw and self.foreground:
            try:
                self._usual = termios.tcgetattr(self.fd)
                tty.setraw(self.fd, termios.TCSANOW)
            except termios.error:
                return False
            self._raw = True
        return self._raw

    def leave(self) -> None:
        """Put the person's terminal back as it was; at any time, any number of times."""
        if not self._raw:
            return
        self._raw = False
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else the shell could stop us here
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, self._usual)
        except termios.error:
            pass  # the terminal is gone
        finally:
            signal.signal(signal.SIGTTOU, before)

    def resize(self) -> None:
        """Give the target's terminal the size of the person's; the kernel tells its programs."""
        try:
            size = fcntl.ioctl(self.fd, termios.TIOCGWINSZ, _NO_SIZE)
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
        except OSError:
            pass  # the terminal is gone

    def wants_suspend(self, keys: bytes, leader: int) -> bool:
        """Tell whether ^Z among `keys` is meant for all of the target.

        It is, where the terminal turns it into a signal and the target's first process group
        is in front. Behind a shell with job control another group is, and the shell sees to it;
        without one nobody would, as the kernel stops no group that has no parent to wake it.
        """
        if SUSPEND not in keys:
            return False
        try:
            mode = termios.tcgetattr(self.master)
            front = os.tcgetpgrp(self.master)
        except (termios.error, OSError):
            return False
        return (
            bool(mode[3] & termios.ISIG) and mode[6][termios.VSUSP] == SUSPEND and front == leader
        )

    def tidy(self, screen: int) -> None:
        """Undo on `screen` what a full-screen program that was killed could not undo itself."""
        try:
            if not termios.tcgetattr(self.master)[3] & termios.ICANON and os.isatty(screen):
                os.write(screen, _TIDY)
        except (termios.error, OSError):
            pass  # the terminal is gone

    def close_slave(self) -> None:
        """Let go of the target's side, which the target holds now."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def hang_up(self) -> None:
        """Close the master: the kernel hangs the target's terminal up."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
