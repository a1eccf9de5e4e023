"""When what happened, from the record and from what the programs themselves left behind.

Entries bear UTC and the monotonic clock; what an actuator did and the observer saw is told
in nanoseconds since the order was accepted. All of it is put on one axis here, UTC in
nanoseconds, which is also what the programs of the fleet wrote down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Moment", "Order", "moments_of", "proven"]

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the timeline."""

    time_ns: int
    """UTC, nanoseconds since the epoch."""
    what: str
    source: str
    """Where it is known from: `ledger 17`, `shop.db`, …"""
    key: bool = False
    """Whether it is one of the figures that a reader looks for."""


@dataclass(frozen=True, slots=True)
class Order:
    """One stop, as the ledger has it."""

    entry: Entry
    index: int

    @property
    def digest(self) -> str:
        """The order's name."""
        return str(self.entry["digest"])

    @property
    def accepted_ns(self) -> int:
        """When the warden had it, on the axis."""
        mono = int(self.entry["accepted_mono_us"])
        return (int(self.entry["time_us"]) - (int(self.entry["mono_us"]) - mono)) * 1000


def proven(entries: list[Entry], channel: str, target: str) -> Order | None:
    """Give the first stop over that channel of which the record has receipts about `target`.

    A press may stand there more than once: it goes down every road to warden and keeper.
    """
    told = {
        entry["public"].get("order")
        for entry in entries
        if entry["public"].get("kind") == "receipt" and entry["public"].get("target") == target
    }
    for entry in entries:
        public = entry["public"]
        ours = public.get("kind") == "order" and public.get("channel") == channel
        if ours and public.get("digest") in told and "accepted_mono_us" in public:
            return Order(public, entry["index"])
    return None


def _decision(entries: list[Entry], target: str) -> tuple[int, Entry] | None:
    """Give the first decision to stop `target`."""
    for entry in entries:
        public = entry["public"]
        ours = public.get("kind") == "decision" and public.get("choice") == "stop"
        if ours and public.get("scope") == target:
            return entry["index"], public
    return None


def _finding(entries: list[Entry], target: str, whats: set[str]) -> tuple[int, Entry] | None:
    """Give the first finding about `target` that says one of `whats`."""
    for entry in entries:
        public = entry["public"]
        ours = public.get("kind") == "finding" and public.get("target") == target
        if ours and public.get("what") in whats:
            return entry["index"], public
    return None


def moments_of(entries: list[Entry], order: Order, target: str) -> list[Moment]:
    """Give what the record says of one target's stop: finding, decision, order, receipts."""
    moments = []
    decision = _decision(entries, target)
    if decision is not None:
        finding = _finding(entries, target, set(decision[1].get("findings", [])))
        if finding is not None:
            index, told = finding
            what = f"finding: {told['what']}"
            moments.append(Moment(int(told["found_us"]) * 1000, what, f"ledger {index}", key=True))
        index, told = decision
        at = int(told["decided_us"]) * 1000
        moments.append(Moment(at, "decision: stop, by the rule", f"ledger {index}"))
    moments.append(Moment(order.accepted_ns, "order accepted", f"ledger {order.index}", key=True))
    for entry in entries:
        public = entry["public"]
        ours = public.get("order") == order.digest and public.get("target") == target
        if public.get("kind") == "receipt" and ours:
            moments += _of_receipt(public, entry["index"], order.accepted_ns)
    return sorted(moments, key=lambda moment: moment.time_ns)


def _of_receipt(public: Entry, index: int, accepted_ns: int) -> list[Moment]:
    layer, source = public["layer"], f"ledger {index}"
    what = {"guard": "the page says stop"}.get(layer, f"{layer}: commanded")
    moments = [Moment(accepted_ns + int(public["commanded_ns"]), what, source)]
    if public.get("effect_ns") is not None:
        at = accepted_ns + int(public["effect_ns"])
        moments.append(Moment(at, f"{layer}: seen to be done", source, key=True))
    return moments
