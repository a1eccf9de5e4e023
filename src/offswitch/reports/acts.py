"""What a stop did: what its layers did about each target, and the moments on the way to it.

Times in a receipt are nanoseconds since its press was accepted. A receipt says when that was
(`accepted_mono_us`); one of an older ledger does not, and then the latest entry of its order
does. Of the first stop the moments are kept that `delays` splits the way by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from offswitch.reports.delays import Delays, split
from offswitch.reports.incident import Layer
from offswitch.reports.said import Moment, Said

__all__ = ["COOPERATIVE", "Acts", "counts"]

COOPERATIVE = "guard"
"""The layer that is listed and never counted (`warden.plan`)."""

_MOST_LAYERS = 20_000
_MOST_TRIPS = 200
_MOST_FINDINGS = 20
_LONGEST = 400


@dataclass(slots=True)
class _Fact:
    """What the receipts say of one layer of one target, in one episode."""

    episode: int
    commanded: Moment
    effect: Moment | None
    recorded: Moment
    index: int
    level: str
    order: str
    confirmed: bool
    detail: str
    seen_in: int | None
    counted: bool
    missed_in: int | None


class Acts:
    """Receipts, and the moments of the first stop."""

    def __init__(self) -> None:
        """Begin before anything was stopped."""
        self._facts: dict[tuple[str, str], _Fact] = {}
        self._opening: dict[tuple[str, str], _Fact] = {}
        self.left_out = 0
        """Receipts of layers beyond the most that are kept."""
        self._zero: dict[str, int | None] = {}
        """Order → when its latest press was accepted, monotonic microseconds."""
        self._trips: list[tuple[Moment, str]] = []
        self._decided: list[tuple[Moment, tuple[str, ...]]] = []
        self._given: Moment | None = None
        self._accepted: Moment | None = None
        self._first_targets: frozenset[str] = frozenset()

    # --- taking in ----------------------------------------------------------------

    def tripped(self, said: Said, found_us: int) -> None:
        """A detector's finding that it trips."""
        if len(self._trips) < _MOST_TRIPS:
            what = said.text("what")[:_LONGEST]
            self._trips.append((said.at_wall(found_us, "found_us"), what))

    def decided(self, said: Said, decided_us: int) -> None:
        """Somebody, or a rule, decided to stop."""
        if len(self._decided) < _MOST_TRIPS:
            moment = said.at_wall(decided_us, "decided_us")
            found = said.texts("findings")[:_MOST_FINDINGS]
            self._decided.append((moment, tuple(one[:_LONGEST] for one in found)))

    def ordered(
        self, said: Said, digest: str, given_us: int, accepted: Moment | None, covered: list[str]
    ) -> None:
        """A stop was accepted."""
        if accepted is not None or digest not in self._zero:
            self._zero[digest] = None if accepted is None else accepted.mono_us
        if self._given is None:
            self._given, self._accepted = said.at_wall(given_us, "given_us"), accepted
            self._first_targets = frozenset(covered)

    def receipt(self, said: Said, episode: int) -> None:
        """One layer has acted."""
        target, layer, order = said.text("target"), said.text("layer"), said.text("order")
        confirmed, detail = said.text("confirmed") == "yes", said.words("detail") or ""
        counted = counts(said)
        missed_in = said.index if counted and not confirmed else None
        zero = said.number("accepted_mono_us") or self._zero.get(order)
        effect = _since(said, zero, "effect_ns") if confirmed else None
        key = (target, layer)
        fact = self._facts.get(key)
        if fact is None and len(self._facts) >= _MOST_LAYERS:
            self.left_out += 1
            return
        if fact is None or fact.episode != episode:
            commanded = _since(said, zero, "commanded_ns")
            fact = self._facts[key] = _Fact(
                episode=episode,
                commanded=commanded,
                effect=effect,
                recorded=said.now(),
                index=said.index,
                level=said.text("level"),
                order=order,
                confirmed=confirmed,
                detail=detail,
                seen_in=said.index if confirmed else None,
                counted=counted,
                missed_in=missed_in,
            )
            if episode == 0:
                self._opening[key] = fact
            return
        if fact.effect is None and effect is not None:
            fact.effect, fact.recorded, fact.seen_in = effect, said.now(), said.index
        fact.index, fact.level, fact.order = said.index, said.text("level"), order
        fact.confirmed, fact.detail, fact.counted = confirmed, detail, counted
        fact.missed_in = missed_in if fact.missed_in is None else fact.missed_in

    def precede(self, near: Acts) -> None:
        """What was seen of a near miss was the beginning."""
        self._trips = (near._trips + self._trips)[:_MOST_TRIPS]
        self._decided = (near._decided + self._decided)[:_MOST_TRIPS]

    # --- giving -------------------------------------------------------------------

    def layers(self) -> list[Layer]:
        """Give what the layers did, those that were not seen first."""
        made = [
            Layer(
                target=target,
                layer=layer,
                level=fact.level,
                order=fact.order,
                index=fact.index,
                commanded_us=fact.commanded.wall_us,
                effect_us=None if fact.effect is None else fact.effect.wall_us,
                confirmed=fact.confirmed,
                counted=fact.counted,
                detail=fact.detail,
                seen_in=fact.seen_in,
                missed_in=fact.missed_in,
            )
            for (target, layer), fact in self._facts.items()
        ]
        made.sort(key=lambda one: (one.confirmed or not one.counted, one.target, one.layer))
        return made

    def delays(self) -> Delays:
        """Split the way to the first stop's record."""
        if self._given is None:
            return split(())
        told = self._deciding(self._given)
        first, last = self._tripped(self._given, told)
        facts = {key: fact for key, fact in self._opening.items() if key[0] in self._first_targets}
        acted = _last(fact.commanded for fact in facts.values())
        counted = [fact for fact in facts.values() if fact.counted]
        seen = [fact.effect for fact in counted if fact.effect is not None]
        confirmed = _last(seen) if len(seen) == len(counted) else None
        recorded = _last(fact.recorded for fact in facts.values())
        way = (first, last, told or self._given, self._accepted, acted, confirmed, recorded)
        return split(way)

    def _deciding(self, given: Moment) -> Moment | None:
        """Find the decision that gave the first stop: it was given at that very moment."""
        return next((one for one, _found in self._decided if one.wall_us == given.wall_us), None)

    def _tripped(self, decided: Moment, told: Moment | None) -> tuple[Moment | None, Moment | None]:
        """Give the first finding and the one that decided: of the decision's own, if it has any."""
        before = [(one, what) for one, what in self._trips if one.wall_us <= decided.wall_us]
        named = next((found for one, found in self._decided if one is told), ())
        its_own = [one for one, what in before if what in named]
        if its_own:
            return _first(its_own), _last(its_own)
        first = _first(one for one, _what in before)
        return first, first


def counts(said: Said) -> bool:
    """Tell whether a receipt is of a layer that counts: no guard's, and none that was put off."""
    return said.text("layer") != COOPERATIVE and said.text("counted") != "no"


def _since(said: Said, zero: int | None, field: str) -> Moment:
    """When a receipt says that something was, or when it was written where that is unknown."""
    passed = said.number(field)
    if passed is None or zero is None:
        return said.now()
    return said.at_mono(zero + passed // 1000, field)


def _by_time(moment: Moment) -> tuple[int, int]:
    return (moment.wall_us, moment.index)


def _first(moments: Iterable[Moment]) -> Moment | None:
    return min(moments, key=_by_time, default=None)


def _last(moments: Iterable[Moment]) -> Moment | None:
    return max(moments, key=_by_time, default=None)
