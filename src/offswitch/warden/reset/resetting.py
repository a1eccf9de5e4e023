"""A reset: deliberate, and never more than it names. It starts nothing.

It needs a typed scope and a cause; somebody who may (SR-2, and two people's proofs where
the authority is `people`, SR-5); what the cleared stops covered standing still, seen by
the observer just now, in every layer that this machine has; and the evidence in the ledger.
It names the stops that it clears when it is opened; a press that comes later is not among
them, and holds. Only when the reset is durable does the latch let go; a crash before that
leaves it set.

Who may is looked up in `home`, and a code is burnt there: errands, since that disk may hang.
Until they are back the reset is under way, and no press joins a stop that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.authority import VALID_US, Case, Mode, Ruling, judge
from offswitch.decide.secret import may_reset
from offswitch.decide.totp import CodeBook
from offswitch.errors import (
    NotFound,
    OffswitchError,
    Refused,
    Storage,
    Usage,
)
from offswitch.model.latch import Live
from offswitch.model.level import Level
from offswitch.model.order import Reset, from_wire
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.state import Event, step
from offswitch.warden.core import Core
from offswitch.warden.door.reporting import reset_forgeable
from offswitch.warden.merging import anew
from offswitch.warden.reset import entries, judged
from offswitch.warden.reset.guesses import Guesses
from offswitch.warden.reset.judged import Known, lives, look, named_now, nothing_there, taken_up
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import CONFIRM_S, Stopper
from offswitch.warden.table import Tracked

__all__ = ["Resetter"]

_LOOKED_UP_S = 3.0
_SEAL_S = 3.0
_LOOK_S = CONFIRM_S + 0.5
"""How long the observer may take: as long as after a stop, and until that is known."""
_DURABLE_S = 10.0
_POLL_S = 0.005
_MOST_PENDING = 32
_LONGEST_REASON = 2000
_LONGEST_NONCE = 64

_AGAIN = "open it again: offswitch reset SCOPE --reason TEXT"

Reply = Callable[[dict[str, Any]], None]
Fail = Callable[[OffswitchError], None]


@dataclass(slots=True)
class _Open:
    """One reset under way."""

    order: Reset
    stops: list[Live]
    rows: list[Tracked]
    peer: Peer
    reply: Reply
    fail: Fail
    waits_until_us: int = 0
    alone: bool = False
    """Whether one person was enough for it."""
    unless: Callable[[], OffswitchError | None] = lambda: None
    """Says why it may not be carried out after all."""


class Resetter:
    """Opens, checks and carries out resets; every refusal is an entry."""

    def __init__(self, core: Core, stopper: Stopper, starter: Starter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._pending: dict[str, Reset] = {}
        self._asked: list[frozenset[str]] = []
        """The stops of resets of which it is not known yet whether they may be opened."""
        self._under_way: list[_Open] = []
        self._guesses = Guesses()
        self._proven: dict[str, set[str]] = {}
        self._book = CodeBook(f"{core.place.home}/codes")

    def ask(self, message: dict[str, Any], peer: Peer, reply: Reply, fail: Fail) -> None:
        """Take a request to reset; `reply` or `fail` is called once, maybe later."""
        core, uid = self._core, peer.uid
        given = message.get("secret")
        secret = given if isinstance(given, str) else None

        def refuse(error: OffswitchError) -> None:
            entries.refused(core, message, uid, error)
            fail(error)

        def found(known: Known | OSError) -> None:
            self._asked.remove(named)
            self._bar()
            try:
                if isinstance(known, OSError):
                    if secret is not None:
                        self._guesses.unanswered(uid)
                    why = f"who may reset cannot be looked up: {known.strerror}"
                    raise Storage(why, "see the disk of OFFSWITCH_HOME: offswitch doctor")
                self._take_up(known)
                self._may(uid, known, secret)
                self._open(message, peer, named, reply, refuse)
            except OffswitchError as error:
                refuse(error)

        try:
            core.shares.reset(uid, core.clock.mono_us())
            if secret is not None:
                self._guesses.begin(uid, core.clock.mono_us())
        except OffswitchError as error:
            refuse(error)
            return
        named = named_now(core, str(message.get("scope", "")))
        self._asked.append(named)
        self._bar()
        home, owner = core.place.home, core.rights.uid
        core.errands.send(
            lambda: look(home, owner, lambda: core.authority, secret),
            found,
            patience_s=_LOOKED_UP_S,
        )

    def _take_up(self, known: Known) -> None:
        """Go by what was found; that two people are wanted from now on is an entry."""
        core = self._core
        before = core.authority.mode
        core.secret_set = known.secret_set
        core.authority = taken_up(core.authority, known.authority)
        if core.authority.mode is not before:
            entries.authority(core, before)

    # --- opening ------------------------------------------------------------------

    def _open(
        self,
        message: dict[str, Any],
        peer: Peer,
        named: frozenset[str],
        reply: Reply,
        fail: Fail,
    ) -> None:
        core = self._core
        scope = parse_scope(str(message.get("scope", "")))
        reason = judged.clean(message.get("reason"), _LONGEST_REASON).strip()
        if not reason and not message.get("digest"):
            raise Usage("a reset needs its cause", "add --reason TEXT: why is it safe now?")
        stops = [live for live in core.latch.within(scope) if live.stop.digest in named]
        if not stops:
            raise nothing_there(core, scope, peer.uid)
        names = tuple(sorted(live.stop.digest for live in stops))
        order = self._named(message, peer, scope, names, reason)
        opened = self._opened(order, peer, reply, fail)
        if core.authority.mode is Mode.LOCAL:
            opened.alone = True
            self._proceed(opened)
        else:
            self._weigh(opened, message)

    def automatic(
        self, order: Reset, unless: Callable[[], OffswitchError | None], reply: Reply, fail: Fail
    ) -> None:
        """Carry out a drill's own reset: nobody is asked for it (SR-20), all else is as ever.

        What `unless` says as long as it can still be left undone is in its way.
        """
        opened = self._opened(order, judged.OURSELVES, reply, fail)
        opened.unless = unless
        self._proceed(opened)

    def _opened(self, order: Reset, peer: Peer, reply: Reply, fail: Fail) -> _Open:
        stops = [live for name in order.clears if (live := self._core.latch.get(name)) is not None]
        rows = self._core.table.covered(live.stop.scope for live in stops)
        opened = _Open(order, stops, rows, peer, reply, fail)
        self._under_way.append(opened)
        self._bar()
        return opened

    def _proceed(self, opened: _Open) -> None:
        """Whoever it takes is for it: seal the evidence, and carry it out."""
        core, order = self._core, opened.order
        opened.waits_until_us = core.clock.mono_us() + int(_SEAL_S * 1e6)
        # What is entered up to here is sealed with it; what the journal lost before is a gap.
        seal = entries.opened(core, order, opened.peer.uid)
        self._sealed(opened, seal)

    def _wait_for_proofs(self, order: Reset) -> None:
        """Keep a reset open for its proofs; the oldest and the moot are let go."""
        self._pending.pop(order.digest, None)
        self._pending[order.digest] = order
        live = self._core.latch
        moot = [name for name, each in self._pending.items() if not live.holds_all(each.clears)]
        for name in moot + list(self._pending)[:-_MOST_PENDING]:
            self._pending.pop(name, None)
            self._proven.pop(name, None)
        self._bar()

    def _bar(self) -> None:
        """Bar every press from joining a stop that a reset names which is open now."""
        barred = self._core.barred
        barred.clear()
        for order in [*self._pending.values(), *(opened.order for opened in self._under_way)]:
            barred.update(order.clears)
        barred.update(*self._asked)

    def _end(self, opened: _Open) -> None:
        """This reset is over, whichever way, unless it waits for proofs."""
        self._under_way.remove(opened)
        if opened.order.digest not in self._pending:
            self._proven.pop(opened.order.digest, None)
        self._bar()

    def _may(self, uid: int, known: Known, secret: str | None) -> None:
        core = self._core
        verdict = may_reset(
            uid,
            peer_in_cell=False,
            uids_that_ran_targets=core.ran_as.uids,
            warden_uid=core.rights.uid,
            secret_set=known.secret_set,
            secret_ok=known.secret_ok,
        )
        hint = "offswitch status says who may reset here"
        if secret is None:
            pass
        elif verdict.allowed or not known.secret_set:
            self._guesses.right(uid)
        else:
            pause_s = self._guesses.wrong(uid, core.clock.mono_us())
            if pause_s:
                why = f"{verdict.why}; that was wrong again, the next one counts in {pause_s} s"
                raise Refused(why, hint)
        if not verdict.allowed:
            raise Refused(verdict.why, hint)

    def _named(
        self,
        message: dict[str, Any],
        peer: Peer,
        scope: Scope,
        names: tuple[str, ...],
        reason: str,
    ) -> Reset:
        """Make the order, or take the pending one that the message confirms by its digest."""
        wanted = message.get("digest")
        if isinstance(wanted, str):
            pending = self._pending.get(wanted)
            if pending is None or not self._core.latch.holds_all(pending.clears):
                raise NotFound("no such reset is open", _AGAIN)
            if self._core.clock.wall_us() - pending.time_us > VALID_US:
                self._let_lapse(pending)
                raise Refused("that reset was opened too long ago", _AGAIN)
            if pending.scope != scope:
                raise Refused(
                    f"that reset is of {pending.scope.text}, not of {scope.text}",
                    "type the scope that it was opened with",
                )
            return pending
        return Reset(
            self._core.installation,
            scope,
            names,
            f"uid:{peer.uid}",
            "cli",
            judged.clean(message.get("nonce"), _LONGEST_NONCE),
            self._core.clock.wall_us(),
            reason,
        )

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return "a reset" if self._asked or self._under_way else ""

    def passed(self) -> dict[str, Any]:
        """Give the resets that wait for their second person, and who has proven themselves."""
        return {
            "pending": [order.wire() for order in self._pending.values()],
            "proven": {name: sorted(people) for name, people in self._proven.items()},
        }

    def take_up(self, passed: dict[str, Any]) -> None:
        """Let them wait on: whoever opened them was told so."""
        orders = [from_wire(body) for body in passed["pending"]]
        self._pending = {each.digest: each for each in orders if isinstance(each, Reset)}
        self._proven = {name: set(people) for name, people in passed["proven"].items()}
        self._bar()

    def _let_lapse(self, pending: Reset) -> None:
        self._pending.pop(pending.digest, None)
        self._proven.pop(pending.digest, None)
        self._bar()

    def _weigh(self, opened: _Open, message: dict[str, Any]) -> None:
        """Have the proofs for this very reset weighed; a code is burnt on the disk first."""
        core, digest = self._core, opened.order.digest
        given = message.get("proofs") or []
        proofs = [str(proof) for proof in given] if isinstance(given, list) else []
        level = max((live.stop.level for live in opened.stops), default=Level.KILL)
        case = Case(digest, level, opened.order.time_us)
        authority, now = core.authority, core.clock.wall_us()
        proven = frozenset(self._proven.get(digest, ()))

        def weighed(ruling: Ruling | OSError) -> None:
            if isinstance(ruling, OSError):
                why = f"the proofs cannot be weighed: {ruling.strerror}; nothing is reset"
                hint = "see the disk of OFFSWITCH_HOME: offswitch doctor"
                self._give_up(opened, Storage(why, hint))
                return
            known = self._proven.setdefault(digest, set())
            known.update(ruling.people)
            if ruling.refused:
                entries.proofs(core, opened.order, opened.peer.uid, ruling.refused)
            # Somebody else may have proven themselves while the disk was busy with this one.
            self._decide(opened, judge(core.authority, case, (), self._book, now, known))

        if proofs:
            core.errands.send(
                lambda: judge(authority, case, proofs, self._book, now, proven), weighed
            )
        else:
            self._decide(opened, judge(authority, case, (), self._book, now, proven))

    def _decide(self, opened: _Open, ruling: Ruling) -> None:
        order = opened.order
        if not self._core.latch.holds_all(order.clears):
            self._give_up(opened, NotFound("its stops were reset meanwhile", _AGAIN))
        elif ruling.allowed:
            self._proceed(opened)
        else:
            needs = list(ruling.needs)
            self._wait_for_proofs(order)
            self._end(opened)
            entries.pending(
                self._core, order, opened.peer.uid, needs, self._proven.get(order.digest, ())
            )
            opened.reply(self._answer(opened, "pending", [], needs))

    # --- what must be true first --------------------------------------------------

    def _sealed(self, opened: _Open, seq: int) -> None:
        """Wait until the ledger has everything up to now: the evidence is sealed."""
        core = self._core
        if opened.alone and core.authority.mode is Mode.PEOPLE:
            self._give_up(opened, Refused("since it was opened two people are wanted", _AGAIN))
        elif core.recording.durable(seq):
            self._still(opened)
        elif core.clock.mono_us() > opened.waits_until_us:
            self._give_up(
                opened,
                Storage(
                    "the evidence is not in the ledger yet, so nothing is reset",
                    "see why the recorder cannot write: offswitch doctor",
                ),
            )
        else:
            core.loop.later(_POLL_S, lambda: self._sealed(opened, seq))

    def _held(self, opened: _Open) -> list[Tracked]:
        """List what a stop of kill or more covers: it must stand still."""
        return [row for row in opened.rows if (self._core.level(row) or 0) >= Level.KILL]

    def _still(self, opened: _Open) -> None:
        """Have the observer look anew at all that must stand still."""
        for row in self._held(opened):
            self._stopper.look_again(row)
        opened.waits_until_us = self._core.clock.mono_us() + int(_LOOK_S * 1e6)
        self._looked(opened)

    def _looked(self, opened: _Open) -> None:
        """Wait until the observer has spoken, and judge by it."""
        core = self._core
        patient = core.clock.mono_us() < opened.waits_until_us
        if patient and self._stopper.looking(opened.rows):
            core.loop.later(_POLL_S, lambda: self._looked(opened))
            return
        trouble = self._moving(opened)
        if trouble is not None:
            self._give_up(opened, trouble)
            return
        core.store.note(opened.order)
        core.store.sync()
        opened.waits_until_us = core.clock.mono_us() + int(_DURABLE_S * 1e6)
        self._durable(opened)

    def _moving(self, opened: _Open) -> OffswitchError | None:
        """Say what was not seen to stand still since it was last commanded or last moved."""
        return opened.unless() or judged.moving(self._core, self._held(opened))

    def _durable(self, opened: _Open) -> None:
        core = self._core
        patient = core.clock.mono_us() < opened.waits_until_us
        if core.store.durable(opened.order.digest):
            trouble = self._moving(opened)
            if trouble is None:
                self._clear(opened)
            elif patient and self._stopper.looking(opened.rows):  # pressed anew meanwhile
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

    def _too_late(self, opened: _Open, error: OffswitchError) -> None:
        """The disk has the reset, or may yet take it, and it must not hold: stop the same anew."""
        stops = [live.stop for live in opened.stops]
        self._stopper.press(anew(stops, self._core.clock.wall_us()))
        self._give_up(opened, error)

    def _give_up(self, opened: _Open, error: OffswitchError) -> None:
        self._end(opened)
        opened.fail(error)

    # --- letting go ---------------------------------------------------------------

    def _clear(self, opened: _Open) -> None:
        core = self._core
        prior = {row.target.name: row.state for row in opened.rows}
        cleared = core.latch.clear(opened.order)
        proven = sorted(self._proven.get(opened.order.digest, ()))
        self._pending.pop(opened.order.digest, None)
        self._end(opened)
        for live in opened.stops:
            core.news.add(live, opened.order, core.clock.wall_us())
        for row in opened.rows:
            self._let_go(row)
        wider = self._core.wider(opened.order.scope)
        entries.done(core, opened.order, opened.stops, opened.rows, prior, proven)
        answer = self._answer(opened, "done", cleared, [])
        answer["wider"] = [live.stop.digest for live in wider]
        answer["needs"] = [
            f"{live.stop.scope.text} is still stopped ({live.stop.level.label}): "
            f"offswitch reset {live.stop.scope.text} --reason TEXT"
            for live in wider
        ]
        answer["exit"] = 3 if wider else 0
        opened.reply(answer)
        self._starter.on_idle()

    def _let_go(self, row: Tracked) -> None:
        core = self._core
        level = core.level(row)
        alive = lives(row)
        frozen = row.cell is not None and row.cell.frozen() is True
        row.state = step(row.state, Event.RESET, level, alive=alive)
        self._stopper.let_go(row)
        if level is not None and level >= Level.FREEZE:
            return  # a wider or another stop still holds it as it is
        if row.adopted or (row.cell is not None and alive):
            if frozen or row.adopted:
                self._stopper.release(row)
            self._stopper.set_word(row, level)
        if row.body is not None and core.observer is not None and row.watched:
            core.observer.unwatch(row.body.name)
            row.watched = False
        if row.cell is not None and not (alive or row.adopted) and level is None:
            self._starter.bury(row)
        if level is None:
            row.receipts, row.order = [], None
            row.unseen()

    def _answer(
        self, opened: _Open, state: str, cleared: list[str], needs: list[str]
    ) -> dict[str, Any]:
        return {
            "reset": opened.order.digest,
            "state": state,
            "cleared": cleared,
            "needs": needs,
            "wider": [],
            "notes": reset_forgeable(self._core),
            "order": opened.order.digest,
            "exit": 0,
        }
