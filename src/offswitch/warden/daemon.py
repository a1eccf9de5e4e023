"""The warden, wired: what it loads before it listens, what it starts, when it ends.

    lock ─► trust (SR-1) ─► folders ─► page ─► latch + keeper's orders ─► cells ─► enforce
         ─► observer · keeper · recorder ─► keeper acknowledges ─► lease ─► sockets ─► spool

One warden for each run folder, held by a lock. Everything that was latched is latched
again before the first message is read, and every cell of the warden before is found and
watched. From then on it decides nothing: it obeys any stop, and a reset only when it is
properly authorised. It is single-threaded; the latch's disk has a thread of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import signal
import socket
import time
import traceback

from offswitch.clock import SystemClock
from offswitch.control.place import Place
from offswitch.decide.authority import at_start
from offswitch.decide.secret import is_secret_set
from offswitch.errors import Busy, OffswitchError, Refused
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope
from offswitch.warden import entries
from offswitch.warden.adopting import Adopter
from offswitch.warden.blindness import Blindness
from offswitch.warden.cells import cell
from offswitch.warden.cells.rung import take_standing
from offswitch.warden.children import Children
from offswitch.warden.core import Core
from offswitch.warden.crew import Crew
from offswitch.warden.door import spool
from offswitch.warden.door.mode import recall
from offswitch.warden.door.ops import Operations
from offswitch.warden.door.rights import Rights
from offswitch.warden.door.server import Server, listen
from offswitch.warden.errands import Errands
from offswitch.warden.gates.gates import Gates
from offswitch.warden.granted import keep_to_oneself, take_what_is_granted
from offswitch.warden.handover.handover import DEFERRED, HandOver
from offswitch.warden.handover.parts import Parts, go_on, keeper_before, take_up
from offswitch.warden.handover.passed import Passed
from offswitch.warden.hands.hands import Hands
from offswitch.warden.installation import installation_id, prepare, take_sockets_along
from offswitch.warden.keeper.left import forget_left, left_orders
from offswitch.warden.latch.store import LatchStore
from offswitch.warden.local_layers import local_layers
from offswitch.warden.loop import Loop, Timer
from offswitch.warden.page_writer import PageWriter
from offswitch.warden.readiness import Readiness
from offswitch.warden.recording import Recording
from offswitch.warden.recovery import Recovery
from offswitch.warden.reset.news import News
from offswitch.warden.reset.ran_as import RanAs
from offswitch.warden.reset.resetting import Resetter
from offswitch.warden.self_check import prove
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.supervisor import Supervisor
from offswitch.warden.table import Table
from offswitch.warden.trust import loaded, state, writable_by_others

__all__ = ["LEASE_NS", "Warden"]

LEASE_NS = 3_000_000_000
"""How long a lease lasts; it is renewed after every sixth of that (SR-21)."""
_PRIVATE_END_S = 10.0
_LOOK_S = 1.0
_LOOKS = 30
_PR_SET_CHILD_SUBREAPER = 36
_PRIORITY = 20
_SAME_PRESS_US = 1_000_000


def take_lock(place: Place) -> int:
    """Hold the run folder's lock, or raise `Busy`: another warden is there."""
    fd = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Busy(f"another warden serves {place.run}", "ask it: offswitch status") from None
    os.truncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


