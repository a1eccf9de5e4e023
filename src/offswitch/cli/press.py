"""One press on one installation, down every road at once (SR-11).

    the warden's socket    obeys, proves, answers twice: accepted, and what was seen
    the keeper's socket    obeys when the warden has not done so within 5 ms
    the spool              a file whose name is the scope: obeyed even by the next warden
    our own hands          when nobody has answered within 20 ms

*Sent* is not *accepted*: a listener that is frozen takes what is sent to it. The keeper
knows freeze and kill, the spool kill only; the lesser levels are the warden's alone. What
was spooled is taken back once the warden has accepted the press itself.
"""

from __future__ import annotations

import os
import time
from errno import EACCES, EPERM

from offswitch.cli.bare_hands import stop_by_hand
from offswitch.cli.line import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["Press"]

ANSWER_S = 0.02
"""How long others have before the caller's own rights are used."""
ACCEPT_S = 2.0
"""How long a warden may take to accept."""
CONFIRM_S = 5.0
"""How long a warden that accepted may take to say what it saw."""
_FOREVER_S = 1e9
_SPOOL_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_SPOOLED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@/+-=")


class Press:
    """What was sent to one installation, and what came back."""

    def __init__(self, place: Place, message: dict[str, Any]) -> None:
        """Send `message` down every road, without waiting for any."""
        self.place = place
        self.scopes: list[str] = message["scopes"]
        self.level: str = message["level"]
        self.accepted: dict[str, Any] | None = None
        """The warden's first answer."""
        self.final: dict[str, Any] | None = None
        """Its last: what was seen."""
        self.error: dict[str, Any] | None = None
        """What it refused, or why."""
        self.kept: dict[str, Any] | None = None
        """The keeper's answer."""
        self.by_hand: list[str] = []
        """Targets that the caller's own rights stopped."""
        self._patience_s = _FOREVER_S if message["wait"] else CONFIRM_S
        self._tried = False
        self._spooled: list[str] = []
        self._began = time.monotonic()
        self.warden = Line(place.warden_socket, message)
        self.keeper = (
            Line(place.keeper_socket, message) if self.level not in {"restrict", "drain"} else None
        )
        if self.level == "kill":
            self._spool()

    def _spool(self) -> None:
        for scope in self.scopes:
            path = scope.strip("/")
            if not set(path) <= _SPOOLED:
                continue  # no scope: the warden will say so
            name = path.replace("/", "%2F") if path else "all"
            file = f"{self.place.spool}/{name}"
            try:
                os.close(os.open(file, _SPOOL_FLAGS, 0o600))
            except FileExistsError:
                self._spooled.append("")  # somebody's press lies there already: it is ours as well
            except OSError:
                continue
            else:
                self._spooled.append(file)

    @property
    def spooled(self) -> bool:
        """Whether the spool holds it for the next warden."""
        return bool(self._spooled)

    def lines(self) -> Iterator[Line]:
        """Give the connections on which something may still come."""
        if not self.done:
            if self.final is None and self.error is None:
                yield self.warden
            if self.keeper is not None and self.kept is None:
                yield self.keeper

    def read(self) -> None:
        """Take in what has come, and do what is due."""
        for answer in self.warden.messages():
            if "error" in answer:
                self.error = answer
            elif answer.get("accepted"):
                self.accepted = answer
                self._take_back()
            else:
                self.final = answer
        if self.keeper is not None and self.kept is None:
            for answer in self.keeper.messages():
                if answer.get("accepted"):
                    self.kept = answer
                else:
                    self.keeper.close()
                    self.keeper = None
                    break
        if not self._tried and self.level not in {"restrict", "drain"} and self._unheard():
            self._tried = True
            level = "freeze" if self.level == "freeze" else "kill"
            self.by_hand = stop_by_hand(self.place, self.scopes, level)

    def _unheard(self) -> bool:
        """Whether nobody has answered in time, or nobody is there who could."""
        if self.accepted is not None or self.kept is not None or self.error is not None:
            return False
        return self._nobody() or time.monotonic() - self._began >= ANSWER_S

    def _nobody(self) -> bool:
        keeper = self.keeper is None or self.keeper.trouble is not None
        return self.warden.trouble is not None and keeper

    def left_s(self) -> float:
        """How long to wait at most until something is due."""
        passed = time.monotonic() - self._began
        if self.accepted is None:
            return max(0.0, (ACCEPT_S if self._tried else ANSWER_S) - passed)
        return max(0.0, self._patience_s - passed)

    @property
    def done(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.final is not None or self.error is not None:
            return True
        passed = time.monotonic() - self._began
        if self.accepted is not None:
            return self.warden.trouble is not None or passed >= self._patience_s
        if self.warden.trouble is not None:
            keeper = self.keeper is None or self.keeper.trouble is not None
            heard = self.kept is not None or self._tried or self.level in {"restrict", "drain"}
            return heard or (keeper and self._tried)
        return passed >= ACCEPT_S

    @property
    def out_of_reach(self) -> bool:
        """Whether the caller simply has no right to speak to this installation."""
        trouble = self.warden.trouble
        return trouble is not None and trouble.errno in {EACCES, EPERM} and not self._reached

    @property
    def absent(self) -> bool:
        """Whether nobody is there: no warden, no keeper, and no cell to be found."""
        return self._nobody() and self.accepted is None and not self._reached and not self.by_hand

    @property
    def _reached(self) -> bool:
        return self.accepted is not None or self.error is not None or self.kept is not None

    def _take_back(self) -> None:
        """The warden has it: what was spooled would only be the same press once more."""
        for file in self._spooled:
            if file:
                try:
                    os.unlink(file)
                except OSError:
                    continue  # obeyed already
        self._spooled = []

    def close(self) -> None:
        """Hang up."""
        self.warden.close()
        if self.keeper is not None:
            self.keeper.close()
