"""Prometheus' text format 0.0.4 and OpenMetrics 1.0, read line by line, bounded.

    name{label="value",…} value [timestamp] [# {exemplar}]
    {"name",label="value",…} value             as they spell a name that is not of the old kind
    # TYPE name counter|gauge|histogram|summary|untyped|…

prometheus-client's own parser takes eleven microseconds a sample, which at ten looks a second is
half of what watching may cost (MON-5), and its memory has no bound. The same series come back at
every look, so here the part before the value is read once and remembered: 0.6 µs a sample. The
tests hold this reader to that one's answers. What is too long, malformed or shown twice is left
out, and counted; a page that is not text at all is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Line", "NotText", "Page", "Reader"]

_LONGEST_LINE = 4096
_MOST_LABELS = 16
_LONGEST_VALUE = 256
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|(?=\}))')
_QUOTED = re.compile(r'\{\s*"([^"\\\n]*)"\s*(?:,|(?=\}))')
_ESCAPED = re.compile(r"\\(.)")
_CLOSE = re.compile(r"\s*\}")
_MOST_LINES = 100_000
_KINDS = frozenset(
    {
        "counter",
        "gauge",
        "histogram",
        "summary",
        "untyped",
        "unknown",
        "info",
        "stateset",
        "gaugehistogram",
    }
)


class NotText(Exception):
    """It is no page of metrics."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """What stands before a value; a reader gives the same object for the same series."""

    name: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class Page:
    """One page."""

    values: dict[Line, float] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The kind of each family that says one."""
    lines: int = 0
    dropped: int = 0
    """Lines that were left out: malformed, too long, shown twice, or too many."""


class Reader:
    """Reads page after page of one source."""

    __slots__ = ("_kinds", "_known", "_lines", "_most", "_wanted")

    def __init__(self, most: int, only: tuple[str, ...] = ()) -> None:
        """Read `most` series; of metrics in `only` alone, where it names any (or `beginning*`)."""
        self._most = most
        self._wanted = only
        self._known: dict[str, Line | None] = {}
        """None: it is not wanted, or not well formed."""
        self._lines: dict[tuple[str, tuple[tuple[str, str], ...]], Line] = {}
        self._kinds: dict[str, str] = {}

    def wants(self, name: str) -> bool:
        """Tell whether a metric of that name is read."""
        return not self._wanted or any(
            name.startswith(one[:-1]) if one.endswith("*") else name == one for one in self._wanted
        )

    def read(self, data: bytes) -> Page:
        """Read a page; raises `NotText`."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise NotText("it is not UTF-8") from None
        if text.lstrip()[:1] in {"<", "{"}:
            raise NotText("it looks like another kind of page")
        page = Page(kinds=self._kinds)
        if len(self._known) > 4 * self._most + 1000:
            # A source that shows ever new names pays for having them read anew.
            self._known.clear()
            self._lines.clear()
        lines = text.split("\n", _MOST_LINES)
        if len(lines) > _MOST_LINES:
            page.dropped += lines.pop().count("\n") + 1
        for line in lines:
            page.lines += 1
            if not line or line.isspace():
                continue
            if line[0] == "#":
                self._comment(line)
                if line.startswith("# EOF"):
                    break
                continue
            before, _, last = line.rpartition(" ")
            value = _number(last) if before in self._known else None
            known = self._known.get(before)
            if value is None:
                known, value = self._slowly(line, before)
                if value is None:
                    page.dropped += 1
            if known is None or value is None:
                continue
            if known in page.values or len(page.values) >= self._most:
                page.dropped += 1
                continue
            page.values[known] = value
        return page

    def _comment(self, line: str) -> None:
        words = line[:_LONGEST_LINE].split(None, 4)
        typed = len(words) == 4 and words[1] == "TYPE" and words[3] in _KINDS  # noqa: PLR2004
        if typed and self.wants_family(words[2]) and len(self._kinds) < self._most:
            self._kinds[words[2]] = words[3]

    def wants_family(self, family: str) -> bool:
        """Tell whether something of a family may be read; what `only` names may be a part of it."""
        return not self._wanted or any(
            one.rstrip("*").startswith(family) or self.wants(family) for one in self._wanted
        )

    def _slowly(self, line: str, before: str) -> tuple[Line | None, float | None]:
        """Take a line apart; gives the series (None: not wanted) and the value (None: garbage)."""
        if len(line) > _LONGEST_LINE:
            return None, None
        quoted = _QUOTED.match(line)
        name = _NAME.match(quoted[1] if quoted else line)
        if name is None or (quoted and name.end() < len(quoted[1])):
            return None, None
        labels, at = _labels(line, quoted.end() if quoted else name.end(), inside=bool(quoted))
        if labels is None:
            return None, None
        words = line[at:].partition(" # ")[0].split()
        value = _number(words[0]) if words else None
        if value is None or len(words) > 2 or (len(words) == 2 and _number(words[1]) is None):  # noqa: PLR2004 - a value and a time
            return None, None
        made = None
        if self.wants(name[0]):
            key = (name[0], tuple(sorted(labels.items())))
            made = self._lines.setdefault(key, Line(name[0], labels))
        if len(words) == 1 and before.rstrip() == line[:at].rstrip() and " # " not in line[at:]:
            self._known[before] = made
        return made, value


def _labels(line: str, at: int, *, inside: bool) -> tuple[dict[str, str] | None, int]:
    """Read `{…}` from `at` on, if it stands there, or its rest; None: it is malformed."""
    while not inside:
        if line[at : at + 1] == "{":
            inside = True
        elif line[at : at + 1] not in {" ", "\t"}:
            return {}, at
        at += 1
    labels: dict[str, str] = {}
    while True:
        end = _CLOSE.match(line, at)
        if end is not None:
            return labels, end.end()
        label = _LABEL.match(line, at)
        if label is None or label[1] in labels or len(labels) >= _MOST_LABELS:
            return None, at
        value = _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else _unescaped(m[1]), label[2])
        if len(value) > _LONGEST_VALUE:
            return None, at
        labels[label[1]] = value
        at = label.end()


def _unescaped(char: str) -> str:
    return char if char in {'"', "\\"} else f"\\{char}"


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None
