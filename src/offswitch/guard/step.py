"""One step of an agent: a model call, a tool call, or a new session.

At *restrict* (no new sessions, tools off) model steps still pass, so that an agent can
finish its sentence; from *drain* on no new step begins, while one that has begun may end.
A step is tested when it begins; inside a long one, as between two chunks of a stream, `go_on`
asks whether what has begun may still end: not from *freeze* on, and not without a lease.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from offswitch.control.page import LEASE_SECONDS, RUN
from offswitch.guard.view import View

__all__ = ["Kind", "Step", "limit"]

Kind: TypeAlias = Literal["model", "tool", "session"]

_RESTRICTED = RUN + 1
_DRAINING = RUN + 2
_HIGHEST: dict[str, int] = {"model": _RESTRICTED, "tool": RUN, "session": RUN}


def limit(kind: str) -> int:
    """Give the highest word at which a step of `kind` may begin."""
    try:
        return _HIGHEST[kind]
    except KeyError:
        known = ", ".join(_HIGHEST)
        raise ValueError(f"a step is one of {known}, not {kind!r}") from None


class Step:
    """A step that begins only while it may; `with` and `async with` do the same."""

    __slots__ = ("_args", "_highest", "_kind", "_name", "_view")

    def __init__(
        self, view: View, kind: Kind, name: str, args: Mapping[str, object] | None = None
    ) -> None:
        """Prepare a step; nothing is tested before it is entered."""
        self._args = args
        self._view = view
        self._kind = kind
        self._name = name
        self._highest = limit(kind)

    def begin(self) -> None:
        """Raise `Stopped` if the step may not begin."""
        view = self._view
        fresh = time.clock_gettime(time.CLOCK_BOOTTIME) < view.seconds[LEASE_SECONDS]
        if not fresh or not RUN <= view.words[view.index] <= self._highest:
            raise view.stopped(self._kind, self._name)
        view.report.tell("step", self._kind, self._name, self._args)

    def go_on(self) -> None:
        """Raise `Stopped` if this step, which has begun, may not go on to its end."""
        view = self._view
        fresh = time.clock_gettime(time.CLOCK_BOOTTIME) < view.seconds[LEASE_SECONDS]
        if not fresh or not RUN <= view.words[view.index] <= _DRAINING:
            raise view.stopped(self._kind, self._name)

    def __enter__(self) -> Self:
        """Begin, or raise `Stopped`."""
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        """End; what happened inside is not touched."""

    async def __aenter__(self) -> Self:
        """Begin, or raise `Stopped`."""
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; what happened inside is not touched."""
