"""Whether a target can go round its gateway: denied from its cell's birth on, and tried (SR-26).

    a cell is born, a gate attaches ─► connecting to the servers behind is denied to its cgroup
        ─► a canary in the cell tries each of them, and the gateway's listener
        ─► every direct route refused, the listener open: *ready*; else *degraded*, and why

A return code is no proof, so the layer is *unproven* until the canary has spoken. What has no cell
of ours can always go round, where it can reach the server at all: the credential, which the gateway
alone has, is then all that stands in its way.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from offswitch.actuators.bpf import Attach
from offswitch.actuators.routes import deny, goes_by, routes_of, those_at
from offswitch.actuators.sock_diag import MANY, Diag
from offswitch.control.ids import DRILL
from offswitch.errors import OffswitchError
from offswitch.warden.cells import birth
from offswitch.warden.cells.adopted import AdoptedCell
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.limits import Limits
from offswitch.warden.core import Core
from offswitch.warden.gates import goer
from offswitch.warden.table import Tracked

__all__ = ["Bypass", "Ready", "judged"]

Ready = tuple[str, str]
"""A layer's readiness, and why."""
UNPROVEN: Ready = ("unproven", "whether it can be gone round is being tried")
_BORN_S = 0.1
"""After its birth a cell's first process may begin before its canary."""
_PATIENCE_S = 10.0
_AGAIN_S = 0.5
_MOST_PLACES, _MOST_SAID = 16, 4096
_CAN = "can be bypassed"
_NO_CELL = (
    f"{_CAN}: it has no cell of ours, so nothing keeps it from the server but its credential:"
    " keep that with the gateway alone, or run it in a cell (offswitch run --target)"
)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One canary's errand."""

    row: Tracked
    cell: Cell
    upstreams: tuple[str, ...]
    listen: tuple[str, ...]
    then: Callable[[], None]

    @property
    def places(self) -> list[str]:
        """What is tried: the servers, and at the end the gateway's listener."""
        tried = [*self.upstreams[:_MOST_PLACES], *self.listen[:1]]
        return [each.removeprefix("https://") for each in tried]


