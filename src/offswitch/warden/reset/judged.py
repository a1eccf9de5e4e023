"""What a reset is judged by: looked up and weighed where a disk may hang (`core.errands`).

The secret and the authority with its people lie in `home`, and a one-time code is burnt
there before it counts. None of it may hold up the loop, so each look is one errand, and what
it found is a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from offswitch.decide.authority import Authority, Mode, again
from offswitch.decide.secret import check_secret, is_secret_set

__all__ = ["Known", "look", "taken_up"]


@dataclass(frozen=True, slots=True)
class Known:
    """What `home` says about who may reset."""

    authority: Authority
    secret_set: bool
    secret_ok: bool
    """Whether the secret that was brought is the one that is set."""


def look(home: str, owner: int, current: Callable[[], Authority], secret: str | None) -> Known:
    """Look it up; takes 50 ms of a processor where a secret is checked. For the disk's thread."""
    is_set = is_secret_set(home)
    ok = is_set and secret is not None and check_secret(home, secret, owner)
    return Known(again(current(), home, owner), is_set, ok)


def taken_up(current: Authority, found: Authority) -> Authority:
    """Give the authority in force from now on: two looks may overtake, `people` stays."""
    if current.mode is Mode.PEOPLE and found.mode is Mode.LOCAL:
        return current
    return found
