"""Running a target: its user, its cell, its keeper, and only then its first instruction.

The way is the same for `run` and `start`. Who asks decides under which user it runs
(SR-3): root gets an allotted user of the cell's own unless it names another; anyone else
gets their own, shown as *sharing a user*. The keeper acknowledges the cell's descriptors
before the child is let go (SR-22), and the latch is asked again after that: stop beats
start in every race (DEC-4), since both are steps of one loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from offswitch.clock import new_nonce
from offswitch.errors import Busy, Latched, OffswitchError, Refused, Storage, Unsupported
from offswitch.model.level import Level
from offswitch.model.state import Event, State, step
from offswitch.model.target import Target
from offswitch.warden.arming import arm
from offswitch.warden.cells import birth, cell
from offswitch.warden.cells.account import NOGROUP, Account, look_up
from offswitch.warden.cells.graves import Graves
from offswitch.warden.cells.remains import Remains
from offswitch.warden.cells.reports import Reports
from offswitch.warden.cells.rung import Rung
from offswitch.warden.core import Core
from offswitch.warden.door.request import Request, limits_of
from offswitch.warden.probation import Probation
from offswitch.warden.table import Tracked
from offswitch.warden.trust import ours

__all__ = ["Starter"]

_ACK_S = 2.0
_OUTSIDE_S = 1.0
"""How often a target is looked for whose cell is empty and whose user still has processes."""


class Starter:
    """Brings targets to life, and hears when they end."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self.reports = Reports(core.place)
        self.probation = Probation(core)
        self._waiting: dict[str, tuple[Request, Tracked, birth.Spec]] = {}
        self._count = 0
        self._births = 0
        self.graves = Graves(core.loop)
        self._ours = tuple(ours())
        self._create = partial(cell.create, core.place, here=core.standing, read_only=self._ours)
        self.on_idle: Callable[[], None] = lambda: None
        self.on_buried: Callable[[Tracked], None] = lambda _row: None
        """Hears that a target's cell was empty and is removed."""
        self.on_drained: Callable[[Tracked], None] = lambda _row: None
        """Hears of a latched target that ended by itself."""
        self.on_adopted: Callable[[Tracked], None] = lambda _row: None
        """Hears that the cgroup of an adopted target was filled or emptied."""

    # --- the way to life ----------------------------------------------------------

    def run(self, request: Request) -> None:
        """Begin; `request.born` or `request.failed` is called when it is decided."""
        try:
            self._begin(request)
        except OffswitchError as error:
            self._fail(request, error)
        except OSError as error:
            self._fail(request, Busy(f"no cell could be made: {error}", "offswitch doctor"))

    def _begin(self, request: Request) -> None:
        core = self._core
        request.check_name()
        row = core.table.get(request.name)
        if row is not None and self._runs(row):
            hint = "give this one another name: --target NAME"
            raise Busy(f"{request.name} is running already", hint)
        target = row.target if row is not None else Target(request.name)
        self._refuse_latched(target)
        self.refuse_adopted(row)
        if core.keeper is None or not core.keeper.alive():
            raise Busy("the keeper is not ready", "try again in a second: offswitch doctor")
        account = request.account
        if account is None:
            found, failed = partial(self._as, request), partial(self._fail, request)
            look_up(core, request.peer, request.user, found, failed)
            return
        if not (account.own or request.drill) and account.uid not in core.ran_as.uids:
            self._remember(request, account.uid)
            return
        core.shares.begin(request.peer.uid, core.table, core.page.handed_out)
        row = row or core.table.put(Tracked(target, State.IDLE))
        row.asked_by = request.peer.uid
        self._count += 1
        if row.cell is not None:
            self._bury(row)
        try:
            self._make_cell(request, row, account)
        except (OSError, OffswitchError):
            self._undo(row)
            raise

    def _as(self, request: Request, account: Account) -> None:
        request.account = account
        self.run(request)

    def _remember(self, request: Request, uid: int) -> None:
        """Keep under which user a target is about to run (SR-2), and only then begin again."""
        core = self._core

        def kept(outcome: OSError | None) -> None:
            if isinstance(outcome, OSError):
                why = f"its user cannot be kept: {outcome.strerror}"
                self._fail(request, Storage(why, "free space for OFFSWITCH_HOME"))
            else:
                core.ran_as.add(uid)
                self.run(request)

        core.errands.send(lambda: core.ran_as.write(uid), kept)

    def _make_cell(self, request: Request, row: Tracked, account: Account) -> None:
        core, target = self._core, row.target
        if core.keeper is None:
            raise Busy("the keeper is not ready", "try again in a second: offswitch doctor")
        name = f"c{core.page.epoch}-{self._count}-{new_nonce()[:4]}"
        limits = limits_of(row)
        row.cell = self._create(name, uid=account.uid, own_uid=account.own, limits=limits)
        row.slot = core.page.allot()
        row.uid, row.user, row.sharing = account.uid, account.name, not account.own
        row.receipts, row.order, row.leader = [], None, None
        row.unseen()
        row.readiness = arm(core, row)
        row.keeper_has_it = False
        self.probation.prepare(row)
        if not core.table.keep():
            raise Storage(f"its cell cannot be kept: {core.table.trouble}", "free that tmpfs")
        spec = birth.Spec(
            argv=tuple(request.argv),
            cwd=request.cwd,
            env=request.env,
            fds=(request.fds[0], request.fds[1], request.fds[2]),
            uid=account.uid,
            gid=account.gid,
            groups=account.groups,
            peer_uid=request.peer.uid,
            caller=request.peer.pid,
            tty=request.tty,
            workspace=account.own,
            closed=(core.place.home, core.place.run, core.place.memory),
            read_only=self._ours,
            page=core.page.path,
            page_fd=core.page.sealed_fd,
            word=row.slot,
            limits=limits,
            report=self.reports.make(name),
        )
        self._waiting[name] = (request, row, spec)
        core.keeper.hand(
            row.cell.facts(), row.cell.fds(), target.name, dict(target.labels), row.slot
        )
        core.loop.later(_ACK_S, lambda: self._no_ack(name))

    def _runs(self, row: Tracked) -> bool:
        """Whether a target runs, or is about to: its cell waits for the keeper's word."""
        if (row.alive or row.state is State.RUNNING) and not (row.cell is None and row.served):
            return True
        return any(waiting is row for _request, waiting, _spec in self._waiting.values())

    def refuse_adopted(self, row: Tracked | None) -> None:
        """Raise, with what to type instead, if others start it; `Latched` first, if it is."""
        if row is not None and row.adopted is not None:
            self._refuse_latched(row.target)
            why = f"{row.target.name} is adopted, and not ours to start"
            raise Unsupported(why, f"type: {row.adopted.again}")

    def _refuse_latched(self, target: Target) -> None:
        stops = self._core.latch.covering(target)
        if stops:
            scopes = ", ".join(sorted({live.stop.scope.text for live in stops}))
            hint = f"clear it first: offswitch reset {stops[0].stop.scope.text} --reason TEXT"
            raise Latched(f"{target.name} is latched by a stop of {scopes}", hint)

    def acknowledged(self, name: str) -> None:
        """The keeper has the cell's descriptors: now its first instruction may come."""
        row = self._core.table.by_cell(name)
        if row is not None:
            row.keeper_has_it = True
        waiting = self._waiting.pop(name, None)
        if waiting is None:
            return
        request, row, spec = waiting
        try:
            self._refuse_latched(row.target)
            if request.gone():
                raise Refused("whoever asked has gone")
            self._spawn(request, row, spec)
        except OffswitchError as error:
            self._undo(row)
            self._fail(request, error)
        except OSError as error:
            self._undo(row)
            self._fail(request, Busy(f"it could not be started: {error}", "offswitch doctor"))

    def _no_ack(self, name: str) -> None:
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            request, row, _spec = waiting
            self._undo(row)
            self._fail(request, Busy("the keeper did not answer in time", "offswitch doctor"))

    def _spawn(self, request: Request, row: Tracked, spec: birth.Spec) -> None:
        core = self._core
        if row.cell is None:
            return
        born = birth.spawn(row.cell, spec)
        self._births += 1
        row.leader, row.pidfd, row.ours = born.pid, born.pidfd, True
        row.remains = None
        row.since_us = core.clock.wall_us()
        prior, row.state = row.state, step(State.IDLE, Event.START, None, alive=False)
        row.listener = request.listener
        request.close()
        core.children.expect(born.pid, lambda status: self.ended(row, born.pid, status))
        buffer = bytearray()

        def report(_events: int) -> None:
            try:
                data = os.read(born.report_fd, 65536)
            except BlockingIOError:
                return
            buffer.extend(data)
            if data:
                return
            core.loop.forget(born.report_fd)
            os.close(born.report_fd)
            self._births -= 1
            self._decided(request, row, prior, bytes(buffer), born.pid)

        core.loop.watch(born.report_fd, report)

    def _decided(
        self, request: Request, row: Tracked, prior: State, report: bytes, pid: int
    ) -> None:
        """The program runs, or the child said why it could not."""
        core = self._core
        failure = birth.failure(report)
        if failure is not None:
            row.listener = None
            self._fail(request, failure, failure.exit_code)
            return
        name = row.target.name
        core.table.keep()
        self.probation.begin(row)
        self.hear_events(row)
        core.recording.note(
            "start" if request.detached else "run",
            {"argv": request.argv, "by": request.by, "user": row.user},
            target=name,
            channel="drill" if request.drill else "cli",
            why="asked to start again" if request.detached else "asked to run",
            prior=prior.value,
            state=row.state.value,
            cell=row.cell.name if row.cell else None,
        )
        row.log = log = None if request.raw else core.table.log_path(name)
        answer = {
            "event": "born",
            "target": name,
            "cell": row.cell.name if row.cell else "",
            "pid": pid,
            "uid": row.uid,
            "user": row.user,
            "sharing": row.sharing,
            "workspace": not row.sharing,
            "rung": core.rung.value,
            "degraded": self._degraded(row),
            "notes": [f"shares the user {row.user}: no sweep by user"] if row.sharing else [],
        }
        if request.drill:  # it is never started again, and has no log
            self._tell_born(request, answer, (True, None))
            return
        spec = request.spec()
        core.errands.send(
            lambda: core.table.settle_in(name, spec, log),
            lambda kept: self._tell_born(request, answer, kept),
            _close,
        )

    def _tell_born(
        self, request: Request, answer: dict[str, Any], kept: tuple[bool, int | None] | OSError
    ) -> None:
        """Answer whoever asked, with the log's descriptor as far as the disk gave one."""
        saved, log = (False, None) if isinstance(kept, OSError) else kept
        if request.account is not None and request.account.gid == NOGROUP:
            why = "its primary group may stop, so it runs without a group of its own"
            answer["notes"].append(why)
        if not saved:
            why = "the disk takes nothing: it cannot be started again by its name"
            answer["notes"].append(why)
        if log is None and not request.raw:
            answer["notes"].append("the disk takes nothing: its output is not logged")
        request.born(answer, log)
        self._core.know(self._core.table.get(request.name), log)
        _close((saved, log))

    def _degraded(self, row: Tracked) -> list[str]:
        """Say what does not hold for this target: a person is told whoever asked (SR-2, SR-25)."""
        said = []
        if row.uid == 0:
            said.append("runs as root: it can escape its cell")
        if self._core.rung is not Rung.ROOT:
            said.append(f"degraded: rung {self._core.rung.value}; what escapes: offswitch doctor")
        if row.uid == self._core.rights.uid:
            said.append("reset forgeable by the target: it shares the warden's user")
        return said

    def _fail(self, request: Request, error: OffswitchError, code: int = 125) -> None:
        request.close()
        row = self._core.table.get(request.name)
        stands = "unknown to us" if row is None else row.state.value
        self._core.recording.note(
            "refused",
            {"by": request.by, "argv": request.argv},
            what="start" if request.detached else "run",
            target=request.name,
            channel="drill" if request.drill else "cli",
            error=error.kind,
            why=error.message,
            prior=stands,
            state=stands,
        )
        request.failed(error, code)

    # --- the end ------------------------------------------------------------------

    def hear_events(self, row: Tracked) -> None:
        """Hear of the cell's becoming empty by its own events, where it has any."""
        fd, events = row.cell.teller if row.cell else (-1, 0)
        if fd >= 0:
            self._core.loop.watch(fd, partial(self._changed, row, fd), events)

    def _changed(self, row: Tracked, fd: int, _events: int) -> None:
        try:
            os.pread(fd, 256, 0)  # kernfs reports a change once until it is read
        except OSError:  # the cgroup is gone, or it is a namespace's init that has ended
            self._core.loop.forget(fd)
        self.settle(row)

    def follow(self, row: Tracked) -> None:
        """Follow a target that an earlier warden started (its exit code is not ours to know)."""
        self.hear_events(row)
        try:
            row.pidfd = fd = os.pidfd_open(row.leader or 0)
        except OSError:
            self.settle(row)
            return

        def gone(_events: int) -> None:
            self._core.loop.forget(fd)
            self.settle(row)

        self._core.loop.watch(fd, gone)

    def ended(self, row: Tracked, pid: int, status: int) -> None:
        """The target's first process ended: tell its relay and the record."""
        if row.leader != pid:
            return
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        signum = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        prior = row.state
        order = row.order if self._core.level(row) is not None else None
        if row.pidfd is not None:
            self._core.loop.forget(row.pidfd)
            os.close(row.pidfd)
            row.pidfd = None
        row.leader, row.ours = None, False
        self.settle(row)
        self._core.recording.note(
            "exit",
            target=row.target.name,
            code=code,
            signal=signal.Signals(signum).name if signum else None,
            order=order,
            prior=prior.value,
            state=row.state.value,
        )
        listener, row.listener = row.listener, None
        if listener is not None:
            listener.exited(code, signum, order)

    def settle(self, row: Tracked) -> None:
        """Where nothing of a target lives any more, say so; unlatched, its cell is removed."""
        if row.adopted is not None:
            self.on_adopted(row)
            return
        if row.cell is None or row.cell.populated() is not False:
            return
        if row.ours:
            return  # its first process is not reaped yet: `ended` says how it ended
        if self._lives_outside(row):
            return
        level = self._core.level(row)
        if level is not None:  # stays until it is reset: the observer watches what bears its name
            if level < Level.FREEZE and row.state is not State.STOPPED:
                row.state = step(row.state, Event.EXIT, level, alive=False)
                self.on_drained(row)
            return
        row.state = step(row.state, Event.EXIT, None, alive=False)
        self._bury(row)
        self._core.table.keep()
        self._core.shares.ended(row, self._core.table, self._core.errands)
        self.on_idle()

    def _lives_outside(self, row: Tracked) -> bool:
        """Whether a broker runs something as the cell's own user: that is the target, too."""
        if row.cell is None or (self._core.level(row) or 0) >= Level.FREEZE:
            return False  # the observer watches that user
        try:
            left: list[int] | None = row.cell.outside()
        except OSError:
            left = None  # unknown is not none
        if left == []:
            return False
        self._core.loop.later(_OUTSIDE_S, lambda: self.settle(row))
        return True

    def _bury(self, row: Tracked, *, lived: bool = True) -> None:
        """Remove an empty cell; its word says *stop* for ever, its slot is not used again."""
        core, old = self._core, row.cell
        if old is None:
            return
        if row.slot is not None and row.adopted is None:
            core.page.set(row.slot, 0)
        core.loop.forget(old.teller[0])
        self.reports.drop(old.name)
        if core.keeper is not None:
            core.keeper.drop(old.name)
        if core.evidence is not None:
            core.evidence.forget(old.name)
        if core.observer is not None and row.watched:
            core.observer.unwatch(old.name)
        row.watched = False
        for layer, actuator in core.kill_steps:
            if layer == "sweep":
                actuator.trip(old)  # a user whose cell is gone has no processes any more
        self.graves.dig(old)
        row.cell, row.slot = None, row.slot if row.adopted else None
        row.remains = Remains.of(old) if lived else row.remains
        self.on_buried(row)

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return "a start" if self._waiting or self._births else ""

    def bury(self, row: Tracked) -> None:
        """Remove the empty cell of a target that was reset."""
        self._bury(row)
        self._core.table.keep()

    def _undo(self, row: Tracked) -> None:
        if row.cell is not None and row.leader is None:
            row.cell.kill()
            self._bury(row, lived=False)
        row.state = step(row.state, Event.EXIT, self._core.level(row), alive=False)
        self._core.table.keep()
        self.on_idle()

    def hang_up(self, row: Tracked) -> None:
        """Whoever relayed the target is gone: its session hears SIGHUP, as from a terminal."""
        row.listener = None
        if row.leader is None:
            return
        for signum in (signal.SIGHUP, signal.SIGCONT):
            self.signal(row, signum)

    def signal(self, row: Tracked, signum: int) -> None:
        """Send a signal to the session that the target began with."""
        if row.leader is not None and row.cell is not None:
            with suppress(ProcessLookupError):
                os.killpg(row.cell.session, signum)


def _close(kept: tuple[bool, int | None]) -> None:
    if kept[1] is not None:
        os.close(kept[1])