class Bypass:
    """The proofs of one warden."""

    def __init__(self, core: Core) -> None:
        """Prove nothing yet."""
        self._core = core
        self._proofs: dict[str, tuple[str, tuple[str, ...], Ready]] = {}
        """Target → of which cell and which servers it was proven, and what."""
        self._denied: dict[str, tuple[str, frozenset[tuple[Attach, int]]]] = {}
        """Target → to which cell its direct routes were denied, and by which programs."""
        self._wanted: dict[str, _Trial] = {}
        """Target → what is to be tried; a timer runs for each."""
        self._running: dict[str, int] = {}
        """Target → pidfd of its canary."""

    def ready(self, row: Tracked, upstreams: tuple[str, ...]) -> Ready:
        """Say what is known of a target's cell and these servers."""
        if row.cell is None:
            return "degraded", _NO_CELL
        cell, known, ready = self._proofs.get(row.target.name, ("", (), UNPROVEN))
        return ready if (cell, known) == (row.cell.name, upstreams) else UNPROVEN

    def confine(self, row: Tracked, upstreams: tuple[str, ...]) -> None:
        """Deny the direct routes to a target's cell; nothing here waits."""
        cell = row.cell
        if cell is None or not upstreams:
            return
        if cell.path is None:
            self._say(row, upstreams, "degraded", f"{_CAN}: no cgroup here to deny a route to")
            return
        routes, names = routes_of(upstreams)
        trouble = deny(cell.folder_fd, routes)
        if not trouble:
            with suppress(OSError):
                self._denied[row.target.name] = cell.name, those_at(cell.folder_fd)
        if trouble:
            self._say(row, upstreams, "degraded", f"{_CAN}: {trouble}")
        elif names:
            why = f"{names[0].rpartition(':')[0]} is a name, and its addresses change"
            self._say(row, upstreams, "degraded", f"{_CAN}: {why}")
        elif isinstance(cell, AdoptedCell):
            why = "adopted: its direct routes are denied, and nobody has tried them from inside"
            self._say(row, upstreams, "degraded", why)
        else:
            self._proofs.pop(row.target.name, None)

    def lost(self, row: Tracked) -> bool:
        """Tell whether somebody has taken programs off that deny a target its direct routes.

        It is written down: what denies it is put back, and tried again.
        """
        cell, known = row.cell, self._denied.get(row.target.name)
        if cell is None or known is None or known[0] != cell.name:
            return False
        try:
            if known[1] <= those_at(cell.folder_fd):
                return False
        except OSError:
            return False  # its cgroup is gone, and everything in it
        self._core.recording.note("note", what="routes denied again", target=row.target.name)
        return True

    def _say(self, row: Tracked, upstreams: tuple[str, ...], state: str, why: str) -> None:
        if row.cell is not None:
            self._proofs[row.target.name] = (row.cell.name, upstreams, (state, why))

    # --- the canary ---------------------------------------------------------------

    def prove(
        self,
        row: Tracked,
        upstreams: tuple[str, ...],
        listen: tuple[str, ...],
        then: Callable[[], None],
    ) -> None:
        """Have a canary try it soon, if that is not known; `then` is called when it is."""
        cell = row.cell
        if cell is not None and upstreams and self.ready(row, upstreams) == UNPROVEN:
            waits = row.target.name in self._wanted
            self._wanted[row.target.name] = _Trial(row, cell, upstreams, listen, then)
            if not waits:
                self._core.loop.later(_BORN_S, lambda: self._look(row))

    def _look(self, row: Tracked) -> None:
        """Send the canary, now or when there is life in the cell and nothing latched."""
        name = row.target.name
        trial = self._wanted.pop(name)
        if row.cell is not trial.cell or self.ready(row, trial.upstreams) != UNPROVEN:
            return
        if name in self._running or self._core.level(row) is not None or not row.alive:
            self._wanted[name] = trial
            self._core.loop.later(_AGAIN_S, lambda: self._look(row))
        else:
            self._go(trial)

    def _go(self, trial: _Trial) -> None:
        core, row, name = self._core, trial.row, trial.row.target.name
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            born = birth.spawn(trial.cell, self._spec(trial.places, (null, writing, null)))
        except (OSError, OffswitchError) as error:
            os.close(reading)
            self._say(row, trial.upstreams, "degraded", f"nobody could try it: {error}")
            trial.then()
            return
        finally:
            os.close(writing)
            os.close(null)
        core.children.expect(born.pid, lambda _status: None)
        self._running[name] = born.pidfd
        said = bytearray()
        late = core.loop.later(_PATIENCE_S, lambda: self._over(trial, (reading, born), said))

        def heard(_events: int) -> None:
            with suppress(BlockingIOError):
                data = os.read(reading, 4096)
                said.extend(data)
                if not data or len(said) > _MOST_SAID:
                    late.cancel()
                    self._over(trial, (reading, born), said)

        core.loop.watch(reading, heard)

    def _over(self, trial: _Trial, canary: tuple[int, birth.Birth], said: bytearray) -> None:
        """End the canary by hand, harmless where it has ended, and judge what it said."""
        reading, born = canary
        self._core.loop.forget(reading)
        del self._running[trial.row.target.name]
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(born.pidfd, signal.SIGKILL)
        for fd in (reading, born.report_fd, born.pidfd):
            os.close(fd)
        if trial.row.cell is trial.cell:
            words = said.decode("ascii", "replace").split()
            ready = judged(words, trial.places, listeners=len(trial.listen[:1]))
            if ready[0] == "ready" and (held := _held(trial)):
                ready = "degraded", held
            self._say(trial.row, trial.upstreams, *ready)
        trial.then()

    def _spec(self, places: list[str], fds: tuple[int, int, int]) -> birth.Spec:
        place = self._core.place
        path = os.path.abspath(goer.__file__)
        return birth.Spec(
            argv=(sys.executable, "-I", "-S", "-B", path, *places),
            cwd="/usr",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            fds=fds,
            uid=DRILL,
            gid=DRILL,
            workspace=True,
            closed=(place.home, place.run, place.memory),
            limits=Limits(processes=64),
        )


def _held(trial: _Trial) -> str:
    """Say which road to a server the target had opened before it was denied; empty: none."""
    routes, _names = routes_of(trial.upstreams)
    try:
        with Diag() as diag:
            for sock in diag.sockets_of(trial.cell.cgroup_id or 0, most=MANY):
                if goes_by(routes, sock.family, sock.ident):
                    return f"{_CAN}: it holds a connection that it had before: {sock.where()}"
    except OSError as error:
        return f"{_CAN}: what it holds open cannot be listed: {error.strerror}"
    return ""


def judged(words: list[str], places: list[str], *, listeners: int) -> Ready:
    """Say what a canary's words mean: the last place is the gateway's listener, if there is one."""
    if len(words) != len(places):
        return "degraded", "nobody could try whether it can be gone round"
    direct = list(zip(words, places, strict=True))[: len(places) - listeners]
    for word, place in direct:
        if word != "EPERM":
            how = "is open to it" if word == "open" else f"is not denied to it ({word})"
            return "degraded", f"{_CAN}: {place} {how}"
    if listeners and words[-1] != "open":
        return "degraded", f"it cannot reach its gateway at {places[-1]} ({words[-1]})"
    return "ready", f"tried from its cell: {len(direct)} direct routes refused, the gateway open"
