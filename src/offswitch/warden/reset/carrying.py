"""A reset carried out, once it is known that it may be: evidence, standstill, disk, and only then.

    evidence sealed in the ledger ─► the observer looks anew ─► what it leaves behind is kept
    (`marks`) ─► the reset is durable ─► let go

Whatever fails on the way leaves everything latched; what the disk may have taken is stopped
anew. It lets go of what the order names, and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.authority import Mode
from offswitch.errors import NotFound, OffswitchError, Refused, Storage, Unconfirmed
from offswitch.model.latch import Live
from offswitch.model.level import Level
from offswitch.model.order import Reset
from offswitch.model.reserved import is_drill
from offswitch.model.state import Event, step
from offswitch.warden.core import Core
from offswitch.warden.merging import anew
from offswitch.warden.proving import CONFIRM_S
from offswitch.warden.reach import visible
from offswitch.warden.reset import entries
from offswitch.warden.reset.judged import lives
from offswitch.warden.reset.marks import Marks
from offswitch.warden.reset.pending import Pending, Waiting
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["AGAIN", "Carrier", "Fail", "Open", "Reply"]

_SEAL_S = 3.0
_LOOK_S = CONFIRM_S + 0.5
"""How long the observer may take: as long as after a stop, and until that is known."""
_DURABLE_S = 10.0
_POLL_S = 0.005
_MOST_ANEW = 100

AGAIN = "open it again: offswitch reset SCOPE --reason TEXT"

Reply = Callable[[dict[str, Any]], None]
Fail = Callable[[OffswitchError], None]


@dataclass(slots=True)
class Open:
    """One reset under way."""

    waiting: Waiting
    stops: list[Live]
    rows: list[Tracked]
    peer: Peer
    reply: Reply
    fail: Fail
    answer: Callable[[Open, str, list[str], list[str]], dict[str, Any]]
    """Makes the object that is answered, of a state, what was cleared, and what is needed."""
    waits_until_us: int = 0
    alone: bool = False
    """Whether one person was enough for it."""
    unless: Callable[[], OffswitchError | None] = lambda: None
    """Says why it may not be carried out after all."""
    written_off: set[str] = field(default_factory=set)
    """Targets that were not seen to stand still, and are given up."""

    @property
    def order(self) -> Reset:
        """The order itself."""
        return self.waiting.order


class Carrier:
    """Carries resets out."""

    def __init__(
        self,
        core: Core,
        stopper: Stopper,
        starter: Starter,
        pending: Pending,
        changed: Callable[[], None],
    ) -> None:
        """`changed` hears that another one is under way, or one less."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._pending = pending
        self._changed = changed
        self._under_way: list[Open] = []

    @property
    def under_way(self) -> list[Reset]:
        """The orders that are being looked at or carried out."""
        return [opened.order for opened in self._under_way]

    def begin(self, opened: Open) -> None:
        """Count it from now on: no press joins what it names."""
        self._under_way.append(opened)
        self._changed()

    def end(self, opened: Open) -> None:
        """This one is over, whichever way, unless it waits for proofs."""
        self._under_way.remove(opened)
        self._changed()

    def give_up(self, opened: Open, error: OffswitchError) -> None:
        """End it with an error; everything stays latched."""
        self.end(opened)
        opened.fail(error)

    def proceed(self, opened: Open) -> None:
        """Whoever it takes is for it: seal the evidence, and carry it out."""
        core = self._core
        opened.waits_until_us = core.clock.mono_us() + int(_SEAL_S * 1e6)
        # What is entered up to here is sealed with it; what the journal lost before is a gap.
        seal = entries.opened(core, opened.waiting)
        self._sealed(opened, seal)

    # --- what must be true first --------------------------------------------------

    def _sealed(self, opened: Open, seq: int) -> None:
        """Wait until the ledger has everything up to now: the evidence is sealed."""
        core = self._core
        if opened.alone and core.authority.mode is Mode.PEOPLE:
            self.give_up(opened, Refused("since it was opened two people are wanted", AGAIN))
        elif core.recording.durable(seq):
            self._still(opened)
        elif core.clock.mono_us() > opened.waits_until_us:
            self.give_up(
                opened,
                Storage(
                    "the evidence is not in the ledger yet, so nothing is reset",
                    "see why the recorder cannot write: offswitch doctor",
                ),
            )
        else:
            core.loop.later(_POLL_S, lambda: self._sealed(opened, seq))

    def _held(self, opened: Open) -> list[Tracked]:
        """List what a stop of kill or more covers: it must stand still."""
        return [row for row in opened.rows if (self._core.level(row) or 0) >= Level.KILL]

    def _still(self, opened: Open) -> None:
        """Have the observer look anew at all that must stand still."""
        for row in self._held(opened):
            self._stopper.proving.look_again(row)
        opened.waits_until_us = self._core.clock.mono_us() + int(_LOOK_S * 1e6)
        self._looked(opened)

    def _looked(self, opened: Open) -> None:
        """Wait until the observer has spoken, and judge by it."""
        core = self._core
        patient = core.clock.mono_us() < opened.waits_until_us
        if patient and self._stopper.proving.looking(opened.rows):
            core.loop.later(_POLL_S, lambda: self._looked(opened))
            return
        trouble = self._moving(opened)
        if trouble is not None:
            self.give_up(opened, trouble)
            return
        self._marked(opened, self._marks(opened))

    def _marks(self, opened: Open) -> list[Marks]:
        """Give the sets of names that this reset adds to, as they will be."""
        core, ended = self._core, self._ended(opened)
        more = [core.staged.but(ended)] if ended else []
        return [*more, core.written_off.but(opened.written_off)] if opened.written_off else more

    def _ended(self, opened: Open) -> set[str]:
        """Name what starts anew after this reset, and no sooner."""
        names = {row.target.name for row in opened.rows if not lives(row)}
        return {name for name in names if not is_drill(name)}

    def _marked(self, opened: Open, wanted: list[Marks], outcome: OSError | None = None) -> None:
        """Keep them first: a warden that dies right after the reset must not have lost one.

        A mark that is kept of what stays latched after all does no harm.
        """
        if outcome is not None:
            why = f"what it leaves behind cannot be kept ({outcome.strerror}), so nothing is reset"
            hint = "free space for OFFSWITCH_HOME, then reset again"
            self.give_up(opened, Storage(why, hint))
        elif wanted:
            first, *others = wanted
            self._core.mark(first, lambda outcome: self._marked(opened, others, outcome))
        else:
            self._noted(opened)

    def _noted(self, opened: Open) -> None:
        """Have the reset itself written to the disk."""
        core = self._core
        if not core.latch.holds_all(opened.order.clears):
            self.give_up(opened, NotFound("its stops were reset meanwhile", AGAIN))
            return
        core.store.note(opened.order)
        core.store.sync()
        opened.waits_until_us = core.clock.mono_us() + int(_DURABLE_S * 1e6)
        self._durable(opened)

    def _moving(self, opened: Open) -> OffswitchError | None:
        """Say what was not seen to stand still since it was last commanded or last moved."""
        if (why_not := opened.unless()) is not None:
            return why_not
        held = self._held(opened)
        moving = [row for row in held if not (row.sought and row.stands) or lives(row)]
        lost = {row.target.name for row in moving if self._lost(row)}
        if opened.waiting.grounds.write_off:
            opened.written_off = lost
            moving = [row for row in moving if row.target.name not in lost]
        if not moving:
            return None
        core, first = self._core, moving[0]
        names = ", ".join(row.target.name for row in moving[:5])
        hint = f"see what still acts: offswitch target show {first.target.name}"
        if core.observer is None or not core.observer.alive():
            hint = "no observer runs, and it is started again by itself: offswitch doctor"
        elif first.target.name in lost:
            hint = "nobody can look at it any more: two people write it off with --write-off"
        return Unconfirmed(f"standstill is not confirmed for {names}, so nothing is reset", hint)

    def _lost(self, row: Tracked) -> bool:
        """Tell whether nothing of a target is left that anybody could ever look at (SR-18)."""
        return not lives(row) and (not row.sought or not visible(row))

    def _durable(self, opened: Open) -> None:
        core = self._core
        patient = core.clock.mono_us() < opened.waits_until_us
        if not core.latch.holds_all(opened.order.clears):  # two confirmed it at the same moment
            self.give_up(opened, NotFound("its stops were reset meanwhile", AGAIN))
        elif core.store.durable(opened.order.digest):
            trouble = self._moving(opened)
            if trouble is None:
                self._clear(opened)
            elif patient and self._stopper.proving.looking(opened.rows):  # pressed anew meanwhile
                core.loop.later(_POLL_S, lambda: self._durable(opened))
            else:
                self._too_late(opened, trouble)
        elif not patient:
            problem = core.store.problem or "the disk does not answer"
            hint = "free space for OFFSWITCH_HOME, then reset again"
            why = f"the latch's file cannot be written ({problem}); nothing is reset"
            self._too_late(opened, Storage(why, hint))
        else:
            core.loop.later(_POLL_S, lambda: self._durable(opened))

    def _too_late(self, opened: Open, error: OffswitchError) -> None:
        """The disk has the reset, or may yet take it, and it must not hold: stop the same anew."""
        stops = [live.stop for live in opened.stops]
        self._stopper.press(anew(stops, self._core.clock.wall_us()))
        self.give_up(opened, error)

    # --- letting go ---------------------------------------------------------------

    def _clear(self, opened: Open) -> None:
        core = self._core
        prior = {row.target.name: row.state for row in opened.rows}
        held = {row.target.name for row in self._held(opened)}
        lost = _to_make_anew(core, opened.rows)
        cleared = core.latch.clear(opened.order)
        self._pending.drop(opened.order.digest)
        self.end(opened)
        for live in opened.stops:
            core.news.add(live, opened.order, core.clock.wall_us())
        core.mark(core.written_off.but(opened.written_off, held - opened.written_off))
        core.mark(core.staged.but(self._ended(opened)))
        for row in opened.rows:
            self._let_go(row)
        wider = core.wider(opened.order.scope)
        entries.done(core, opened.waiting, opened.stops, opened.rows, prior, opened.written_off)
        answer = opened.answer(opened, "done", cleared, [*_wider_needs(wider), *lost])
        answer["wider"] = [live.stop.digest for live in wider]
        answer["exit"] = 3 if wider else 0
        opened.reply(answer)
        self._starter.on_idle()

    def _let_go(self, row: Tracked) -> None:
        core = self._core
        level = core.level(row)
        alive = lives(row)
        frozen = row.cell is not None and row.cell.frozen() is True
        through = row.served and row.cell is None and row.remains is None
        row.state = step(row.state, Event.RESET, level, alive=alive or through)
        self._stopper.let_go(row)
        if level is not None and level >= Level.FREEZE:
            return  # a wider or another stop still holds it as it is
        if core.hands is not None:
            core.hands.release(row, level)
        if row.adopted or (row.cell is not None and alive):
            if frozen or row.adopted:
                self._stopper.release(row)
            self._stopper.set_word(row, level)
        self._stopper.set_gate_word(row, level)
        self._stopper.proving.unwatch(row)
        if row.cell is not None and not (alive or row.adopted) and level is None:
            self._starter.bury(row)
        if level is None:
            row.receipts, row.order = [], None
            row.unseen()


def _to_make_anew(core: Core, rows: Iterable[Tracked]) -> list[str]:
    """Say what was revoked for good: a reset gives none of it back (RST-8)."""
    if core.hands is None:
        return []
    found = [(row.target.name, each) for row in rows for each in core.hands.reissue(row)]
    return [f"{name}: make anew: {each}" for name, each in found[:_MOST_ANEW]]


def _wider_needs(wider: Iterable[Live]) -> list[str]:
    return [
        f"{live.stop.scope.text} is still stopped ({live.stop.level.label}): "
        f"offswitch reset {live.stop.scope.text} --reason TEXT"
        for live in wider
    ]
