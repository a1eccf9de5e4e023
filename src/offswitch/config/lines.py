"""Where in a TOML file a key stands, so that an error can name its line.

`tomllib` has read the file before and vouches that it is TOML (v1.0); it only forgets
the lines. This walks over the same text and notes the line of every key and of every
array's element, under its path: `("rule", 0, "detectors", 1, "above")`.
"""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["Path", "key_lines", "line_of"]

Path: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_ESCAPE = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[Path, int]:
    """Give the line (from 1) of each key and element of a text that `tomllib` has accepted."""
    return _Scanner(text).scan()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Give the line of `path`, or of the nearest thing above it that has one; 1 for the file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """One pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header()
                index = self._counts[table] = self._counts.get(table, -1) + 1
                table = (*table, index)
                self._note(table)
                self._at += 2
            elif self._text.startswith("[", self._at):
                self._at += 1
                table = self._header()
                self._at += 1
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._lines

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _note(self, path: Path) -> None:
        if path not in self._lines:
            self._lines[path] = self._line()

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _header(self) -> Path:
        """Read the dotted key of a header; an array of tables stands for its last element."""
        path: Path = ()
        for part in self._dotted():
            if path in self._counts and path:
                path = (*path, self._counts[path])
            path = (*path, part)
            self._note(path)
        return path

    def _dotted(self) -> list[str]:
        parts = []
        while True:
            self._skip(_BLANK)
            quote = self._text[self._at : self._at + 1]
            parts.append(self._string() if quote in {'"', "'"} else self._skip(_BARE))
            self._skip(_BLANK)
            if self._text[self._at : self._at + 1] != ".":
                return parts
            self._at += 1

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for part in self._dotted():
            path = (*path, part)
            self._lines.setdefault(path, self._text.count("\n", 0, start) + 1)
        self._at += 1
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._at : self._at + 1]
        if first in {'"', "'"}:
            self._string()
        elif first == "[":
            self._at += 1
            self._items(path)
        elif first == "{":
            self._at += 1
            self._fields(path)
        elif not self._skip(_SCALAR):
            self._at += 1

    def _items(self, path: Path) -> None:
        index = 0
        self._skip(_SPACE)
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._comma()
        self._at += 1

    def _fields(self, path: Path) -> None:
        self._skip(_SPACE)
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip(_SPACE)
        if self._text[self._at : self._at + 1] == ",":
            self._at += 1
            self._skip(_SPACE)

    def _string(self) -> str:
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            return self._long_string(quote * 3)
        self._at += 1
        out = []
        while self._at < len(self._text) and self._text[self._at] != quote:
            if quote == '"' and self._text[self._at] == "\\":
                out.append(_ESCAPE.get(self._text[self._at + 1 : self._at + 2], ""))
                self._at += 2
            else:
                out.append(self._text[self._at])
                self._at += 1
        self._at += 1
        return "".join(out)

    def _long_string(self, quote: str) -> str:
        """Pass over a multi-line string; it is never a key, so its text does not matter."""
        self._at += 3
        while self._at < len(self._text) and not self._text.startswith(quote, self._at):
            self._at += 2 if quote[0] == '"' and self._text[self._at] == "\\" else 1
        self._at += 3
        while self._text.startswith(quote[0], self._at):
            self._at += 1
        return ""
