"""What a drill sets beside its target, so that each layer is tried by itself.

The kill of a cell and the sweep of its user end mostly the same processes: broken, the one is
covered up by the other. So the warden adds two that only one of them can end, as a hostile target
might have them: a *witness* in the cell under a user that no sweep touches, and a *stray* of the
target's user outside of it, as a broker would have begun it. Where there is no sweep (a lower
rung) there is nothing to be told apart, and neither is made.

They are told to the reaper, watched by their pidfds, and ended by those when the drill is over:
by hand, and not by a layer that may be broken. Left alone they end by themselves.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from offswitch.control.ids import DRILL
from offswitch.errors import OffswitchError
from offswitch.warden.cells import birth
from offswitch.warden.cells.limits import Held, Limits
from offswitch.warden.core import Core
from offswitch.warden.drill import resister
from offswitch.warden.table import Tracked

__all__ = ["FOLDER", "Actors", "command", "environment"]

FOLDER = "/usr"
"""Where it runs: a folder that everybody may enter and nobody needs to be lent. (In `/` it could be
lent no interpreter, since all would lie in its own working directory.)"""

_LIMITS = Limits(processes=64)


def command(role: str, port: int = 0) -> list[str]:
    """Give the words by which a role of the resister is run."""
    path = os.path.abspath(resister.__file__)
    return [sys.executable, "-I", "-S", "-B", path, role, str(port)]


def environment() -> dict[str, str]:
    """Give all that it is told of the world."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class _Outside:
    """A room that is no cell: what is born there stays where the warden's own children are."""

    entrance: tuple[int, ...] = ()
    marker = ""
    held = Held()

    def join(self, _fds: object) -> None:
        """There is nothing to go into."""

    def enter(self, _pid: int) -> None:
        """It stays outside."""

    def born(self) -> None:
        """Nothing was kept for it."""


class Actors:
    """Witness and stray of one drill."""

    def __init__(self, core: Core) -> None:
        """Make none yet."""
        self._core = core
        self._pidfds: dict[int, int] = {}

    def begin(
        self,
        row: Tracked,
        outputs: tuple[int, int],
        null: int,
        done: Callable[[OffswitchError | None], None],
    ) -> None:
        """Bear both; `outputs` are theirs to beat on. `done` is called once, with what went wrong.

        Raises `Storage` where nothing could be born.
        """
        if row.cell is None or row.uid is None or not row.cell.own_uid:
            done(None)
            return
        waited = {"witness", "stray"}

        def heard(role: str, error: OffswitchError | None) -> None:
            if role in waited:
                waited.discard(role)
                if error is not None:
                    waited.clear()
                if not waited:
                    done(error)

        for role, room, uid, out in (
            ("witness", row.cell, DRILL, outputs[0]),
            ("stray", _Outside(), row.uid, outputs[1]),
        ):
            self._bear(role, birth.spawn(room, self._spec(role, uid, out, null)), heard)

    def _spec(self, role: str, uid: int, out: int, null: int) -> birth.Spec:
        place = self._core.place
        return birth.Spec(
            argv=tuple(command(role)),
            cwd=FOLDER,
            env=environment(),
            fds=(null, out, null),
            uid=uid,
            gid=uid,
            workspace=True,
            closed=(place.home, place.run, place.memory),
            limits=_LIMITS,
        )

    def _bear(
        self, role: str, born: birth.Birth, heard: Callable[[str, OffswitchError | None], None]
    ) -> None:
        core, said = self._core, bytearray()
        self._pidfds[born.pid] = born.pidfd
        core.children.expect(born.pid, lambda _status: self._gone(born.pid))

        def report(_events: int) -> None:
            try:
                data = os.read(born.report_fd, 65536)
            except BlockingIOError:
                return
            said.extend(data)
            if not data:
                core.loop.forget(born.report_fd)
                os.close(born.report_fd)
                heard(role, birth.failure(bytes(said)))

        core.loop.watch(born.report_fd, report)

    def _gone(self, pid: int) -> None:
        fd = self._pidfds.pop(pid, None)
        if fd is not None:
            os.close(fd)

    def end(self) -> None:
        """End them by hand; harmless where they have ended."""
        for fd in self._pidfds.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
