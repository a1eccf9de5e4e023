"""All hands of one warden: declared, kept for the next warden, told, shown to the observer.

    declare ─► hands.json ─► two processes each ─► proven, again and again
    stop    ─► told in the same breath as the words are set ─► the observer asks their looks
    reset   ─► told that what may be undone may be undone

A file on which one rests is looked at each second, by the thread that may wait for a disk: another
one makes it *unproven* at once (DRL-4). One that is declared no more stays as long as its target
is latched: to take away what holds is no way to let go.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from offswitch.config.secret_file import stamp
from offswitch.control.ids import HANDS
from offswitch.errors import Corrupt, Latched, OffswitchError, Storage, Usage
from offswitch.model.level import Level
from offswitch.model.state import State
from offswitch.model.target import Target
from offswitch.warden.core import Core, Noted
from offswitch.warden.hands.one import One, worst
from offswitch.warden.hands.side import Standing
from offswitch.warden.hands.spec import Spec
from offswitch.warden.plan import UNKNOWN
from offswitch.warden.reach import planned
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked
from offswitch.warden.whole_file import write_whole

__all__ = ["Hands"]

_LOOK_S = 1.0
_NEVER_BACK = frozenset({"credentials", "data"})
"""What no reset gives back (RST-8)."""
_MOST = 256
_FILE = "hands.json"
_SEEN_FILE = "hands-seen.json"
_MOST_SEEN = 1 << 20


class Hands:
    """Every declared actuator of one warden."""

    def __init__(self, core: Core, stopper: Stopper) -> None:
        """Start nothing yet."""
        self._core = core
        core.hands = self
        self._stopper = stopper
        self._by_name: dict[str, One] = {}
        self._by_target: dict[str, list[One]] = {}
        self._local: dict[str, dict[str, Standing]] = {}
        """Target → what its layers said without hands."""
        self._stamps: dict[str, str] = {}
        """File → what it was when it was last looked at."""
        self._looking = False
        self._writing = self._unwritten = False
        """Of what looks asked to be remembered."""
        self._unknown = ""
        """Why it is not known which hands were declared; empty: it is."""
        self._numbers = 0
        self._leaving: set[str] = set()
        """Names that are declared no more, and stay as long as their targets are latched."""

    # --- who is there ---------------------------------------------------------------

    def begin(self) -> None:
        """Start those that were declared to the warden before, and look after them."""
        try:
            specs = self._kept()
        except OffswitchError as error:
            specs = []
            self._forgotten(f"which hands were declared is not known: {error.message}")
        seen = self._seen()
        for spec in specs:
            self._take(spec, seen.get(spec.name, ""))
        self._core.loop.every(_LOOK_S, self._look_after)

    def _forgotten(self, why: str) -> None:
        """Until somebody declares anew, no stop of what is known here counts as whole."""
        self._unknown = why
        self._core.notes["hands"] = f"{why}; no stop is confirmed until `offswitch up` is started"
        for row in self._core.table:
            row.readiness = self.over(row, row.readiness)

    def _known_again(self) -> None:
        """It was declared anew: who has no hands has none."""
        self._unknown = ""
        for row in self._core.table:
            if UNKNOWN in row.handed:
                row.handed = frozenset()
                row.readiness = {k: v for k, v in row.readiness.items() if k != UNKNOWN}

    def _kept(self) -> list[Spec]:
        path = f"{self._core.place.home}/{_FILE}"
        try:
            with open(path, "rb") as file:
                items = json.load(file)
            return [Spec.read(item) for item in items]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise Corrupt(f"{path}: {error}", "start `offswitch up` again") from None

    def _seen(self) -> dict[str, str]:
        """Give what looks asked to be remembered; what cannot be read is as if never seen."""
        try:
            with open(f"{self._core.place.home}/{_SEEN_FILE}", "rb") as file:
                found = json.loads(file.read(_MOST_SEEN))
            return {str(name): str(memory) for name, memory in found.items()}
        except (OSError, ValueError, AttributeError, RecursionError):
            return {}

    @staticmethod
    def read(items: Any) -> list[Spec]:  # noqa: ANN401 - what was sent
        """Check a declaration; raises `Usage`."""
        if not isinstance(items, list) or len(items) > _MOST:
            raise Usage(f"a declaration lists at most {_MOST} actuators")
        specs = [Spec.read(item) for item in items]
        names = [spec.name for spec in specs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise Usage(f"there are two actuators of the name {twice!r}", "rename one of them")
        return specs

    def check(self, specs: list[Spec]) -> None:
        """Refuse to have one that holds a target stop another one: raises `Latched`."""
        for spec in specs:
            one = self._by_name.get(spec.name)
            if one is not None and one.spec.target != spec.target and self._latched(one):
                what = f"actuator {spec.name} holds {one.spec.target}, which is stopped"
                raise Latched(what, "reset that first, or give the new one another name")

    def declare(self, specs: list[Spec]) -> None:
        """These are declared from now on, and no others; kept for the next warden."""
        self._known_again()
        wanted = {spec.name: spec for spec in specs}
        for name, one in list(self._by_name.items()):
            if wanted.get(name) == one.spec:
                self._leaving.discard(name)
                del wanted[name]
            elif name not in wanted and self._latched(one):
                self._leaving.add(name)
            else:
                self._drop(one)
        for spec in wanted.values():
            self._take(spec)
        self._keep()

    def _take(self, spec: Spec, seen: str = "") -> None:
        self._numbers += 1
        one = One(self._core, spec, self._numbers, self._changed, self._came_new, self._keep_seen)
        if self._latched(one):
            one.looks.remembered = seen  # of the same stop; one that is over has nothing to say
        self._leaving.discard(spec.name)
        self._by_name[spec.name] = one
        told = self._by_target.setdefault(spec.target, [])
        told.append(one)
        told.sort(key=lambda each: HANDS.index(each.spec.layer))
        row = self._row(spec.target)
        row.handed = frozenset(each.spec.layer for each in self._by_target[spec.target])
        one.know(row)
        self._changed(one)

        def begin(found: dict[str, str] | OSError) -> None:
            """What it will read is known by its stamp now: a change from here on is seen."""
            if isinstance(found, dict):
                self._stamps.update(found)
            if self._by_name.get(spec.name) is one:
                one.begin()

        self._core.errands.send(lambda: {path: stamp(path) for path in spec.files}, begin)

    def _row(self, name: str) -> Tracked:
        row = self._core.table.get(name)
        if row is None:
            row = self._core.table.put(Tracked(Target(name), State.IDLE))
        return row

    def _drop(self, one: One) -> None:
        """Let one go; what it has cut stays cut."""
        name = one.spec.target
        one.end()
        self._leaving.discard(one.spec.name)
        del self._by_name[one.spec.name]
        self._by_target[name].remove(one)
        if self._core.observer is not None:
            self._core.observer.hide_sight(one.number)
        row = self._core.table.get(name)
        if row is not None:
            row.handed = frozenset(each.spec.layer for each in self._by_target[name])
            local = self._local.get(name, {})
            if one.spec.layer not in row.handed and one.spec.layer not in local:
                row.readiness = {k: v for k, v in row.readiness.items() if k != one.spec.layer}
            row.readiness = self.over(row, {**row.readiness, **local})

    def _keep(self) -> None:
        """Write them down for the next warden, where no disk is waited for."""
        core = self._core
        body = json.dumps([one.spec.wire() for one in self._by_name.values()]).encode()

        def kept(outcome: OSError | None) -> None:
            core.notes.pop("hands", None)
            if outcome is not None:
                why = Storage(f"declared hands are not kept: {outcome.strerror}").message
                core.notes["hands"] = why

        core.errands.send(lambda: write_whole(f"{core.place.home}/{_FILE}", body, 0o600), kept)

    def _keep_seen(self) -> None:
        """Write down what looks asked to be remembered; what comes meanwhile, after it."""
        self._unwritten = True
        if self._writing:
            return
        self._writing, self._unwritten = True, False
        found = {name: one.looks.remembered for name, one in self._by_name.items()}
        body = json.dumps({name: memory for name, memory in found.items() if memory}).encode()
        path = f"{self._core.place.home}/{_SEEN_FILE}"

        def written(_outcome: OSError | None) -> None:
            self._writing = False
            if self._unwritten:
                self._keep_seen()

        self._core.errands.send(lambda: write_whole(path, body, 0o600), written)

    def end(self) -> None:
        """Let all go."""
        for one in self._by_name.values():
            one.end()

    # --- how sure they are -------------------------------------------------------------

    def over(self, row: Tracked, local: dict[str, Standing]) -> dict[str, Standing]:
        """Give the readiness of a target: what its layers say without hands, and what hands say."""
        name, found = row.target.name, dict(local)
        if self._unknown:
            row.handed |= {UNKNOWN}
            found[UNKNOWN] = ("unproven", self._unknown)
        if not row.handed:
            self._local.pop(name, None)
            return found
        for one in self._by_target.get(name, ()):
            one.know(row)
        known = self._local.setdefault(name, {})
        for layer in row.handed - {UNKNOWN}:
            if layer == "network" and layer in local:
                known[layer] = local[layer]
            standings = [one.standing for one in self._by_target[name] if one.spec.layer == layer]
            found[layer] = worst([*standings, *([known[layer]] if layer in known else [])])
        return found

    def _changed(self, one: One) -> None:
        """Another readiness, or another look to be shown."""
        self._show(one)
        row = self._core.table.get(one.spec.target)
        if row is None:
            return
        known = self._local.get(one.spec.target, {})
        ready = self.over(row, {**row.readiness, **known})
        if ready != row.readiness:
            row.readiness = ready

    def _show(self, one: One) -> None:
        """Hand the observer the look's link, if it has not got it."""
        observer, sight = self._core.observer, one.looks.sight
        if sight is None or observer is None:
            return
        if observer.show_sight(one.number, sight.fileno()):
            sight.close()
            one.looks.sight = None
            row = self._core.table.get(one.spec.target)
            if row is not None and self._core.level(row) is not None:
                self._core.loop.later(0, lambda: self._stopper.proving.look_again(row))

    def _came_new(self, one: One) -> None:
        """A new process knows of no stop: if its target is latched, it cuts first."""
        one.replaced()
        row = self._core.table.get(one.spec.target)
        level = None if row is None else self._core.level(row)
        if row is None or level is None or one.spec.layer not in planned(row, level):
            one.release()
        else:
            one.trip(level, lambda _done, _detail: None)

    def _look_after(self) -> None:
        """Show what could not be shown, let go of what may go, and look at files."""
        for one in list(self._by_name.values()):
            self._show(one)
            if one.spec.name in self._leaving and not self._latched(one):
                self._drop(one)
                self._keep()
        paths = sorted({path for one in self._by_name.values() for path in one.spec.files})
        if paths and not self._looking:
            self._looking = True
            self._core.errands.send(lambda: {path: stamp(path) for path in paths}, self._looked)

    def _looked(self, found: dict[str, str] | OSError) -> None:
        self._looking = False
        if isinstance(found, OSError):
            return  # a disk that hangs has changed nothing; what rests on it proves itself
        before = self._stamps
        changed = {path for path in found if before.get(path, found[path]) != found[path]}
        self._stamps = {**before, **found}
        for one in self._by_name.values():
            if at := changed.intersection(one.spec.files):
                one.void(f"{min(at)} has changed")

    def _latched(self, one: One) -> bool:
        row = self._core.table.get(one.spec.target)
        return row is not None and self._core.level(row) is not None

    # --- a stop, and a reset --------------------------------------------------------------

    def command(
        self, row: Tracked, level: Level, noted: Noted, only: frozenset[str] | None = None
    ) -> list[str]:
        """Have every hand cut that the plan of that level names; give their layers.

        What a hand says confirms nothing; that it failed is told beside what was seen.
        """
        wanted, told = planned(row, level), []
        for one in self._by_target.get(row.target.name, ()):
            if one.spec.layer in wanted and (only is None or one.spec.layer in only):
                one.know(row)
                told.append(one.spec.layer)
                one.trip(level, partial(_said, noted, one.spec))
        return told

    def release(self, row: Tracked, level: Level | None) -> None:
        """A target is held by less from now on, or by nothing: have undone what may be undone."""
        kept = () if level is None else planned(row, level)
        for one in self._by_target.get(row.target.name, ()):
            if one.spec.layer not in kept:
                one.release()

    def facts(self, row: Tracked) -> dict[str, list[int]]:
        """Give, layer by layer, by which numbers the observer knows the looks of a target."""
        found: dict[str, list[int]] = {}
        for one in self._by_target.get(row.target.name, ()):
            found.setdefault(one.spec.layer, []).append(one.number)
        return found

    def pids(self) -> dict[str, int | None]:
        """Give their processes, by name."""
        found = {f"hand {name}": one.acts.pid for name, one in self._by_name.items()}
        return found | {f"look {name}": one.looks.pid for name, one in self._by_name.items()}

    def alone(self, row: Tracked) -> dict[str, Standing]:
        """Give what the layers say by themselves that hands do besides."""
        return dict(self._local.get(row.target.name, {}))

    def reissue(self, row: Tracked) -> list[str]:
        """List what a person must make anew before a target can work again (RST-8).

        Of what a latched one has cut for good it is said in any case: some hands say more of it
        only when they hear of the reset.
        """
        level = self._core.level(row)
        found: list[str] = []
        cut = planned(row, level) if level is not None else ()
        for one in self._by_target.get(row.target.name, ()):
            found += one.reissue
            if not one.reissue and one.spec.layer in _NEVER_BACK and one.spec.layer in cut:
                found.append(f"{one.spec.layer} that {one.spec.name} has cut")
        return found

    def report(self, row: Tracked) -> list[dict[str, Any]]:
        """Say of each hand of a target what it is, how it stands, and on what it rests."""
        return [
            {
                "name": one.spec.name,
                "layer": one.spec.layer,
                "kind": one.spec.kind,
                "pid": one.acts.pid,
                "look_pid": one.looks.pid,
                "state": one.standing[0],
                "detail": one.standing[1],
                "acts": list(one.acts.standing),
                "looks": list(one.looks.standing),
                "route": one.acts.route,
                "look_route": one.looks.route,
                "holds": list(one.acts.holds),
                "happened": list(one.happened),
                "reissue": list(one.reissue),
                "files": list(one.spec.files),
                "deadline_us": one.spec.deadline_us,
            }
            for one in self._by_target.get(row.target.name, ())
        ]


def _said(
    noted: Noted,
    spec: Spec,
    done: bool,  # noqa: FBT001 - an answer
    detail: str,
) -> None:
    noted(spec.layer, done, f"{spec.name}: {detail}")
