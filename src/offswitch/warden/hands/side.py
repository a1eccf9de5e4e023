"""One process of a hand, as the warden knows it: started, told what to be, heard, replaced.

Nothing here waits for it. What it says of its readiness is kept; all else goes to whoever owns it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.warden.children import launch
from offswitch.warden.core import Core
from offswitch.warden.hands.spec import Spec
from offswitch.warden.helper_link import HelperLink
from offswitch.warden.respawn import Respawn

__all__ = ["Side", "Standing", "lines"]

Standing = tuple[str, str]
"""State of readiness, and why."""
_COMING: Standing = ("unproven", "it is coming up")
_MOST, _LONGEST = 200, 1000
"""Lines, and characters of each, that are kept of what a process says."""
_MOST_A_SECOND = 500
"""Messages: one that says more is ended, and another one is started."""
_ROUTE = ("transport", "host", "credential", "component")
_STATES = frozenset({"ready", "degraded", "unproven", "absent"})


class Side:
    """The process that acts, or the one that looks."""

    def __init__(
        self,
        core: Core,
        spec: Spec,
        *,
        changed: Callable[[], None],
        heard: Callable[[dict[str, Any]], None],
        began: Callable[[], None],
        came: Callable[[], None] = lambda: None,
        looks: bool = False,
    ) -> None:
        """Start nothing yet.

        `changed` hears of another readiness, `heard` of answers, `began` of each new process,
        and `came` that it can be told to act.
        """
        self._core = core
        self._spec = spec
        self._changed = changed
        self._heard = heard
        self._began = began
        self._came = came
        self._looks = looks
        self._again = Respawn(core.loop, self._start)
        self._link: HelperLink | None = None
        self._ending = False
        self.here = False
        """Whether the process that lives has said that it can be told to act."""
        self.remembered = ""
        """What a process that looks asked to be handed to the one in its place."""
        self.cell: dict[str, Any] | None = None
        """Of the target, as every new process is told."""
        self._second, self._said = 0, 0
        self.sight: socket.socket | None = None
        """The observer's end, as long as it could not be handed over."""
        self.standing = _COMING
        self.holds: tuple[str, ...] = ()
        self.route: dict[str, Any] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that lives."""
        return None if self._link is None else self._link.pid

    def begin(self) -> None:
        """Start it; when it ends it is started again."""
        self._again.begin()

    def say(self, message: dict[str, Any]) -> bool:
        """Tell it something, without waiting; false: it is not there."""
        return self._link is not None and self._link.say(message)

    def know(self, cell: dict[str, Any] | None) -> None:
        """Tell it, and each process that comes after, of which cell its target is."""
        if cell != self.cell:
            self.cell = cell
            self.say({"op": "cell", "cell": cell})

    def void(self, why: str) -> None:
        """What it had proven counts no more, and neither does what it had read: another one."""
        self.standing = ("unproven", why)
        self.kill()
        self._changed()

    def kill(self) -> None:
        """End the process; the next one is started when it has gone."""
        if self._link is not None:
            with suppress(ProcessLookupError):
                os.kill(self._link.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let it go for good: it ends when its link does."""
        self._ending = True
        if self._link is not None:
            self._core.loop.forget(self._link.fileno())
            self._link.close()
            self._link = None
        self._drop_sight()

    def _drop_sight(self) -> None:
        if self.sight is not None:
            self.sight.close()
            self.sight = None

    def _start(self) -> None:
        if self._ending:
            return
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        eye, seen = socket.socketpair(socket.AF_UNIX, kind) if self._looks else (None, None)
        try:
            args, fds = ["--link", str(theirs.fileno())], [theirs.fileno()]
            if seen is not None:
                args, fds = [*args, "--sight", str(seen.fileno())], [*fds, seen.fileno()]
            pid = launch("offswitch.actuators.hands", args, fds, self._core.children.log)
        except BaseException:
            ours.close()
            if eye is not None:
                eye.close()
            raise
        finally:
            theirs.close()
            if seen is not None:
                seen.close()
        self._drop_sight()
        self._link, self.sight = link, _ = HelperLink(ours, pid, self._core.loop.later), eye
        self._core.children.expect(pid, lambda status: self._lost(link, status))
        self._core.loop.watch(link.fileno(), lambda _events: self._take(link))
        spec = self._spec
        told = {"name": spec.name, "kind": spec.kind, "settings": spec.settings}
        link.say({"op": "be", **told, "remembered": self.remembered})
        if self.cell is not None:
            link.say({"op": "cell", "cell": self.cell})
        self.here = False
        self._began()

    def _take(self, link: HelperLink) -> None:
        messages = link.heard(self._core.loop)
        if self._floods(len(messages)):
            self.void("it said more than anybody can hear, and was replaced")
            return
        for message in messages:
            if message.get("event") == "here":
                self.here = True
                self._came()
            elif message.get("event") == "readiness":
                self._proved(message)
            else:
                self._heard(message)

    def _proved(self, message: dict[str, Any]) -> None:
        state = str(message.get("state"))
        detail = str(message.get("detail", ""))[:_LONGEST]
        self.standing = (state if state in _STATES else "unproven", detail)
        self.holds = lines(message.get("holds"))
        self.route = _route(message.get("route")) or self.route
        self._changed()

    def _floods(self, count: int) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._said = second, 0
        self._said += count
        return self._said > _MOST_A_SECOND

    def _lost(self, link: HelperLink, status: int) -> None:
        if self._ending or link is not self._link:
            return
        self._core.loop.forget(link.fileno())
        link.close()
        self._link = None
        if self.standing[0] != "unproven":
            self.standing = ("unproven", "its process has ended; another one is started")
        what = "looker" if self._looks else "hand"
        self._core.recording.lost(f"{what} {self._spec.name}", status)
        self._changed()
        self._again.lost()


def lines(said: object) -> tuple[str, ...]:
    """Give the lines that somebody said, as many and as much of each as is kept."""
    return tuple(str(each)[:_LONGEST] for each in said[:_MOST]) if isinstance(said, list) else ()


def _route(said: object) -> dict[str, Any] | None:
    """Give what a route says, in the shape that a hand's process gives it; None: it is none."""
    if not isinstance(said, dict):
        return None
    route: dict[str, Any] = {key: str(said.get(key, ""))[:_LONGEST] for key in _ROUTE}
    return {**route, "needs": list(lines(said.get("needs")))}
