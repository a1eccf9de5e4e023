"""The guard: `check` before each step, `allowed` to ask, `step` and `protect` to wrap.

`Guard.from_env()` finds the page and the word in the environment that every cell has
(`OFFSWITCH_PAGE`, `OFFSWITCH_WORD`). A program without them does not run under the switch;
that is an error and not a guard that lets everything pass, unless it is asked for by name
(`unguarded="allow"`, for a laptop or a unit test). Half an environment is never forgiven.

`check` and `allowed` are made once for the two words that they read: no attribute is looked
up and nothing is allocated but the clock's number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, overload

from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, RUN
from offswitch.errors import Unreachable
from offswitch.guard.protect import protected
from offswitch.guard.report import Report
from offswitch.guard.step import Kind, Step
from offswitch.guard.view import View, attach

__all__ = ["Guard"]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def _closures(view: View) -> tuple[Callable[[], None], Callable[[], bool]]:
    words, seconds, index, stopped = view.words, view.seconds, view.index, view.stopped
    clock, boottime = time.clock_gettime, time.CLOCK_BOOTTIME

    # What is looked up stands in the defaults, since local names are the cheapest in CPython.
    def check(
        words: memoryview[int] = words,
        index: int = index,
        clock: Callable[[int], float] = clock,
        boottime: int = boottime,
        seconds: memoryview[float] = seconds,
        lease: int = LEASE_SECONDS,
        run: int = RUN,
    ) -> None:
        """Return if the program may go on; raise `Stopped` if it is latched or unvouched for."""
        if words[index] == run and clock(boottime) < seconds[lease]:
            return
        raise stopped()

    def allowed() -> bool:
        """Tell whether the program may go on."""
        return words[index] == RUN and clock(boottime) < seconds[LEASE_SECONDS]

    return check, allowed


def _free_view() -> View:
    """Make up a page whose lease never ends."""
    page = bytearray((FIRST_WORD + 1) * 8)
    with memoryview(page) as data:
        data.cast("d")[LEASE_SECONDS] = float("inf")
        data.cast("q")[FIRST_WORD] = RUN
    return View(memoryview(page).toreadonly(), FIRST_WORD, "")


class Guard:
    """One program's view of its own latch. Safe in threads and across `fork`."""

    __slots__ = ("_view", "allowed", "check")

    check: Callable[[], None]
    """Raise `Stopped` at any latch, or when nobody renews the lease; else return at once."""
    allowed: Callable[[], bool]
    """Tell whether `check` would return."""

    def __init__(self, view: View) -> None:
        """Guard by a view of the page; programs use `from_env` or `from_page`."""
        self._view = view
        self.check, self.allowed = _closures(view)

    @classmethod
    def from_env(cls, *, unguarded: Literal["refuse", "allow"] = "refuse") -> Guard:
        """Make the guard of this program's cell.

        Outside of a cell it raises `Unreachable`, or with `unguarded="allow"` gives a guard
        that lets everything pass. In a cell whose page cannot be read it gives a guard that
        lets nothing pass.
        """
        path, word = os.environ.get("OFFSWITCH_PAGE"), os.environ.get("OFFSWITCH_WORD")
        if path is None and word is None:
            if unguarded == "allow":
                return cls(_free_view())
            raise Unreachable(
                "this program does not run under Offswitch: OFFSWITCH_PAGE is not set",
                'start it with: offswitch run -- CMD…, or allow it: from_env(unguarded="allow")',
            )
        view = attach(path or "", word or "")
        view.report = Report(os.environ.get("OFFSWITCH_REPORT"))
        return cls(view)

    @classmethod
    def from_page(cls, path: str, word: str | int) -> Guard:
        """Make a guard for a word of the page at `path`; unreadable means stopped."""
        return cls(attach(path, str(word)))

    def step(self, kind: Kind, name: str = "", args: Mapping[str, object] | None = None) -> Step:
        """Wrap a step: `with guard.step("tool", "send_mail"):`, also with `async with`.

        `args`, if given, is what the tool is called with: it is told to whoever watches, cut
        short, so that a rule can judge it.
        """
        return Step(self._view, kind, name, args)

    astep = step

    def report(self, what: str, kind: str, args: Mapping[str, object]) -> None:
        """Tell those who watch this program something about it; never waits, never raises."""
        self._view.report.tell(what, kind, "", args)

    async def acheck(self) -> None:
        """Do what `check` does, for places that want something to await."""
        self.check()

    @overload
    def protect(self, function: AnyFunction, /) -> AnyFunction: ...

    @overload
    def protect(
        self, /, *, fallback: Callable[..., Any] | None = None, kind: Kind | None = None
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def protect(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        fallback: Callable[..., Any] | None = None,
        kind: Kind | None = None,
    ) -> Callable[..., Any]:
        """Decorate a function so that it runs only while it may.

        Without `kind` it is refused at any latch, as by `check`; with one, as by `step`. When
        refused, `fallback` is called with the same arguments; without one `Stopped` is raised.
        """

        def wrap(wrapped: Callable[..., Any]) -> Callable[..., Any]:
            begin = self.check
            if kind is not None:
                begin = self.step(kind, getattr(wrapped, "__name__", "")).begin
            return protected(begin, wrapped, fallback)

        return wrap if function is None else wrap(function)
