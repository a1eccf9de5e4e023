"""Lowerings that the station asks for: what must be proved, by how many, and the warden's word.

    bypass, shelve with by, without a digest      opens one: its digest, how many people it takes
    the same with digest and proofs               the warden checks them; enough of them, and it is
                                                  lowered from that moment on

A proof is over the digest, which names what is lowered, for whom, why, how long, and a nonce: so it
is good for this one and for no other. Watch knows no key of anybody: it asks the warden (`prove`),
whose answer may come later; whoever asked waits for it, and the loop does not. People are counted
by the names that the warden has proved, each once, and none of them may be somebody as whom a
target runs. What is not proved within ten minutes is forgotten, and so is all of it when watch
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from offswitch.clock import Clock, new_nonce
from offswitch.decide.lowering import CONFIRM_US, Lowered, begun, checked, digest_of
from offswitch.decide.who import Who
from offswitch.errors import NotFound, OffswitchError, Refused, Unreachable, Usage, from_kind
from offswitch.watch.desk.door import Later
from offswitch.watch.desk.enquiries import Ask
from offswitch.watch.desk.lowered import LoweredBook
from offswitch.watch.desk.visitors import Visitors

__all__ = ["Proposal", "Proposals"]

_MOST = 100
_MOST_PROOFS = 8
_LONGEST_PROOF = 16_384
_WARDEN_US = 6_000_000

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One lowering that waits for proofs."""

    digest: str
    wanted: Lowered
    people: int
    """How many it takes."""
    due_us: int
    """Until when, monotonic microseconds."""
    proven: tuple[str, ...] = ()
    """Who has proved it, by name."""

    @property
    def needs(self) -> list[str]:
        """Say what is missing."""
        missing = self.people - len(self.proven)
        if missing <= 0:
            return []
        other = "another person" if self.proven else "a person"
        return [f"a proof of {other} whose role is safety"] * missing


class Proposals:
    """What is proposed, and what became of it."""

    def __init__(self, clock: Clock, ask: Ask, book: LoweredBook, visitors: Visitors) -> None:
        """Lower in `book` what the warden, whom `ask` reaches, calls proven."""
        self._clock = clock
        self._ask = ask
        self._book = book
        self._visitors = visitors
        self._open: dict[str, Proposal] = {}

    def now(self) -> list[Proposal]:
        """Give those that are open."""
        now_us = self._clock.mono_us()
        self._open = {key: one for key, one in self._open.items() if now_us < one.due_us}
        return list(self._open.values())

    def open(self, wanted: Lowered) -> Proposal:
        """Propose it; raises what is wrong with it. Of the same thing the last one counts."""
        checked(wanted, owner=True)
        # Where nobody knows how many the warden wants, two are: that is the safe side.
        people = self._book.people(wanted, two=self._visitors.mode != "local")
        for one in self.now():
            if one.wanted.key == wanted.key:
                del self._open[one.digest]
        if len(self._open) >= _MOST:
            raise Usage("too many wait for proofs", "let some run out: ten minutes")
        digest = digest_of(wanted, new_nonce())
        due_us = self._clock.mono_us() + CONFIRM_US
        self._open[digest] = Proposal(digest, wanted, people, due_us)
        return self._open[digest]

    def prove(
        self, digest: str, proofs: object, told: Callable[[Proposal, Lowered | None], Message],
        refused: Callable[[Refused], None],
    ) -> Later:  # fmt: skip
        """Have proofs checked; `told` makes the answer of what has come of it."""
        proposal = self._of(digest)
        later = Later(self._clock.mono_us() + _WARDEN_US)
        message = {
            "op": "prove",
            "about": proposal.wanted.what.value,
            "digest": digest,
            "people": proposal.people,
            "role": "safety",
            "proofs": _texts(proofs),
        }

        def finish(answer: Message) -> Message:
            try:
                return told(*self._heard(digest, answer))
            except Refused as error:
                refused(error)
                raise

        if not self._ask(message, lambda answer: later.settle(lambda: finish(answer))):
            raise Unreachable("the warden cannot be asked just now", "try again in a moment")
        return later

    def _of(self, digest: str) -> Proposal:
        found = {one.digest: one for one in self.now()}.get(digest)
        if found is None:
            raise NotFound("that is not proposed: it is done, ran out, or never was", "ask again")
        return found

    def _heard(self, digest: str, answer: Mapping[str, Any]) -> tuple[Proposal, Lowered | None]:
        """Take in the warden's word; gives the lowering where that is enough."""
        error = answer.get("error")
        if isinstance(error, dict):
            raise _raised(error)
        proposal = self._of(digest)
        named = answer.get("people")
        names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
        may = [name for name in names if not self._visitors.may_not(self._person(name))]
        proven = tuple(dict.fromkeys((*proposal.proven, *may)))
        if proven == proposal.proven:
            raise Refused(
                _why(answer, names),
                "prove the digest that stands there, by a person whose role is safety",
            )
        proposal = replace(proposal, proven=proven)
        self._open[digest] = proposal
        if len(proven) < proposal.people:
            return proposal, None
        self._book.people(proposal.wanted)  # raises where it was lowered meanwhile
        del self._open[digest]
        by, second = f"person:{proven[0]}", f"person:{proven[1]}" if len(proven) > 1 else ""
        return proposal, self._book.take(begun(proposal.wanted, self._clock.wall_us(), by, second))

    def _person(self, name: str) -> Who:
        return Who(self._visitors.users.get(name), name)


def _texts(proofs: object) -> list[str]:
    """Take proofs as texts of a bounded length."""
    given = proofs if isinstance(proofs, list) else []
    texts = [one for one in given if isinstance(one, str) and len(one) <= _LONGEST_PROOF]
    if not texts or len(texts) != len(given) or len(texts) > _MOST_PROOFS:
        raise Usage("proofs are wanted, as texts", "an SSH signature, a code or a passkey's answer")
    return texts


def _why(answer: Mapping[str, Any], names: list[str]) -> str:
    """Say why no proof counted."""
    said = answer.get("refused")
    reasons = [str(one)[:200] for one in said[:_MOST_PROOFS]] if isinstance(said, list) else []
    if reasons:
        return f"no proof counts: {'; '.join(reasons)}"[:1000]
    if names:
        return "that person has proved it already, or may not: somebody else must"
    return "no proof counts"


def _raised(error: Mapping[str, Any]) -> OffswitchError:
    texts = [str(error.get(key) or "")[:500] for key in ("kind", "message", "hint")]
    return from_kind(texts[0], texts[1] or "the warden refused it", texts[2])
