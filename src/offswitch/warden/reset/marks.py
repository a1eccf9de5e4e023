"""What a reset leaves behind on a target's name: two sets of names, kept for every next warden.

*Written off* (SR-18): a target whose cgroup is gone, or that nobody can look for any more, is
never seen to stand still, so its stop could never be reset. Two people of role safety give it
up, and say on what evidence. That clears the stop and proves nothing: the record says *not
confirmed*. Whatever lives under the name again is killed by an order of the warden's own, which
is reset as any other is; only a reset for which it was seen to stand still ends the mark.

*Staged* (RST-6): what was stopped and has been reset starts restricted, until its probation is
over (`probation`).

A record that cannot be read is said in `status`; of what starts then, everything is staged.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Self

from offswitch.errors import OffswitchError
from offswitch.model.target import check_name
from offswitch.warden.whole_file import write_whole

__all__ = ["STAGED", "WRITTEN_OFF", "Marks"]

WRITTEN_OFF, STAGED = "written-off", "staged"
_LARGEST = 16 << 20


class Marks:
    """One set of names of one installation."""

    __slots__ = ("names", "trouble", "what")

    def __init__(self, what: str, names: Iterable[str] = (), trouble: str = "") -> None:
        """Hold what is kept; `what` names its file."""
        self.what = what
        self.names = frozenset(names)
        self.trouble = trouble
        """What is wrong with the record, for people; empty: nothing."""

    @classmethod
    def kept(cls, what: str, home: str) -> Self:
        """Read what is kept; what cannot be read is said."""
        try:
            with open(f"{home}/{what}.json", "rb") as file:
                found = json.loads(file.read(_LARGEST))
            return cls(what, [check_name(str(name)) for name in list(found)])
        except FileNotFoundError:
            return cls(what)
        except (OSError, ValueError, TypeError, RecursionError, OffswitchError) as error:
            return cls(what, trouble=f"which targets are {what} cannot be read: {error}")

    def __contains__(self, name: str) -> bool:
        """Tell whether a name bears the mark."""
        return name in self.names

    def but(self, more: Collection[str] = (), fewer: Collection[str] = ()) -> Self:
        """Give the set with some names more, and some fewer."""
        return type(self)(self.what, (self.names - {*fewer}) | {*more}, self.trouble)

    def keep(self, home: str) -> None:
        """Write them down; OSError leaves what was kept. For the disk's thread."""
        body = json.dumps(sorted(self.names)).encode()
        write_whole(f"{home}/{self.what}.json", body, durable=True)
