"""A reset: deliberate, and never more than it names. It starts nothing.

It needs a typed scope and its grounds; somebody who may (SR-2, and two people's proofs where
the authority is `people`, SR-5); what the cleared stops covered standing still, seen by
the observer just now, in every layer that this machine has; and the evidence in the ledger
(`carrying`). It names the stops that it clears when it is opened; a press that comes later is
not among them, and holds. Only when the reset is durable does the latch let go; a crash before
that leaves it set.

The station hands in what people ask for, and is believed in nothing: what it sends is a reset
of somebody's only with their proof, or with the secret where one person is enough.

Who may is looked up in `home`, and a code is burnt there: errands, since that disk may hang.
Until they are back the reset is under way, and no press joins a stop that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.authority import VALID_US, Case, Mode, Ruling, judge
from offswitch.decide.secret import may_reset
from offswitch.decide.totp import CodeBook
from offswitch.errors import NotFound, OffswitchError, Refused, Storage
from offswitch.model.latch import Live
from offswitch.model.order import Reset
from offswitch.model.scope import Scope, parse_scope
from offswitch.warden.core import Core
from offswitch.warden.door.reporting import reset_forgeable
from offswitch.warden.reset import entries
from offswitch.warden.reset.carrying import AGAIN, Carrier, Fail, Open, Reply
from offswitch.warden.reset.cases import case_of, claims_nothing
from offswitch.warden.reset.grounds import Grounds
from offswitch.warden.reset.guesses import Guesses
from offswitch.warden.reset.judged import OURSELVES, Known, look, named_now, nothing_there, taken_up
from offswitch.warden.reset.pending import Pending, Waiting
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper

__all__ = ["Resetter"]

_LOOKED_UP_S = 3.0
_NAMED = 5
_NOT_TOLD_APART = (
    "reset forgeable by the station: it shares the warden's user, since nobody is root here"
)


class Resetter:
    """Opens and checks resets; every refusal is an entry."""

    def __init__(self, core: Core, stopper: Stopper, starter: Starter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._stopper = stopper
        self.pending = Pending()
        """Those that wait for people."""
        self.book = CodeBook(f"{core.place.home}/codes")
        """Which one-time codes are burnt."""
        self._asked: list[frozenset[str]] = []
        """The stops of resets of which it is not known yet whether they may be opened."""
        self._carrier = Carrier(core, stopper, starter, self.pending, self._bar)
        self._guesses = Guesses()

    def ask(self, message: dict[str, Any], peer: Peer, reply: Reply, fail: Fail) -> None:
        """Take a request to reset; `reply` or `fail` is called once, maybe later."""
        core, uid = self._core, peer.uid
        given = message.get("secret")
        secret = given if isinstance(given, str) else None

        def refuse(error: OffswitchError) -> None:
            entries.refused(core, message, peer, error)
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
                self.know(known)
                alone = self._may(message, peer, known, secret)
                self._open(message, peer, named, reply, refuse, alone=alone)
            except OffswitchError as error:
                refuse(error)

        try:
            many = core.rights.station(peer, message)
            if many and core.rights.uid != 0:
                core.notes["station"] = _NOT_TOLD_APART
            core.shares.reset(uid, core.clock.mono_us(), many=many)
            claims_nothing(core, message, peer)
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

    def know(self, known: Known) -> None:
        """Go by what was found; that two people are wanted from now on is an entry."""
        core = self._core
        before = core.authority.mode
        core.secret_set = known.secret_set
        core.authority = taken_up(core.authority, known.authority)
        if core.authority.mode is not before:
            entries.authority(core, before)

    def _may(self, message: dict[str, Any], peer: Peer, known: Known, secret: str | None) -> bool:
        """Raise unless this peer may ask for a reset; tells whether its own word is enough.

        It is where one person resets (SR-2); the station's is not, and the secret makes up for it.
        """
        core, uid = self._core, peer.uid
        station = core.rights.station(peer, message)
        verdict = may_reset(
            uid,
            peer_in_cell=False,
            uids_that_ran_targets=core.ran_as.uids,
            warden_uid=core.rights.uid,
            secret_set=known.secret_set,
            secret_ok=known.secret_ok,
        )
        wrong = station and known.secret_set and not known.secret_ok
        hint = "offswitch status says who may reset here"
        if secret is None:
            pass
        elif verdict.allowed and not wrong:
            self._guesses.right(uid)
        elif known.secret_set:
            why = "that is not the secret" if station else verdict.why
            pause_s = self._guesses.wrong(uid, core.clock.mono_us())
            if pause_s:
                why = f"{why}; that was wrong again, the next one counts in {pause_s} s"
            raise Refused(why, hint)
        else:
            self._guesses.right(uid)
        if not verdict.allowed:
            raise Refused(verdict.why, hint)
        return core.authority.mode is Mode.LOCAL and (not station or known.secret_ok)

    # --- opening ------------------------------------------------------------------

    def _open(
        self,
        message: dict[str, Any],
        peer: Peer,
        named: frozenset[str],
        reply: Reply,
        fail: Fail,
        *,
        alone: bool,
    ) -> None:
        core = self._core
        scope = parse_scope(str(message.get("scope", "")))
        wanted = message.get("digest")
        if not isinstance(wanted, str):
            grounds = Grounds.read(message, station=core.rights.station(peer, message))
        stops = [live for live in core.latch.within(scope) if live.stop.digest in named]
        if not stops:
            raise nothing_there(core, scope, peer.uid)
        if isinstance(wanted, str):
            waiting = self._confirmed(wanted, scope.text)
        else:
            order = Reset(
                core.installation,
                scope,
                tuple(sorted(live.stop.digest for live in stops)),
                core.rights.named(peer, message),
                core.rights.road(peer, message),
                grounds.nonce(message),
                core.clock.wall_us(),
                grounds.reason,
            )
            waiting = Waiting(order, grounds)
        if waiting.grounds.write_off and core.authority.mode is Mode.LOCAL:
            why = "one person alone writes nothing off"
            raise Refused(why, "add the second one: offswitch people add NAME")
        opened = self._opened(waiting, peer, reply, fail)
        opened.alone = core.authority.mode is Mode.LOCAL
        if alone:
            self._carrier.proceed(opened)
        else:
            self._weigh(opened, message)

    def automatic(
        self, order: Reset, unless: Callable[[], OffswitchError | None], reply: Reply, fail: Fail
    ) -> None:
        """Carry out a drill's own reset: nobody is asked for it (SR-20), all else is as ever.

        What `unless` says as long as it can still be left undone is in its way.
        """
        opened = self._opened(Waiting(order, Grounds(order.reason)), OURSELVES, reply, fail)
        opened.unless = unless
        self._carrier.proceed(opened)

    def _opened(self, waiting: Waiting, peer: Peer, reply: Reply, fail: Fail) -> Open:
        stops = self._live(waiting.order)
        rows = self._core.table.covered(live.stop.scope for live in stops)
        opened = Open(waiting, stops, rows, peer, reply, fail, self._answer)
        self._carrier.begin(opened)
        return opened

    def _confirmed(self, digest: str, scope: str) -> Waiting:
        """Give the pending reset that a message confirms by its digest."""
        waiting = self.pending.get(digest)
        if waiting is None or not self._core.latch.holds_all(waiting.order.clears):
            raise NotFound("no such reset is open", AGAIN)
        if self._core.clock.wall_us() - waiting.order.time_us > VALID_US:
            self.pending.drop(digest)
            self._bar()
            raise Refused("that reset was opened too long ago", AGAIN)
        if waiting.order.scope.text != scope:
            raise Refused(
                f"that reset is of {waiting.order.scope.text}, not of {scope}",
                "type the scope that it was opened with",
            )
        return waiting

    def _live(self, order: Reset) -> list[Live]:
        return [live for name in order.clears if (live := self._core.latch.get(name)) is not None]

    def _bar(self) -> None:
        """Bar every press from joining a stop that a reset names which is open now."""
        barred = self._core.barred
        barred.clear()
        for order in [*(each.order for each in self.pending), *self._carrier.under_way]:
            barred.update(order.clears)
        barred.update(*self._asked)

    # --- who confirms it ----------------------------------------------------------

    def case(self, waiting: Waiting) -> Case:
        """Say what is to be judged of a reset, as things stand now."""
        return case_of(self._core, self._stopper.turns, waiting, self._live(waiting.order))

    def _weigh(self, opened: Open, message: dict[str, Any]) -> None:
        """Have the proofs for this very reset weighed; a code is burnt on the disk first."""
        core, waiting = self._core, opened.waiting
        given = message.get("proofs") or []
        proofs = [str(proof) for proof in given] if isinstance(given, list) else []
        case, now = self.case(waiting), core.clock.wall_us()
        authority, proven = core.authority, frozenset(waiting.proven)

        def weighed(ruling: Ruling | OSError) -> None:
            if isinstance(ruling, OSError):
                why = f"the proofs cannot be weighed: {ruling.strerror}; nothing is reset"
                hint = "see the disk of OFFSWITCH_HOME: offswitch doctor"
                self._carrier.give_up(opened, Storage(why, hint))
                return
            waiting.proven.update(ruling.people)
            if ruling.refused:
                entries.proofs(core, opened.order, core.rights.named(opened.peer, message), ruling)
            # Somebody else may have proven themselves while the disk was busy with this one,
            # and the stop may have grown into a kill.
            self._decide(opened, self._ruling(waiting, now))

        if proofs:
            core.errands.send(
                lambda: judge(authority, case, proofs, self.book, now, proven), weighed
            )
        else:
            self._decide(opened, self._ruling(waiting, now))

    def _ruling(self, waiting: Waiting, now_us: int) -> Ruling:
        """Judge by who has proven themselves so far."""
        case = self.case(waiting)
        return judge(self._core.authority, case, (), self.book, now_us, waiting.proven)

    def _decide(self, opened: Open, ruling: Ruling) -> None:
        core, order = self._core, opened.order
        if not core.latch.holds_all(order.clears):
            self._carrier.give_up(opened, NotFound("its stops were reset meanwhile", AGAIN))
        elif ruling.allowed:
            self._carrier.proceed(opened)
        else:
            self.pending.keep(opened.waiting, core.latch, core.clock.wall_us())
            self._carrier.end(opened)
            entries.pending(core, opened.waiting, ruling.needs)
            opened.reply(self._answer(opened, "pending", [], list(ruling.needs)))

    # --- what is said of it -------------------------------------------------------

    def _served_again(self, scope: Scope) -> list[str]:
        """Name what a gateway serves again at once: that needs no start."""
        names = [
            row.target.name
            for row in self._core.table
            if row.served and scope.covers(row.target) and self._core.level(row) is None
        ]
        if not names:
            return []
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        named = ", ".join(names[:_NAMED])
        return [f"gateways let requests of {named}{more} pass again from now on"]

    def _answer(
        self, opened: Open, state: str, cleared: list[str], needs: list[str]
    ) -> dict[str, Any]:
        core, waiting = self._core, opened.waiting
        notes = [*reset_forgeable(core)]
        if core.rights.uid != 0 and opened.order.channel != "cli":
            notes.append(_NOT_TOLD_APART)
        notes += [
            f"{name} was never confirmed to stand still: it is stopped if it reappears"
            for name in sorted(opened.written_off)
        ]
        notes += self._served_again(opened.order.scope) if state == "done" else []
        said = {
            "reset": opened.order.digest,
            "state": state,
            "cleared": cleared,
            "needs": needs,
            "wider": [],
            "written_off": sorted(opened.written_off),
            "proven": sorted(waiting.proven),
            "notes": notes,
            "order": opened.order.digest,
            "exit": 0,
        }
        if state == "pending":
            said |= {
                "people": self.case(waiting).wanted,
                "opened_us": waiting.order.time_us,
                "expires_us": waiting.expires_us,
            }
        return said

    def waiting(self) -> Iterable[tuple[Waiting, Case, Ruling]]:
        """Give every reset that can still be confirmed, how it is judged, and what it needs."""
        now = self._core.clock.wall_us()
        for each in self.pending:
            if self._core.latch.holds_all(each.order.clears) and now <= each.expires_us:
                yield each, self.case(each), self._ruling(each, now)

    # --- the hand-over ------------------------------------------------------------

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return "a reset" if self._asked or self._carrier.under_way else ""

    def passed(self) -> dict[str, Any]:
        """Give the resets that wait for their second person, and who has proven themselves."""
        return self.pending.passed()

    def take_up(self, passed: dict[str, Any]) -> None:
        """Let them wait on: whoever opened them was told so."""
        self.pending.take_up(passed)
        self._bar()
