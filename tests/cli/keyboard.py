"""A person at a terminal: a real pty with a real shell in it, typed into and read from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import Self

PATIENCE_S = 20.0


class Keyboard:
    """A shell on a terminal of its own."""

    def __init__(
        self, env: dict[str, str], cwd: str, *argv: str, size: tuple[int, int] = (24, 80)
    ) -> None:
        self.seen = b""
        self._mark = 0
        words = argv or ("/bin/bash", "--norc", "--noprofile", "-i")
        env = {**env, "PS1": "outer> ", "TERM": "xterm", "HISTFILE": "/dev/null"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(words[0], list(words), env)
        self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def drain(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 65536)

    def expect(self, text: str, seconds: float = PATIENCE_S) -> str:
        """Read until `text` comes, after what was expected before; give what came until then."""
        wanted = text.encode()
        end = time.monotonic() + seconds
        while (at := self.seen.find(wanted, self._mark)) < 0:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.fd], [], [], left)[0]
            data = b""
            if ready:
                with contextlib.suppress(OSError):
                    data = os.read(self.fd, 65536)
            if not data:
                shown = self.seen[self._mark :].decode(errors="replace")
                message = f"{text!r} never came; this did: {shown!r}"
                raise AssertionError(message)
            self.seen += data
        came = self.seen[self._mark : at].decode(errors="replace")
        self._mark = at + len(wanted)
        return came

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)
