"""The ground on which drills take place: one at a time, from the birth of its target to its end.

    make    a target below `.drill/` is born as any target is: its user, its cell, the keeper's
            acknowledgement first. Witness and stray are set beside it (`actors`)
    press   is nothing of ours: whoever drills presses as anybody does, over the socket
    end     what they saw and what the observer confirmed become entries and readiness; then the
            drill's own stop is reset by itself, if it may (`rule`), and the target is buried

Whoever drills is one connection; if it hangs up, the drill has failed, its target is cleared away
in the same manner, and what cannot be cleared stays latched, for a person. A target below
`.drill/` that nobody needs any more is forgotten, whichever warden made it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from offswitch.clock import new_nonce
from offswitch.errors import Busy, NotFound, OffswitchError, Refused, Usage
from offswitch.model.reserved import DRILLS, is_drill
from offswitch.warden.core import Core
from offswitch.warden.door.connection import Connection
from offswitch.warden.door.pressed import CHANNELS
from offswitch.warden.door.request import Request
from offswitch.warden.drill import drilled, entries
from offswitch.warden.drill.actors import FOLDER, Actors, command, environment
from offswitch.warden.drill.drilled import LAYERS, Doubt
from offswitch.warden.drill.entries import LayerResult
from offswitch.warden.drill.proven import Proven
from offswitch.warden.drill.rule import CHANNEL, Made, others, own_stops, reset_of, why_not
from offswitch.warden.reset.judged import OURSELVES
from offswitch.warden.reset.resetting import Resetter
from offswitch.warden.starting import Starter
from offswitch.warden.table import Tracked

__all__ = ["Ground"]

_FDS = 4
"""What whoever drills brings: link, what beats in the cell, null, what beats outside of it."""
_NAMED = 12
_LONGEST_PORT = 65_535
_LONGEST_US = 60_000_000
"""After that long a drill is over, whoever still holds its connection."""
_LOOK_S = 0.05
_LOOKS = 1200
_LONGEST_WHY = 500
_MOST_NS = 1 << 50


class _Nobody:
    """Nobody relays a drill's target: what becomes of it is seen otherwise."""

    def stopped(self, order: str, level: str) -> None:
        """It was stopped, as was to be expected."""

    def exited(self, code: int | None, signal: int | None, order: str | None) -> None:
        """Its first process has ended."""


class _Drill:
    """The drill that is under way."""

    __slots__ = ("actors", "began_us", "by", "channel", "connection", "ending", "layers", "made")

    def __init__(self, connection: Connection, by: str, channel: str, began_us: int) -> None:
        self.connection = connection
        self.by = by
        self.channel = channel
        self.began_us = began_us
        self.actors: Actors | None = None
        self.made: Made | None = None
        self.layers: list[str] = []
        self.ending = False


