"""Adopting: a target that something else starts is found by its name, and held as our own (SR-24).

    adopt ─► the finder looks ─► refused?  ─► kept on disk ─► held
    it is made again ─► the finder tells ─► latched: killed at once ─► keeper, page, record

The name is what is adopted. Whenever a cgroup bears it, that is opened, handed to the keeper
and, while the target is latched, stopped before anything else is done. When none bears it,
nothing of the target runs there; while the finder has not looked, that is *unknown*.

Refused, at adoption and at every finding: the tree's root, and what is or contains the cgroup
of pid 1, of ours, or (at adoption) of the caller. Only root adopts (SR-3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from offswitch.control.peer import Peer
from offswitch.errors import (
    Busy,
    Latched,
    NotFound,
    OffswitchError,
    Refused,
    Storage,
    Unsupported,
    Usage,
)
from offswitch.model.level import Level
from offswitch.model.named import KINDS, Named
from offswitch.model.state import Event, State, step
from offswitch.model.target import Target, check_name
from offswitch.warden.arming import arm
from offswitch.warden.cells.adopted import AdoptedCell
from offswitch.warden.cells.cgroups import find_trees
from offswitch.warden.cells.rung import Rung
from offswitch.warden.core import Core
from offswitch.warden.door.rights import cgroup_of
from offswitch.warden.finder_link import FinderLink
from offswitch.warden.may_start import say
from offswitch.warden.respawn import Respawn
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Adopter"]

_PATIENCE_S = 5.0
"""How long a person waits for the finder: it may be started first."""

Done = Callable[[Tracked], None]
Failed = Callable[[OffswitchError], None]


class _Asked:
    """Somebody waits for an adoption to be decided."""

    def __init__(self, named: Named, peer: Peer, done: Done, failed: Failed) -> None:
        self.named = named
        self.peer = peer
        self.done = done
        self.failed = failed


class Adopter:
    """Holds what others start."""

    def __init__(self, core: Core, stopper: Stopper, starter: Starter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._tree = find_trees().v2 or ""
        self._asked: dict[str, _Asked] = {}
        self._taken: dict[str, _Asked] = {}
        """Adopted, and looked for once more before it is said."""
        self._resolving: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._count = 0
        self._again = Respawn(core.loop, self._start_finder)
        self._ending = False

    # --- its finder ---------------------------------------------------------------

    def begin(self) -> None:
        """Have what an earlier warden adopted looked for."""
        for row in self._adopted():
            self._give_slot(row)
        if self._adopted():
            self._again.begin()

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return "an adoption" if self._asked or self._taken else ""

    def end(self) -> None:
        """Look no longer."""
        self._ending = True
        for row in self._adopted():
            say(self._core.place, row.target.name, allowed=False)
        if self._core.finder is not None:
            self._core.finder.close()

    def _adopted(self) -> list[Tracked]:
        return [row for row in self._core.table if row.adopted is not None]

    def _finder(self) -> FinderLink:
        if self._core.finder is None:
            self._again.begin()
        if self._core.finder is None:
            raise Busy("the finder cannot be started", "try again in a second: offswitch doctor")
        return self._core.finder

    def _start_finder(self) -> None:
        core = self._core
        core.finder = link = FinderLink.start(core.place, core.children.log)
        core.children.expect(link.pid, lambda status: self._lost_finder(link, status))
        core.loop.watch(link.fileno(), lambda _events: self._heard(link))
        for row in self._adopted():
            if row.adopted is not None:
                row.sought = False
                link.want(row.target.name, row.adopted)

    def _lost_finder(self, link: FinderLink, status: int) -> None:
        core = self._core
        if self._ending or core.finder is not link:
            return
        core.loop.forget(link.fileno())
        link.close()
        core.finder = None
        for row in self._adopted():
            row.sought = False
        core.recording.lost("finder", status)
        self._again.lost()

    def _heard(self, link: FinderLink) -> None:
        for message in link.heard(self._core.loop):
            if "resolved" in message:
                then = self._resolving.pop(int(message["resolved"]), None)
                if then is not None:
                    then(message)
            elif "path" in message:
                self._told_where(message)
            else:
                self._told_what(message)

    # --- adoption -----------------------------------------------------------------

    def adopt(
        self, name: str, said: dict[str, Any], peer: Peer, done: Done, failed: Failed
    ) -> None:
        """Adopt what `said` names, or the cgroup of its `pid`; one of the two is called, once."""
        if self._core.rung is not Rung.ROOT:
            hint = "run the warden as root, on a host with cgroup v2"
            raise Unsupported(f"rung {self._core.rung.value} can adopt nothing", hint)
        if check_name(name).startswith("."):
            raise Usage(f"{name}: names that begin with a dot are reserved")
        named, pid = Named.of(said), said.get("pid")
        if (named is None) == (pid is None):
            raise Usage("a target is adopted by a name, or by one of its processes", _HOW)
        if named is not None:
            self._begin(name, _Asked(named, peer, done, failed))
            return
        self._count += 1
        number = self._count

        def resolved(message: dict[str, Any]) -> None:
            try:
                if message.get("error"):
                    raise Refused(str(message["error"]), "adopt its unit, or --cgroup PATH")
                by = Named.of(message["as"])
                if by is None:
                    raise Refused(f"the cgroup of process {pid} has no name", _HOW)
                self._begin(name, _Asked(by, peer, done, failed))
            except OffswitchError as error:
                failed(error)

        self._resolving[number] = resolved
        self._finder().resolve(number, int(str(pid)))
        self._core.loop.later(_PATIENCE_S, lambda: self._unresolved(number, failed))

    def declared(self, row: Tracked, item: dict[str, Any], peer: Peer) -> None:
        """Adopt what a declaration names, or say in `status` why it is not."""

        def failed(error: OffswitchError) -> None:
            row.trouble = error.message

        said = {kind: item[kind] for kind in KINDS if item.get(kind) is not None}
        try:
            if said and row.adopted != Named.of(said):
                self.adopt(row.target.name, said, peer, lambda _row: None, failed)
        except OffswitchError as error:
            failed(error)

    def _unresolved(self, number: int, failed: Failed) -> None:
        if self._resolving.pop(number, None) is not None:
            failed(Busy("the finder does not answer", "offswitch doctor"))

    def _begin(self, name: str, asked: _Asked) -> None:
        row = self._core.table.get(name)
        if row is not None and row.adopted is not None:
            if row.adopted == asked.named:
                asked.done(row)
                return
            hint = f"offswitch target release {name}"
            raise Refused(f"{name} is adopted as {row.adopted.text} already", hint)
        if row is not None and row.cell is not None:
            raise Busy(f"{name} runs in a cell of ours", "give the adopted one another name")
        if name in self._asked:
            raise Busy(f"{name} is being adopted already", "wait a second")
        for other in self._adopted():
            if other.adopted == asked.named:
                raise Refused(f"{asked.named.text} is adopted as {other.target.name} already")
        self._finder().want(name, asked.named)
        self._asked[name] = asked
        self._core.loop.later(_PATIENCE_S, lambda: self._unanswered(name, asked))

    def _unanswered(self, name: str, asked: _Asked) -> None:
        if self._asked.get(name) is asked:
            self._give_up(name, asked, Busy("the finder does not answer", "offswitch doctor"))

    def _give_up(self, name: str, asked: _Asked, error: OffswitchError) -> None:
        self._asked.pop(name, None)
        if self._core.finder is not None:
            self._core.finder.drop(name)
        asked.failed(error)

    def _decide(self, name: str, asked: _Asked, message: dict[str, Any]) -> None:
        """The finder has looked for what is to be adopted: refuse it, or keep it."""
        path = message["path"]
        why = self._refusal(str(path), asked.peer.pid) if path else str(message["why"])
        if why:
            self._give_up(name, asked, Refused(f"{asked.named.text} is not adopted: {why}", _WHY))
            return
        self._keep(name, asked)

    def _keep(self, name: str, asked: _Asked) -> None:
        """Write down that it is adopted, beside all that are by then; and only then take it."""
        core = self._core
        kept = self._with(name, asked)

        def written(outcome: OSError | None) -> None:
            if self._asked.get(name) is not asked:
                return
            if isinstance(outcome, OSError):
                why = f"the adoption cannot be kept: {outcome.strerror}"
                self._give_up(name, asked, Storage(why, "free space for OFFSWITCH_HOME"))
            elif kept != self._with(name, asked):  # others came or went meanwhile
                self._keep(name, asked)
            else:
                del self._asked[name]
                self._take(name, asked)

        core.errands.send(lambda: core.table.save_adopted(kept), written)

    def _with(self, name: str, asked: _Asked) -> list[dict[str, str]]:
        return [*self._core.table.adoptions(), _kept(name, asked.named)]

    def _take(self, name: str, asked: _Asked) -> None:
        """It is adopted from here on; the finder says once more where it is."""
        core = self._core
        row = core.table.get(name) or Tracked(Target(name), State.IDLE)
        prior = row.state
        row.adopted, row.sharing = asked.named, True
        core.table.put(row)
        self._give_slot(row)
        core.recording.note(
            "config",
            {"by": f"uid:{asked.peer.uid}"},
            what="adopted",
            target=name,
            name=asked.named.text,
            channel="socket",
            prior=prior.value,
            state=row.state.value,
        )
        row.sought = False
        self._taken[name] = asked
        self._finder().want(name, asked.named)

    def release(self, name: str, peer: Peer, done: Done, failed: Failed) -> None:
        """Adopt it no longer; what runs, runs on."""
        core = self._core
        row = core.table.get(check_name(name))
        if row is None or row.adopted is None:
            raise NotFound(f"{name} is not adopted", "see: offswitch target list")
        if core.level(row) is not None:
            hint = f"clear its stop first: offswitch reset {name} --reason TEXT"
            raise Latched(f"{name} is latched, so it is not released", hint)
        kept = [item for item in core.table.adoptions() if item["target"] != name]

        def written(outcome: OSError | None) -> None:
            if isinstance(outcome, OSError):
                why = f"the release cannot be kept: {outcome.strerror}"
                failed(Storage(why, "free space for OFFSWITCH_HOME"))
            elif core.level(row) is not None:
                failed(Latched(f"{name} was stopped meanwhile, so it is not released"))
                core.errands.send(lambda: core.table.save_adopted(core.table.adoptions()), _ignore)
            else:
                self._let_go(row, peer)
                done(row)

        core.errands.send(lambda: core.table.save_adopted(kept), written)

    def _let_go(self, row: Tracked, peer: Peer) -> None:
        core, prior = self._core, row.state
        if core.finder is not None:
            core.finder.drop(row.target.name)
        say(core.place, row.target.name, allowed=False)
        row.adopted, row.sought = None, True
        if row.cell is not None:
            self._bury(row)
        row.remains, row.state = None, State.IDLE
        if row.slot is not None:
            core.page.set(row.slot, 0)
            row.slot = None
        core.table.keep()
        core.recording.note(
            "config",
            {"by": f"uid:{peer.uid}"},
            what="released",
            target=row.target.name,
            channel="socket",
            prior=prior.value,
            state=row.state.value,
        )
        self._starter.on_idle()

    # --- what the finder tells ------------------------------------------------------

    def _told_where(self, message: dict[str, Any]) -> None:
        name = str(message["target"])
        asked = self._asked.get(name)
        if asked is not None:
            self._decide(name, asked, message)
            return
        row = self._core.table.get(name)
        if row is None or row.adopted is None:
            return
        path = str(message["path"] or "")
        row.trouble = self._refusal(path) if path else str(message["why"])
        if path and not row.trouble:
            self._found(row, path, int(message["inode"]))
        else:
            self._gone(row)
        if not row.sought:
            row.sought = True
            self._stopper.resume(row)  # what is latched was not confirmed while nobody had looked
        if (taken := self._taken.pop(name, None)) is not None:
            taken.done(row)

    def _found(self, row: Tracked, path: str, inode: int) -> None:
        """Hold the cgroup that bears the name now; while latched it is stopped before all else."""
        core, level = self._core, self._core.level(row)
        if row.adopted is None or (row.cell is not None and row.cell.cgroup_id == inode):
            return
        self._count += 1
        name = f"a{core.page.epoch}-{self._count}"
        try:
            cell = AdoptedCell(name, row.adopted, self._tree, path)
        except OSError:
            return  # gone again already: the finder tells
        if level is not None and level >= Level.FREEZE:
            cell.freeze() if level is Level.FREEZE else cell.kill()
        if row.cell is not None:
            self._bury(row)
        if row.remains is not None:
            cell.inherit(row.remains)
        row.cell, row.remains = cell, None
        row.since_us = core.clock.wall_us()
        row.readiness = arm(core, row)
        row.state = step(State.UNKNOWN, Event.FOUND, level, alive=row.alive)
        self._stopper.set_word(row, level)
        core.table.keep()
        if core.keeper is not None and row.slot is not None:
            row.keeper_has_it = False
            facts, fds, target = cell.facts(), cell.fds(), row.target
            core.keeper.hand(facts, fds, target.name, dict(target.labels), row.slot)
        self._starter.hear_events(row)
        if level is not None:
            self._stopper.found_again(row, f"{row.adopted.text} was started again")
        self._stopper.reappeared(row, alive=row.alive)

    def _gone(self, row: Tracked) -> None:
        """No cgroup bears the name: nothing of it runs there."""
        if row.cell is None:
            return
        level = self._core.level(row)
        row.state = step(row.state, Event.EXIT, level, alive=False)
        self._bury(row)
        if level is not None and level < Level.FREEZE:
            self._stopper.drained(row)

    def _told_what(self, message: dict[str, Any]) -> None:
        """Take in what the finder saw in a cgroup: its users, its sockets."""
        row = self._core.table.get(str(message["target"]))
        cell = row.cell if row is not None else None
        if row is None or not isinstance(cell, AdoptedCell):
            return
        if cell.cgroup_id != int(message["inode"]):
            return
        uids = [int(uid) for uid in message["uids"]]
        if uids:
            row.uid = 0 if 0 in uids else uids[0]
            row.user = ", ".join(f"uid {uid}" for uid in uids[:5])
            for uid in set(uids) - set(self._core.ran_as.uids):
                self._remember(uid)
        cell.find_v1_freezer()
        more = cell.learn(message["also"], message["older"])
        if cell.enter_net(int(message["foreign_net"])):
            self._show_net(row)
        self._core.table.keep()
        if more and (self._core.level(row) or 0) >= Level.KILL:
            self._stopper.found_again(row, "more sockets of it are known")

    def _bury(self, row: Tracked) -> None:
        """Let go of a cgroup that is gone or not the one any more."""
        if row.cell is not None and self._core.observer is not None:
            self._core.observer.hide_net(row.cell.name)
        self._starter.bury(row)

    def _show_net(self, row: Tracked) -> None:
        """Let the observer look into the network that a target has to itself."""
        cell, observer = row.cell, self._core.observer
        if isinstance(cell, AdoptedCell) and cell.shown is not None and observer is not None:
            observer.show_net(cell.name, cell.shown.fileno())

    def observer_back(self) -> None:
        """Show a new observer what the lost one was shown."""
        for row in self._adopted():
            self._show_net(row)

    def _remember(self, uid: int) -> None:
        """Keep under which user an adopted target runs: that user may not reset alone (SR-2)."""
        core = self._core
        core.ran_as.add(uid)
        core.errands.send(lambda: core.ran_as.write(uid), _ignore)

    def changed(self, row: Tracked) -> None:
        """Its cgroup was filled or emptied. One that is gone is the finder's to tell."""
        if row.cell is None:
            return
        populated, level = row.cell.populated(), self._core.level(row)
        if populated is None:
            return
        if level is None:
            row.state = State.RUNNING if populated else State.EXITED
            self._stopper.reappeared(row, alive=populated)
        elif level >= Level.KILL and populated:
            row.cell.kill()
            self._stopper.found_again(row, "it was started again")
        elif level < Level.FREEZE and not populated and row.state is not State.STOPPED:
            row.state = step(row.state, Event.EXIT, level, alive=False)
            self._stopper.drained(row)

    # --- what may not be adopted ------------------------------------------------------

    def _refusal(self, path: str, caller: int = 0) -> str:
        """Say why the cgroup at `path` (`/…`) may not be stopped; empty if it may."""
        core, inside = self._core, path.rstrip("/") + "/"
        ground = f"/{core.place.cgroup}/"
        if inside == "/":
            return "it is the root of the tree"
        if ground in inside or ground.startswith(inside):
            return "it is, or holds, the cells of ours"
        ours = {"pid 1": 1, "the caller": caller, **core.pids()}
        for who, pid in ours.items():
            if pid and f"{cgroup_of(pid) or ''}/".startswith(inside):
                return f"it is, or holds, the cgroup of {who} ({pid})"
        return self._threaded(path)

    def _threaded(self, path: str) -> str:
        try:
            with open(f"{self._tree}{path}/cgroup.type", encoding="ascii") as file:
                kind = file.read().strip()
        except OSError:
            return ""
        return "it is threaded: the kernel kills only whole cgroups" if kind == "threaded" else ""

    def _give_slot(self, row: Tracked) -> None:
        """Give it a word in the page, one for the whole boot; without room it has none."""
        if row.slot is None:
            try:
                row.slot = self._core.page.allot()
            except Busy as error:
                row.trouble = error.message
        self._stopper.set_word(row, self._core.level(row))


_HOW = "--unit, --container, --cgroup, --pid or --name: one of them"
_WHY = "adopt what holds nothing but the target: see docs/adoption.md"


def _kept(name: str, named: Named) -> dict[str, str]:
    return {"target": name, "kind": named.kind, "value": named.value}


def _ignore(_outcome: object) -> None:
    return
