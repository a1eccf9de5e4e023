"""A whole terminal screen, of which only what changed is written: for slow lines.

A line that did not change costs nothing; a frame that the terminal does not take now is left
out, whole, and the next one is drawn over what is really there. So a line that has stalled
holds up neither the keys nor what they do.
"""

from __future__ import annotations

import io
import os
import select
import shutil
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType

__all__ = ["Screen"]

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_CHUNK = 4096


class Screen:
    """Draws on the terminal at `fd` while it is entered."""

    def __init__(self, fd: int, console: Console) -> None:
        """`console` says which colours the terminal has."""
        self._fd = fd
        self._colours = console.color_system
        self._shown: list[str] = []
        self._rest = b""
        self._blocking = True
        self.written = 0
        """Bytes, for whoever wants to know what a screen costs."""

    def __enter__(self) -> Self:
        """Take the screen; what was there comes back at the end."""
        self._blocking = os.get_blocking(self._fd)
        os.set_blocking(self._fd, False)
        self._rest = _ENTER.encode()
        self._flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._rest = _LEAVE.encode()
        self._flush()
        os.set_blocking(self._fd, self._blocking)

    def size(self) -> tuple[int, int]:
        """Give columns and lines, as they are now."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def draw(self, face: RenderableType) -> None:
        """Show `face`, unless the terminal has not even taken the last one yet."""
        if self._rest:
            self._flush()
            if self._rest:
                return
        width, height = self.size()
        lines = self._lines(face, width)[:height]
        if len(lines) != len(self._shown):
            self._shown = []
        changed = [
            f"\x1b[{number + 1};1H{line}\x1b[0m\x1b[K"
            for number, line in enumerate(lines)
            if number >= len(self._shown) or self._shown[number] != line
        ]
        clear = "" if self._shown else "\x1b[2J"
        self._shown = lines
        self._rest = (clear + "".join(changed)).encode()
        self._flush()

    def _lines(self, face: RenderableType, width: int) -> list[str]:
        text = io.StringIO()
        console = Console(
            file=text,
            width=width,
            force_terminal=True,
            color_system=self._colours or None,  # type: ignore[arg-type]  # as rich named it
            highlight=False,
            legacy_windows=False,
        )
        console.print(face, end="")
        return [line.rstrip(" ") for line in text.getvalue().split("\n")]

    def _flush(self) -> None:
        """Write what it takes now; the rest waits."""
        while self._rest:
            if not select.select([], [self._fd], [], 0)[1]:
                return
            try:
                sent = os.write(self._fd, self._rest[:_CHUNK])
            except BlockingIOError:
                return
            self.written += sent
            self._rest = self._rest[sent:]