class Ground:
    """Makes, judges and clears away drills, for one warden."""

    def __init__(self, core: Core, starter: Starter, resetter: Resetter) -> None:
        """Take up what earlier drills found; only then anybody can ask how ready a layer is."""
        self._core = core
        self._starter = starter
        self._resetter = resetter
        self._drill: _Drill | None = None
        core.drilled = drilled.load(core.place.home)
        self._proven = Proven(core)
        self._proven.begin(self._changed)
        self._say()

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return "a drill" if self._drill is not None else ""

    def ask(self, connection: Connection, message: Mapping[str, Any]) -> None:
        """Serve one message of whoever drills: `make`, or `end`."""
        match message.get("do"):
            case "make":
                self._make(connection, message)
            case "end":
                self._end(connection, message)
            case _:
                raise Usage("a drill is made, and ended", '"do": "make" or "end"')

    # --- its birth ----------------------------------------------------------------

    def _make(self, connection: Connection, message: Mapping[str, Any]) -> None:
        core, fds = self._core, connection.take_fds()
        port = message.get("port", 0)
        try:
            if len(fds) != _FDS:
                raise Usage("a drill needs four descriptors: link, beats, null, beats outside")
            if type(port) is not int or not 0 <= port <= _LONGEST_PORT:
                raise Usage("a drill listens at a port, or at none (0)")
            self._give_up_old()
            uid, now = connection.peer.uid, core.clock.mono_us()
            core.shares.drill(uid, now, core.table, core.page.handed_out)
        except OffswitchError:
            connection.drop_fds(fds)
            raise
        self._tidy()
        try:
            kept = [os.dup(each) for each in (fds[1], fds[3], fds[2])]
        except OSError as error:
            connection.drop_fds(fds)
            why = f"no descriptor is left: {error.strerror}"
            raise Busy(why, "offswitch doctor") from None
        by = core.rights.named(connection.peer, dict(message))
        channel = str(message.get("channel"))
        drill = _Drill(connection, by, channel if channel in CHANNELS else CHANNEL, now)
        self._drill = drill
        link, beats, null, outside = fds
        connection.drop_fds([outside])
        number = new_nonce()[:_NAMED]

        def failed(error: OffswitchError, code: int) -> None:
            connection.drop_fds(kept)
            self._over(drill)
            connection.error(error, code)

        def born(answer: dict[str, Any], _log: int | None) -> None:
            self._born(drill, f"canary-{number}", kept, answer)

        self._starter.run(
            Request(
                name=f"{DRILLS}/canary-{number}",
                argv=command("canary", port),
                cwd=FOLDER,
                env=environment(),
                user=None,
                tty=False,
                raw=True,
                detached=False,
                fds=[link, beats, null],
                peer=OURSELVES,
                listener=_Nobody(),
                born=born,
                failed=failed,
                drop=connection.drop_fds,
                gone=lambda: connection.closed,
                drill=by,
            )
        )

    def _give_up_old(self) -> None:
        """Let a new drill begin, unless one is under way that may still come to its end."""
        old = self._drill
        if old is None:
            return
        if old.ending or self._core.clock.mono_us() - old.began_us < _LONGEST_US:
            raise Busy("a drill is under way already", "wait until it is over: a few seconds")
        if old.made is None:  # its birth hangs: should it come to life yet, it is nobody's
            self._over(old)
            return
        self._abandon(old, "it did not end within a minute")
        raise Busy("an older drill is being cleared away", "try again in a few seconds")

    def _born(self, drill: _Drill, name: str, fds: list[int], answer: dict[str, Any]) -> None:
        core, connection = self._core, drill.connection
        row = core.table.get(f"{DRILLS}/{name}")
        if row is None or self._drill is not drill:
            connection.drop_fds(fds)
            self._over(drill)
            if row is not None:
                self._hush(row)
            connection.error(NotFound("the drill's target was born too late"))
            return
        drill.made = made = Made(name, row)
        drill.actors = actors = Actors(core)
        ready = row.readiness
        drill.layers = [
            layer for layer in LAYERS if ready.get(layer, ("absent", ""))[0] != "absent"
        ]
        entries.began(core, made, drill.by, drill.channel, drill.layers)
        told = {
            **answer,
            "drill": name,
            "by": made.by,
            "layers": drill.layers,
            "witness": row.cell is not None and row.cell.own_uid,
        }

        def set_up(error: OffswitchError | None) -> None:
            if drill.ending:
                return
            if error is not None:
                self._abandon(drill, f"nothing could be set beside its target: {error.message}")
                connection.error(error)
            elif connection.closed:
                self._abandon(drill, "whoever drilled is gone")
            else:
                connection.reply(told)

        try:
            actors.begin(row, (fds[0], fds[1]), fds[2], set_up)
        except OffswitchError as error:
            set_up(error)
        finally:
            connection.drop_fds(fds)

    def hung_up(self, connection: Connection) -> None:
        """A peer is gone; if it drilled, that is the end of its drill."""
        drill = self._drill
        if drill is not None and drill.connection is connection and drill.made is not None:
            self._abandon(drill, "whoever drilled is gone")

    # --- its end ------------------------------------------------------------------

    def _end(self, connection: Connection, message: Mapping[str, Any]) -> None:
        """Judge it; answers when its target is cleared away, or cannot be."""
        drill, name = self._drill, str(message.get("drill", ""))
        made = drill.made if drill is not None else None
        if (
            drill is None
            or made is None
            or made.drill != name
            or drill.connection is not connection
        ):
            why = f"{name[:80]!r} is no drill of this connection"
            by = self._core.rights.named(connection.peer, dict(message))
            entries.refused(self._core, name, by, why)
            raise Refused(why, "a stop that is not a drill's own is reset by people")
        if drill.ending:
            raise Busy("that drill is being cleared away")
        given = message.get("layers")
        dry = message.get("dry") is True
        state, results = self._judged(
            drill, made, given if isinstance(given, dict) else {}, dry=dry
        )
        self._write_down(drill, made, state, results)
        told = {"ok": True, "drill": name, "state": state, "target": made.target}
        told["layers"] = [result.as_dict() for result in results]

        def cleared(reset: str | None, trouble: str) -> None:
            connection.reply({**told, "reset": reset, "trouble": trouble})

        self._clear_away(drill, made, cleared)

    def _judged(
        self, drill: _Drill, made: Made, seen: Mapping[str, Any], *, dry: bool
    ) -> tuple[str, list[LayerResult]]:
        """Say how it ended. What was seen is the other side's word; the rest is our own."""
        core = self._core
        if others(core, made):
            return "overtaken", []
        pressed = own_stops(core, made)
        if not pressed:
            return ("dry" if dry else "failed"), []
        receipts = {receipt.layer: receipt for receipt in made.row.receipts}
        results = []
        for layer in drill.layers:
            said = seen.get(layer)
            said = said if isinstance(said, dict) else {}
            receipt = receipts.get(layer)
            confirmed = receipt is not None and receipt.confirmed
            detail = _clean(said.get("why"))
            if receipt is not None and not confirmed:
                detail = f"{detail}; the observer: {receipt.detail}".strip("; ")[:_LONGEST_WHY]
            results.append(
                LayerResult(
                    layer,
                    seen=said.get("seen") is True,
                    confirmed=confirmed,
                    commanded_ns=None if receipt is None else receipt.commanded_ns,
                    last_act_ns=_number(said.get("last_act_ns")),
                    confirmed_ns=None if receipt is None else receipt.effect_ns,
                    why=detail,
                )
            )
        passed = bool(results) and all(result.passed for result in results)
        return ("passed" if passed else "not-confirmed"), results

    def _write_down(
        self, drill: _Drill, made: Made, state: str, results: list[LayerResult]
    ) -> None:
        core, now = self._core, self._core.clock.wall_us()
        for result in results:
            entries.tried(core, made, drill.by, drill.channel, result)
            if result.passed:
                core.drilled.raise_(result.layer, now)
                self._proven.passed(result.layer, made.drill, now)
                continue
            who = [] if result.seen else ["the drill"]
            who += [] if result.confirmed else ["the observer"]
            what = f"{' and '.join(who)} did not see it act"
            core.drilled.lower(result.layer, Doubt(made.drill, what, now))
        entries.ended(core, made, drill.by, drill.channel, state, results)
        if results:
            self._say()
            core.errands.send(drilled.writer(core.place.home, core.drilled), self._kept)
            core.errands.send(self._proven.writer(), self._kept)

    def _changed(self) -> None:
        """What was proven was proven on something else: it is in doubt, and stays so."""
        core = self._core
        self._say()
        core.errands.send(drilled.writer(core.place.home, core.drilled), self._kept)

    def _say(self) -> None:
        note = self._core.drilled.note()
        self._core.notes.pop("drill", None)
        if note is not None:
            self._core.notes["drill"] = note

    def _kept(self, outcome: OSError | None) -> None:
        self._core.notes.pop("drilled", None)
        if isinstance(outcome, OSError):
            why = f"not kept for the next warden, what a drill found: {outcome.strerror}"
            self._core.notes["drilled"] = why

    def _abandon(self, drill: _Drill, why: str) -> None:
        """Whoever drilled will not end it: it has failed, and proves nothing either way."""
        made = drill.made
        if drill.ending or made is None:
            return
        entries.ended(self._core, made, drill.by, drill.channel, "failed", [])
        self._core.recording.note("note", what="a drill was given up", drill=made.drill, why=why)
        self._clear_away(drill, made, lambda _reset, _trouble: None)

    # --- clearing away ------------------------------------------------------------

    def _clear_away(
        self, drill: _Drill, made: Made, done: Callable[[str | None, str], None]
    ) -> None:
        """Reset its own stop, if it may be, and forget its target once nothing of it is left."""
        core = self._core
        drill.ending = True
        if drill.actors is not None:
            drill.actors.end()

        def cleared(answer: dict[str, Any]) -> None:
            self._over(drill)
            self._forget_when_gone(made.target)
            done(answer.get("reset"), "")

        def failed(error: OffswitchError) -> None:
            self._over(drill)
            self._forget_when_gone(made.target)
            done(None, error.message)

        if not own_stops(core, made):
            self._hush(made.row)
            cleared({"reset": None})
            return
        trouble = why_not(core, made)
        if trouble is not None:
            failed(trouble)
            return
        order = reset_of(core, made)
        self._resetter.automatic(order, partial(why_not, core, made), cleared, failed)

    def _hush(self, row: Tracked) -> None:
        """End what was never stopped: a drill that did not come to its press leaves nothing."""
        if row.cell is not None:
            row.cell.kill()
        self._forget_when_gone(row.target.name)

    def _over(self, drill: _Drill) -> None:
        if self._drill is drill:
            self._drill = None
            self._starter.on_idle()

    def _forget_when_gone(self, name: str, looks: int = _LOOKS) -> None:
        if not self._forget(name) and looks:
            self._core.loop.later(_LOOK_S, lambda: self._forget_when_gone(name, looks - 1))

    def _forget(self, name: str) -> bool:
        """Forget a drill's target of which nothing lives, and which nothing latches."""
        core = self._core
        row = core.table.get(name)
        if row is None:
            return True
        if row.cell is not None or core.level(row) is not None:
            return False
        core.table.drop(name)
        core.table.keep()
        self._starter.on_idle()
        return True

    def _tidy(self) -> None:
        """Forget what earlier drills left, of this warden or of one before it."""
        for name in [row.target.name for row in self._core.table if is_drill(row.target.name)]:
            self._forget(name)


def _clean(value: object) -> str:
    """Give a text that has UTF-8, whatever came."""
    return str(value or "")[:_LONGEST_WHY].encode("utf-8", "replace").decode()


def _number(value: object) -> int | None:
    return value if type(value) is int and -_MOST_NS < value < _MOST_NS else None