class Warden:
    """One warden process."""

    def __init__(
        self, place: Place, *, private: bool, record: bool = True, passed: Passed | None = None
    ) -> None:
        """`private`: end when nothing is left to do; `record`: False for a benchmark only.

        `passed` is what the code before in this very process has handed over, if any did.
        """
        self._place = place
        self._passed = passed
        self._private = private
        self._record = record
        self._loop = Loop(self._defect)
        self._clock = SystemClock()
        self._unsettled: set[str] = set()
        """Keepers' own orders that are not durable in the latch's own file yet."""
        self._supervisor = Supervisor()
        self._signalled = False
        self._end: Timer | None = None
        self._lock = -1
        self._servers: list[Server] = []

    # --- coming up ----------------------------------------------------------------

    def serve(self) -> None:
        """Come up, serve until ended, and leave the latch as it is."""
        self._harden()
        passed = self._passed  # then folders and lock are as they should be, and not asked again
        gid = prepare(self._place) if passed is None else passed.gid
        self._lock = take_lock(self._place) if passed is None else passed.lock
        self._trusted()
        core = self._core = self._load(gid)
        self._live()
        self._stopper = Stopper(core)
        self._gates = Gates(core, self._stopper, self._maybe_end)
        self._hands = Hands(core, self._stopper)
        self._starter = Starter(core)
        self._starter.on_idle = self._maybe_end
        self._starter.on_drained = self._stopper.drained
        self._starter.on_buried = self._stopper.buried
        self._resetter = Resetter(core, self._stopper, self._starter)
        self._adopter = Adopter(core, self._stopper, self._starter)
        self._starter.on_adopted = self._adopter.changed
        self._operations = Operations(
            core,
            self._stopper,
            self._starter,
            self._resetter,
            self._adopter,
            self._gates,
            self._hands,
        )
        self._crew = Crew(core, self._stopper, self._starter, self._keeper_acted)
        self._crew.on_observer = self._adopter.observer_back
        self._recovery = Recovery(core, self._stopper, self._starter)
        self._crew.start_hands()  # first: what is found is armed with them
        self._recovery.find(buried=() if passed is None else passed.graves)
        self._hands.begin()
        if passed is None:
            self._come_up(core, gid)
        else:
            self._come_up_in_place(core, passed)
        self._loop.watch(core.store.fileno(), self._durability)
        self._heed_signals()
        self._maybe_end()
        Blindness(core, self._stopper).begin()
        Readiness(core).begin()
        self._supervisor.ready()
        prove(core)
        gc.freeze()  # what is here stays: no collection looks through it in the middle of a stop
        self._loop.run()
        self._leave()

    def _come_up(self, core: Core, gid: int) -> None:
        """Hold all that is there, and only then open the door."""
        if self._record:
            core.recording.start()
        entries.started(core, None)
        entries.would_have(core)
        self._recovery.enforce()
        self._adopter.begin()
        self._crew.start_keeper()
        self._loop.every(LEASE_NS / 6e9, lambda: self._renew(core))
        self._recovery.thaw()
        self._loop.every(_LOOK_S, self._look_at_page)
        self._open_door(listen(self._place.warden_socket, 0o660, gid))
        spool.prepare(self._place, gid)
        self._watch_spool()

    def _come_up_in_place(self, core: Core, passed: Passed) -> None:
        """Go on where the code before stopped. Its keeper holds all until ours does."""
        peers = take_up(passed, self._open_door(socket.socket(fileno=passed.listener)))
        if self._record:
            core.recording.start()
        entries.started(core, passed.code)
        self._recovery.enforce()
        self._adopter.begin()
        self._loop.every(LEASE_NS / 6e9, lambda: self._renew(core))
        self._crew.start_keeper(before=keeper_before(passed))
        self._recovery.thaw()
        self._loop.every(_LOOK_S, self._look_at_page)
        self._watch_spool()
        go_on(passed, peers, core.page.epoch, self._operations.feed)

    def _heed_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._told_to_end)
        signal.signal(signal.SIGINT, self._told_to_end)
        hand_over = self._operations.hand_over
        signal.signal(signal.SIGHUP, lambda *_: self._loop.later(0, lambda: hand_over(None)))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, DEFERRED)

    def _renew(self, core: Core) -> None:
        """Let the lease go on, and tell whoever would replace us that it does."""
        core.page.renew(LEASE_NS)
        self._supervisor.alive()

    def _harden(self) -> None:
        """Take what the machine grants: descriptors, priority, the OOM killer's mercy."""
        take_what_is_granted(_PRIORITY)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        keep_to_oneself()
        os.umask(0o022)
        os.chdir("/")

    def _trusted(self) -> None:
        """Refuse to serve as root from where somebody else can write (SR-1)."""
        place = self._place
        self._degraded = writable_by_others(
            [*loaded(), *state(place.home), place.config], os.geteuid()
        )
        if self._degraded and os.geteuid() == 0:
            listed = "; ".join(self._degraded[:3])
            raise Refused(
                f"not served as root from where others can write: {listed}",
                "give these to root, writable by root alone, or install Offswitch elsewhere",
            )

    def _load(self, gid: int) -> Core:
        place = self._place
        installation = installation_id(place.home)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        passed = self._passed
        self._log = passed.log if passed else os.open(f"{place.home}/warden.log", flags, 0o600)
        children = Children(self._loop, self._log)
        recording = Recording(place, installation, self._clock, self._loop, children)
        page = PageWriter.take(place)
        store = LatchStore(place)
        loaded = store.load()
        latch = loaded.latch
        start = at_start(place.home, os.geteuid(), latched=len(latch) > 0)
        ground = cell.ground(place, here := take_standing(place))
        sweep, can = (lambda uid: self._crew.sweep(uid)), (lambda: self._crew.can_sweep())  # noqa: PLW0108 - it comes
        local = local_layers(ground, sweep, can)
        core = Core(
            place=place,
            installation=installation,
            clock=self._clock,
            loop=self._loop,
            children=children,
            errands=Errands(self._loop),
            names=Errands(self._loop, "the name service"),
            page=page,
            store=store,
            latch=latch,
            table=Table(place, gid, page),
            rights=Rights(gid, place.cgroup),
            recording=recording,
            ran_as=RanAs(place.home),
            authority=start.authority,
            secret_set=is_secret_set(place.home),
            news=News(),
            standing=here,
            freeze_steps=local.freeze_steps,
            kill_steps=local.kill_steps,
            network_release=local.network_release,
            sockets=local.sockets,
        )
        if what := loaded.damage:
            core.notes["latch"] = f"the latch was damaged, so everything is latched: {what}"
            recording.note("gap", what="latch", why=what)
        entries.authority(recording, start)
        if self._degraded:
            core.notes["trust"] = f"degraded: {self._degraded[0]}"
        recall(core)
        self._join(core, left_orders(place.memory, place.home))
        return core

    def _join(self, core: Core, stops: list[Stop]) -> None:
        """Take the keeper's own orders into the latch; a cleared one stays cleared."""
        self._unsettled.update(stop.digest for stop in stops)
        for stop in stops:
            if stop.digest not in core.latch and core.latch.add(stop):
                core.store.note(stop)
                entries.left_by_a_keeper(core, stop)
        core.store.sync()

    def _keeper_acted(self, again: int = _LOOKS) -> None:
        """Do as a stop what a keeper did by itself; none to be seen yet is looked for again."""
        try:
            left = left_orders(self._place.memory)
        except OSError:
            self._loop.later(_LOOK_S, self._keeper_acted)
            return
        if not left and again:
            self._loop.later(_LOOK_S, lambda: self._keeper_acted(again - 1))
        if not left and again < _LOOKS:
            return
        self._join(self._core, left)
        self._recovery.enforce()
        self._settle()

    def _look_at_page(self) -> None:
        """Say it when nobody who comes now would find the page that is in use."""
        self._core.notes.pop("page", None)
        if trouble := self._core.page.trouble():
            self._core.notes["page"] = f"{trouble}; stops work. Restart the warden, then what runs"

    # --- its doors ----------------------------------------------------------------

    def _open_door(self, sock: socket.socket) -> Parts:
        """Serve who connects to `sock`, and whoever wants this warden renewed."""
        server = Server(
            self._loop,
            sock,
            handle=self._operations.handle,
            hung_up=self._operations.hung_up,
            broken=self._operations.garbage,
        )
        self._servers.append(server)
        parts = Parts(
            self._core,
            self._stopper,
            self._starter,
            self._resetter,
            self._adopter,
            self._operations,
            self._gates,
            server,
            self._lock,
            self._log,
        )
        options = ["--home", self._place.home, "--run", self._place.run]
        options += ["--private"] * self._private + ["--no-recorder"] * (not self._record)
        hand_over = HandOver(parts, self._supervisor, options, self._let_go, self._live)
        self._operations.hand_over = hand_over.ask
        return parts

    def _let_go(self) -> None:
        self._vital.give_up()  # the kernel would mark an exec as a death

    def _live(self) -> None:
        self._vital = self._core.page.live()

    def _watch_spool(self) -> None:
        self._spool = spool.Scan(self._place)
        self._loop.watch(self._spool.fileno(), lambda _events: self._spool_came())
        self._obey_spool()

    def _spool_came(self) -> None:
        """Go through the spool, unless that is under way."""
        idle = self._spool.due_ns() is None
        self._spool.came()
        if idle:
            self._obey_spool()

    def _obey_spool(self) -> None:
        """Obey what lies in the spool: a file's name is a stop (SR-11). A pass, then the next."""
        core = self._core
        for spooled in self._spool.take():
            try:
                stop = Stop(
                    core.installation,
                    parse_scope(spooled.scope_text or ""),
                    Level.KILL,
                    spooled.by,
                    "spool",
                    spooled.nonce,
                    spooled.time_us,
                )
            except OffswitchError:
                core.notes["spool"] = "a file in the spool is no scope, so it stops nothing"
                core.recording.note(
                    "refused",
                    {"by": spooled.by, "name": spooled.path},
                    what="spool",
                    why="no scope",
                    channel="spool",
                    prior="unchanged",
                    state="unchanged",
                )
            else:
                # `offswitch stop` goes to the socket and the spool at once: one press, obeyed once.
                if not core.latch.repeats(stop, core.barred, _SAME_PRESS_US):
                    self._stopper.press([stop])
            self._consume(spooled)
        due = self._spool.due_ns()
        if due is not None:
            core.loop.later((due - time.monotonic_ns()) / 1e9, self._obey_spool)

    def _consume(self, spooled: spool.Spooled) -> None:
        """Take a name away; where the spool lies on a disk that is an errand."""
        if self._place.memory == self._place.run:
            spool.consume(spooled)
        else:
            self._core.errands.send(lambda: spool.consume(spooled), lambda _outcome: None)

    def _durability(self, _events: int) -> None:
        try:
            os.read(self._core.store.fileno(), 8)
        except BlockingIOError:
            pass
        self._stopper.merging.cramped()
        self._settle()

    def _settle(self) -> None:
        """Have keepers forget which of their own orders are durable in the latch's file."""
        core, keepers = self._core, self._crew.keepers
        if not self._unsettled or not keepers:
            return
        cleared, durable = core.latch.cleared, core.store.durable

        def safe(digest: str) -> bool:
            return durable(digest) or digest in cleared

        memory, home = self._place.memory, self._place.home
        living = [keeper.pid for keeper in keepers]
        gone = {digest for digest in self._unsettled if safe(digest)}
        self._unsettled -= gone

        def forgot(outcome: OSError | None) -> None:
            if outcome is not None:  # the disk did not answer: they lie there still
                self._unsettled |= gone
                self._loop.later(_LOOK_S, self._settle)

        for keeper in keepers:
            keeper.joined([stop.digest for stop in left_orders(memory) if safe(stop.digest)])
        forget_left(memory, safe, living)
        core.errands.send(lambda: forget_left(home, safe, living), forgot)

    # --- the end ------------------------------------------------------------------

    def _maybe_end(self) -> None:
        """A private warden ends 10 s after its last cell is empty, if nothing is latched.

        Whatever may have made it idle asks here, and the ten seconds begin anew.
        """
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._private and self._idle():
            self._end = self._loop.later(
                _PRIVATE_END_S, lambda: self._loop.stop() if self._idle() else None
            )

    def _idle(self) -> bool:
        core = self._core
        here = any(row.cell or row.adopted or row.served or row.handed for row in core.table)
        return not len(core.latch) and not here

    def _leave(self) -> None:
        """End: with cells left this is a loss of the warden, and the keeper takes over.

        What was just accepted goes to the disk first, unless that hangs: it is on tmpfs, too.
        """
        core = self._core
        self._supervisor.ending()
        for server in self._servers:
            server.close()
        core.store.close()
        alive = sum(1 for row in core.table if row.cell is not None)
        core.recording.note(
            "restart",
            {"by": f"uid:{os.geteuid()}"},
            process="warden",
            what="ends",
            channel="process",
            why="a signal" if self._signalled else "nothing runs, and nothing is latched",
            prior="serves",
            state="no warden",
            cells=alive,
        )
        self._adopter.end()
        self._gates.end()
        self._hands.end()
        self._crew.end(alive=alive > 0)
        if not alive:
            cell.clear_ground(core.place, core.standing)
        core.recording.finish()
        if not alive and not len(core.latch):
            take_sockets_along(core.place)
        os.close(self._lock)

    def _told_to_end(self, *_: object) -> None:
        self._signalled = True
        self._loop.stop()

    def _defect(self, error: BaseException) -> None:
        """A callback raised: say where in the log, note it, go on serving."""
        text = "".join(traceback.format_exception(error))
        try:
            self._core.errands.say(text)
            self._core.recording.note("note", what="defect", why=f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001, S110 - a defect in recording a defect must not end the loop
            pass
