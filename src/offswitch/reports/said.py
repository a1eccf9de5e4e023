"""What one entry says, read with the distrust that a record of hostile things deserves.

An entry came out of a journal that takes whatever it is given (`ledger.seal`): a field may be
missing, or be of another type than it should; an entry that was too large carries its public
half under the seal. Here it becomes one flat value whose questions always have an answer: a
text (cut at a bound), a whole number or None, a list of texts, a mapping of texts.

Two clocks stand in every entry. `moment` uses both to place something that another entry of
the same boot names by the monotonic clock alone, such as when an order was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.ledger.reader import ShownEntry

__all__ = ["Moment", "Said"]

_LONGEST = 2000
_MOST = 20_000
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Moment:
    """One point in time, and which entry says so."""

    wall_us: int
    """UTC, microseconds."""
    mono_us: int | None
    """The monotonic clock of `boot`, microseconds; None: not known."""
    boot: str
    index: int
    """The entry that it comes from."""
    field: str
    """Which of the entry's fields say it."""
    by_wall: bool = False
    """Whether that field is UTC, so that the monotonic time was worked out."""


class Said:
    """One entry, as far as it can be understood."""

    __slots__ = ("boot", "index", "kind", "mono_us", "public", "sealed", "time_us")

    def __init__(self, entry: ShownEntry) -> None:
        public: Mapping[str, Any] = entry.public
        if "oversized" in public and isinstance(entry.sealed.get("public"), dict):
            public = {**public, **entry.sealed["public"]}
        self.index = entry.index
        self.public = public
        self.sealed: Mapping[str, Any] = entry.sealed
        self.kind = str(public.get("kind", ""))
        self.time_us = self.number("time_us") or 0
        self.mono_us = self.number("mono_us")
        self.boot = self.text("boot")

    def text(self, key: str) -> str:
        """Give a public text; empty where there is none."""
        value = self.public.get(key)
        return value[:_LONGEST] if isinstance(value, str) else ""

    def number(self, key: str) -> int | None:
        """Give a public whole number; None where there is none."""
        value = self.public.get(key)
        return value if type(value) is int else None

    def texts(self, key: str) -> list[str]:
        """Give the texts of a public list."""
        value = self.public.get(key)
        if not isinstance(value, list):
            return []
        return [item[:_LONGEST] for item in value[:_MOST] if isinstance(item, str)]

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Give a public object; empty where there is none."""
        value = self.public.get(key)
        return value if isinstance(value, dict) else _NOTHING

    def words(self, key: str) -> str | None:
        """Give a sealed text; None where it is missing or was erased."""
        value = self.sealed.get(key)
        return value[:_LONGEST] if isinstance(value, str) else None

    def word_list(self, key: str) -> tuple[str, ...]:
        """Give the texts of a sealed list."""
        value = self.sealed.get(key)
        if not isinstance(value, list):
            return ()
        return tuple(item[:_LONGEST] for item in value[:100] if isinstance(item, str))

    @property
    def by(self) -> str | None:
        """Who; None where nobody is named, or the name was erased."""
        return self.words("by")

    def known(self, key: str) -> str:
        """Give what a decision lists as known of `key`."""
        prefix = f"{key}: "
        for item in self.texts("known"):
            if item.startswith(prefix):
                return item[len(prefix) :]
        return ""

    # --- moments ------------------------------------------------------------------

    def now(self) -> Moment:
        """When the entry was written."""
        return Moment(self.time_us, self.mono_us, self.boot, self.index, "time_us")

    def at_wall(self, wall_us: int, field: str) -> Moment:
        """A moment that it names as UTC."""
        mono = None if self.mono_us is None else self.mono_us - (self.time_us - wall_us)
        return Moment(wall_us, mono, self.boot, self.index, field, by_wall=True)

    def at_mono(self, mono_us: int, field: str) -> Moment:
        """A moment that it names by the monotonic clock of its boot."""
        wall = self.time_us - ((self.mono_us or mono_us) - mono_us)
        return Moment(wall, mono_us, self.boot, self.index, field)
