"""Targets that were given up: not confirmed, for ever, and stopped should they reappear (SR-18).

A target whose cgroup is gone, or that nobody can look for any more, is never seen to stand
still, so its stop could never be reset. Two people of role safety write it off, and say on what
evidence. That clears the stop and proves nothing: the record says *not confirmed*, and the name
is kept here. Whatever lives under it again is killed by an order of the warden's own, which is
reset as any other is; only that reset, for which it was seen to stand still, ends the mark.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from typing import Self

from offswitch.errors import OffswitchError
from offswitch.model.target import check_name

__all__ = ["WrittenOff"]

_FILE = "written-off.json"
_LARGEST = 1 << 20


class WrittenOff:
    """The names of one installation."""

    __slots__ = ("names", "trouble")

    def __init__(self, names: Iterable[str] = (), trouble: str = "") -> None:
        """Hold what is kept."""
        self.names = frozenset(names)
        self.trouble = trouble
        """What is wrong with the record, for people; empty: nothing."""

    @classmethod
    def kept(cls, home: str) -> Self:
        """Read what is kept; what cannot be read is said."""
        try:
            with open(f"{home}/{_FILE}", "rb") as file:
                found = json.loads(file.read(_LARGEST))
            return cls(check_name(str(name)) for name in list(found))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, RecursionError, OffswitchError) as error:
            return cls(trouble=f"what was written off cannot be read: {error}")

    def but(self, lost: Collection[str], seen: Collection[str]) -> Self:
        """Give the names with those that are given up now, and without those that were seen."""
        return type(self)((self.names - frozenset(seen)) | frozenset(lost), self.trouble)

    def keep(self, home: str) -> None:
        """Write them down; OSError leaves what was kept. For the disk's thread."""
        path = f"{home}/{_FILE}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(f"{path}.new", flags, 0o600), "wb") as file:
            file.write(json.dumps(sorted(self.names)).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)

    def why(self, name: str) -> str:
        """Say why a target that is there must be stopped; empty: it was not written off."""
        return "it was written off, and is there again" if name in self.names else ""
