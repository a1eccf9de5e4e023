"""The prober: whom the observer has ask gateways' listeners, started with the first gateway.

The warden makes it and hands the observer its end of the link, and keeps none: what the two say to
each other it does not hear. It ends with the observer, and is started again for the next one. One
of which the observer says that it answers nothing any more is ended, and another takes its place.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

from offswitch.warden.children import launch
from offswitch.warden.core import Core
from offswitch.warden.respawn import Respawn

__all__ = ["Probing"]


class Probing:
    """Keeps one prober alive."""

    def __init__(self, core: Core) -> None:
        """Start none yet."""
        self._core = core
        self._again = Respawn(core.loop, self._start)
        self._begun = False
        self._ending = False
        self._link: socket.socket | None = None
        """The observer's end, as long as it could not be handed over."""
        self._pid = 0
        """Of the one that lives; 0: none does."""
        self._number = 0
        """By which the observer knows it."""

    def begin(self) -> None:
        """Start it, if it never was."""
        if not self._begun:
            self._begun = True
            self._again.begin()

    def show(self) -> None:
        """Hand the observer its end, if it has not got it."""
        observer, link = self._core.observer, self._link
        if (
            link is not None
            and observer is not None
            and observer.show_prober(self._number, link.fileno())
        ):
            link.close()
            self._link = None

    def stuck(self, number: int) -> None:
        """The observer hears nothing of that one: end it, and the next one is started."""
        if number == self._number and self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with theirs:
                fd = theirs.fileno()
                self._pid = launch(
                    "offswitch.gateway.prober", ["--link", str(fd)], [fd], self._core.children.log
                )
        except OSError:
            ours.close()
            raise
        if self._link is not None:
            self._link.close()
        self._link = ours
        self._number += 1
        self._core.children.expect(self._pid, self._lost)
        self.show()

    def _lost(self, status: int) -> None:
        self._pid = 0
        if not self._ending:
            self._core.recording.lost("prober", status)
            self._again.lost()

    def end(self) -> None:
        """Start no other."""
        self._ending = True
        if self._link is not None:
            with suppress(OSError):
                self._link.close()
