"""On what grounds a reset is asked for: its cause, why it is safe now, what changed.

The cause is always wanted; the station must bring the other two as well, and so must whoever
writes off a target that nobody can look at any more. What is said is sealed in the ledger. It
is also bound into the order, by its nonce, so that what people sign covers it: nobody can have
a reset confirmed on other grounds than were given when it was opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from offswitch.errors import Usage
from offswitch.model.wire import digest

__all__ = ["LONGEST", "Grounds", "clean"]

LONGEST = 2000
"""Characters of one text."""
_LONGEST_NONCE = 64
_NONCE = 32


@dataclass(frozen=True, slots=True)
class Grounds:
    """What somebody says who opens a reset."""

    reason: str
    """The cause."""
    safe: str = ""
    """Why it is safe now."""
    changed: str = ""
    """What changed since the stop."""
    write_off: bool = False
    """Whether what nobody can look at any more is given up as not confirmed."""

    @classmethod
    def read(cls, message: Mapping[str, Any], *, station: bool) -> Self:
        """Read them from a message; raises `Usage` for what is missing."""
        said = {key: clean(message.get(key), LONGEST).strip() for key in _TEXTS}
        if not said["reason"]:
            raise Usage("a reset needs its cause", "add --reason TEXT: what was the matter?")
        write_off = message.get("write_off") is True
        if (station or write_off) and not said["safe"]:
            raise Usage("a reset needs why it is safe now", "say it: --safe TEXT")
        if station and not said["changed"]:
            raise Usage("a reset needs what changed since the stop", "say it: --changed TEXT")
        return cls(**said, write_off=write_off)

    def nonce(self, message: Mapping[str, Any]) -> str:
        """Give the order's nonce: the one that came, or a digest of it and of all that was said."""
        given = clean(message.get("nonce"), _LONGEST_NONCE)
        if not (self.safe or self.changed or self.write_off):
            return given
        return digest("reset-grounds", {"nonce": given, **self.wire()})[:_NONCE]

    def wire(self) -> dict[str, str]:
        """Give it as texts alone."""
        said = asdict(self)
        return {key: str(said[key]) for key in _TEXTS} | {"write_off": str(self.write_off)}

    @classmethod
    def again(cls, passed: Mapping[str, Any], reason: str) -> Self:
        """Take up what the code before has passed on (SR-23)."""
        safe, changed = str(passed.get("safe") or ""), str(passed.get("changed") or "")
        return cls(reason, safe, changed, passed.get("write_off") == str(True))

    def sealed(self) -> dict[str, str | None]:
        """Give what is sealed in the ledger; what was not said is left out."""
        return {key: getattr(self, key) or None for key in _TEXTS}


_TEXTS = ("reason", "safe", "changed")


def clean(value: object, longest: int) -> str:
    """Give a text that has UTF-8, whatever came."""
    return str(value or "")[:longest].encode("utf-8", "replace").decode()
