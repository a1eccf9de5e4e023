"""Who said something: a user of this machine, or a person whom the station has signed in.

    uid:1000      the kernel says it
    person:ada    the station says it, or the owner

Where two people are wanted, one person twice is one: `ada` in the console and ada's own user at
the command line, too. Which user is whose the warden's list of people says; a user who stands
there is that person from then on. Of two answers it must be *sure* that two people gave them: of a
person whose user nobody knows and a user whose person nobody knows it is not, and that is no
second answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from offswitch.errors import Usage

__all__ = ["NOBODY_KNOWN", "Users", "Who", "surely_two", "who_is"]

Users = Mapping[str, int | None]
"""The user id of each person by name; None: nobody has said."""

NOBODY_KNOWN: Users = {}
_PERSON = re.compile(r"person:([a-z][a-z0-9._-]{0,31})")


@dataclass(frozen=True, slots=True)
class Who:
    """One who said something."""

    uid: int | None
    """As the kernel says, or as the warden knows it of the person; None: nobody knows."""
    person: str = ""
    """The person's name; empty: only the user is known."""

    @property
    def text(self) -> str:
        """As entries and orders say it."""
        return f"person:{self.person}" if self.person else f"uid:{self.uid}"

    @property
    def words(self) -> str:
        """The same for people."""
        return self.person or f"user {self.uid}"


def who_is(uid: int, said: str = "", users: Users = NOBODY_KNOWN) -> Who:
    """Say who it is that speaks as `uid`, in the name that was `said` if there is one.

    Whether `uid` may speak in another's name is not asked here. Raises `Usage` for no name.
    """
    if said:
        match = _PERSON.fullmatch(said)
        if match is None:
            raise Usage(f"{said[:80]!r} is no person", 'write it as "person:ada"')
        return Who(users.get(match[1]), match[1])
    return next((Who(uid, name) for name, known in users.items() if known == uid), Who(uid))


def surely_two(one: Who, other: Who) -> bool:
    """Tell whether those are two people for sure."""
    if one.person and other.person:
        return one.person != other.person
    if one.uid is None or other.uid is None:
        return False
    return one.uid != other.uid
