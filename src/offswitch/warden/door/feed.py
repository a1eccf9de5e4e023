"""The feed: a connection on which the warden says what has changed, as soon as it has.

    {"op": "follow"} ─► picture (all there is, in parts) ─► changes ─► … beat … ─► changes

Whoever shows the state of the world to people (the station) would else ask for all of it again
and again. Nothing here looks for changes: rows, latch and watch's report write down what has
(`Table.touched`, `Latch.version`, `WatchReport.version`), and when a pass of the loop is done a
comparison of three numbers tells whether anything did. What did is spelled once and sent some
milliseconds later, a hundred rows at a time, so that a stop that comes meanwhile waits for one
such piece at most. A beat comes twice a second: who hears nothing for longer knows nothing.

Who follows and does not read is sent no more until it does, and hung up on after two seconds;
what it missed is one number. Which way it fails: to silence, and silence is shown as such.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from offswitch import __version__
from offswitch.errors import Busy, Usage
from offswitch.model.latch import Live
from offswitch.model.scope import scopes_over
from offswitch.model.state import State
from offswitch.warden import readiness
from offswitch.warden.core import Core
from offswitch.warden.door import reporting
from offswitch.warden.door.connection import Connection
from offswitch.warden.door.shown import Shown, beat
from offswitch.warden.self_check import unproven
from offswitch.warden.table import Tracked

__all__ = ["Feed", "shown_row"]

_SOON_S = 0.002
"""From a change to its frame: what was commanded and what was seen of it often come together."""
_APART_S = 0.01
_ON_S = 0.002
_BEHIND_S = 0.02
_TICK_S = 0.1
_NOTES_TICKS = 3
_BEAT_S = 0.5
_ROWS = 100
"""Rows that are spelled in one go."""
_FRAMES = 2
_MOST = 32
_PER_USER = 4
_UNREAD = 1 << 16
_PATIENCE_S = 2.0
_STOPS_SHOWN = 16
"""Of one target, by digest."""
_MOST_STOPS = 1000


class _Follower:
    """One who follows."""

    __slots__ = ("behind_since", "connection", "cursor", "told")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cursor = 0
        self.told = 0.0
        self.behind_since: float | None = None


class Feed:
    """Keeps who follows up to date. Costs nothing while nobody does."""

    def __init__(self, core: Core) -> None:
        """Show what `core` holds."""
        self._core = core
        self._followers: dict[Connection, _Follower] = {}
        self._shown = Shown()
        self._full = False
        """Whether every row has been spelled since the first follower came."""
        self._due = False
        self._pushed = 0.0
        self._ticks = 0
        self._ticking = False
        self._latch_version = self._watch_version = -1
        self._live: dict[str, Live] = {}
        self._pending: set[str] = set()
        """Digests of stops that are not durable yet."""
        self._unseen: frozenset[str] = frozenset()
        self._seen: tuple[bool, bool, list[str]] = (False, False, [])
        self._turn: list[str] = []
        core.loop.after = self._stirred

    # --- who follows --------------------------------------------------------------

    def join(self, connection: Connection) -> None:
        """Keep `connection` up to date from now on; `Busy` where too many follow."""
        if connection in self._followers:
            raise Usage("this connection follows already")
        uid = connection.peer.uid
        same = sum(1 for each in self._followers if each.peer.uid == uid)
        if len(self._followers) >= _MOST or (same >= _PER_USER and not self._ours(uid)):
            raise Busy(f"{len(self._followers)} follow already", "end another view of this")
        if not self._followers:
            self._begin()
        self._followers[connection] = _Follower(connection)
        self._soon(0)

    def _ours(self, uid: int) -> bool:
        return uid in {0, self._core.rights.uid}

    def left(self, connection: Connection) -> None:
        """Forget a connection that has closed."""
        if self._followers.pop(connection, None) is not None and not self._followers:
            self._shown = Shown()
            self._core.watch.moved = None

    def follows(self, connection: Connection) -> bool:
        """Tell whether it does, for a hand-over: the next code begins with a whole picture."""
        return connection in self._followers

    def _begin(self) -> None:
        core = self._core
        self._full = False
        self._live, self._pending = {}, set()
        self._latch_version = self._watch_version = -1
        core.watch.moved = set()
        self._touch(core.table.names())
        self._notes()
        if not self._ticking:
            self._ticking = True
            core.loop.later(_TICK_S, self._tick)

    # --- when ---------------------------------------------------------------------

    def _changed(self) -> bool:
        core = self._core
        return bool(
            core.table.touched
            or core.latch.version != self._latch_version
            or core.watch.version != self._watch_version
        )

    def _stirred(self) -> None:
        """A pass of the loop is done: has it changed anything that is shown?"""
        if self._followers and not self._due and self._changed():
            self._soon(max(_SOON_S, self._pushed + _APART_S - time.monotonic()))

    def _soon(self, seconds: float) -> None:
        self._due = True
        self._core.loop.later(seconds, self._push)

    def _tick(self) -> None:
        """Look for what nobody writes down, beat, and hang up on those that do not read."""
        if not self._followers:
            self._ticking = False
            return
        core = self._core
        core.loop.later(_TICK_S, self._tick)
        self._ticks += 1
        if not self._turn:
            self._turn = core.table.names()
        self._touch(self._turn[-_ROWS:])  # a cell that is gone is told by nobody
        del self._turn[-_ROWS:]
        if self._pending:
            self._stops(self._pending)
        if self._ticks % _NOTES_TICKS == 0:
            self._notes()
        self._silence()
        if self._shown.version and not self._due:
            self._soon(0)

    # --- what ---------------------------------------------------------------------

    def _touch(self, names: Iterable[str]) -> None:
        self._core.table.touched.update(dict.fromkeys(names))

    def _look(self) -> None:
        """Spell what has changed, or some of it."""
        core = self._core
        if core.latch.version != self._latch_version:
            self._look_at_latch()
        if core.watch.version != self._watch_version:
            self._look_at_watch()
        touched = core.table.touched
        for name in list(touched)[:_ROWS]:
            del touched[name]
            row = core.table.get(name)
            if row is None:
                self._shown.drop("target", name)
            else:
                self._shown.put("target", name, shown_row(core, row))
        self._full = self._full or not touched

    def _look_at_latch(self) -> None:
        core = self._core
        self._latch_version = core.latch.version
        now = {live.stop.digest: live for live in core.latch}
        other = self._live.keys() ^ now.keys()
        scopes = {(self._live.get(name) or now[name]).stop.scope.text for name in other}
        counted = {name for name, live in now.items() if self._live.get(name) is not live}
        self._live = now
        for name in other - now.keys():
            self._shown.drop("stop", name)
        self._pending &= now.keys()
        self._stops(counted)
        self._touch_below(scopes)

    def _stops(self, digests: Iterable[str]) -> None:
        """Spell live stops; where there are too many, the first thousand will do."""
        core = self._core
        shown = self._live.keys() if len(self._live) <= _MOST_STOPS else [*self._live][:_MOST_STOPS]
        for name in set(digests).intersection(shown):
            said = reporting.live_stop(core, self._live[name])
            self._shown.put("stop", name, said)
            (self._pending.discard if said["durable"] else self._pending.add)(name)

    def _look_at_watch(self) -> None:
        watch = self._core.watch
        self._watch_version = watch.version
        self._shown.put("alarms", "", watch.alarms)
        self._shown.put("untracked", "", watch.untracked)
        if watch.moved:
            self._touch(watch.moved)
            watch.moved = set()
        self._see()

    def _see(self) -> None:
        """Touch what has become blind or sees again, and what has become ready or is in doubt."""
        core = self._core
        mono_us = core.clock.mono_us()
        unseen = core.watch.unseen(mono_us)
        if unseen != self._unseen:
            self._touch_below(unseen ^ self._unseen)
            self._unseen = unseen
        silent = core.watch.silent_us(mono_us) is not None
        seen = silent, unproven(core), sorted(core.drilled.doubts)
        if seen != self._seen:
            self._seen = seen
            self._touch(core.table.names())

    def _touch_below(self, scopes: Iterable[str]) -> None:
        wanted = set(scopes)
        if wanted:
            rows = self._core.table
            self._touch(
                row.target.name for row in rows if not wanted.isdisjoint(scopes_over(row.target))
            )

    def _notes(self) -> None:
        core, put = self._core, self._shown.put
        self._see()
        put("notes", "", reporting.notes(core))
        doubts = core.drilled.doubts.items()
        put("doubts", "", {layer: [one.why, one.time_us] for layer, one in doubts})
        put("processes", "", reporting.processes(core))
        put("resetting", "", sorted(core.barred)[:_MOST_STOPS])
        facts = {
            "installation": core.installation,
            "run": core.place.run,
            "rung": core.rung.value,
            "version": __version__,
            "mode": "observe" if core.page.observing else "act",
            "epoch": core.page.epoch,
            "live_stops": len(core.latch),
        }
        put("warden", "", facts)

    # --- sending ------------------------------------------------------------------

    def _push(self) -> None:
        self._due = False
        if not self._followers:
            return
        self._pushed = now = time.monotonic()
        self._look()
        made: dict[int, tuple[bytes, int, bool]] = {}
        behind = False
        for follower in list(self._followers.values()):
            behind = self._bring_on(follower, made, now) or behind
        if self._core.table.touched or behind:
            self._soon(_ON_S if self._core.table.touched else _BEHIND_S)

    def _bring_on(
        self, follower: _Follower, made: dict[int, tuple[bytes, int, bool]], now: float
    ) -> bool:
        """Send what one has not heard yet; whether it is still behind."""
        shown, connection = self._shown, follower.connection
        for _ in range(_FRAMES):
            if follower.cursor >= shown.version or connection.unheard > _UNREAD:
                break
            if follower.cursor not in made:
                made[follower.cursor] = shown.frame(follower.cursor, full=self._full)
            frame, follower.cursor, _anew = made[follower.cursor]
            follower.told = now
            connection.push(frame)
        if connection.unheard <= _UNREAD:
            follower.behind_since = None
        elif follower.behind_since is None:
            follower.behind_since = now
        return not connection.closed and follower.cursor < shown.version

    def _silence(self) -> None:
        """Beat where nothing else was said; hang up where nothing is heard."""
        now = time.monotonic()
        said = b""
        for follower in list(self._followers.values()):
            since = follower.behind_since
            if since is not None and now - since > _PATIENCE_S:
                follower.connection.close()
            elif now - follower.told >= _BEAT_S and follower.connection.unheard <= _UNREAD:
                said = said or beat(version=self._shown.version)
                follower.told = now
                follower.connection.push(said)


def shown_row(core: Core, row: Tracked) -> dict[str, object]:
    """Give a target as followers see it: of what changes by itself, nothing."""
    covering = core.latch.covering(row.target)
    level = max((live.stop.level for live in covering), default=None)
    mono_us = core.clock.mono_us()
    signals = core.watch.stale(row.target.name, mono_us)
    lost = not row.sought or (row.cell is not None and row.cell.populated() is None)
    return {
        "target": row.target.name,
        "kind": row.target.kind,
        "labels": dict(row.target.labels),
        "state": (State.UNKNOWN if lost else row.said).value,
        "level": None if level is None else level.label,
        "confirmed": level is not None and row.confirmed,
        "blind": core.watch.blind(row.target, mono_us),
        "stops": [live.stop.digest for live in covering[:_STOPS_SHOWN]],
        "layers": {each.layer: each.confirmed for each in row.receipts if each.counted},
        "signals": sorted(signals),
        "stale": sorted(kind for kind, stale in signals.items() if stale),
        "readiness": readiness.states(core, row),
        "readiness_since": readiness.since(core, row),
        "sharing": row.sharing,
        "escapable": row.uid == 0,
        "user": row.user,
        "adopted": row.adopted.text if row.adopted is not None else None,
        "trouble": row.trouble,
        "since_us": row.since_us,
    }
