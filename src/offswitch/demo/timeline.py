"""When what happened, from the record and from what the programs themselves left behind.

Entries bear UTC and the monotonic clock; what an actuator did and the observer saw is told
in nanoseconds since the order was accepted. All of it is put on one axis here, UTC in
nanoseconds, which is also what the programs of the fleet wrote down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Moment", "Order", "first_finding", "moments_of", "orders"]

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


def orders(entries: list[Entry]) -> list[Order]:
    """List the stops in the order in which they came."""
    return [
        Order(entry["public"], entry["index"])
        for entry in entries
        if entry["public"].get("kind") == "order"
    ]


def first_finding(entries: list[Entry], target: str) -> tuple[int, Entry] | None:
    """Give the finding about `target` on which the first decision to stop it was made."""
    for entry in entries:
        public = entry["public"]
        if public.get("kind") == "decision" and public.get("choice") == "stop":
            wanted = set(public.get("findings", []))
            for earlier in entries:
                told = earlier["public"]
                about = told.get("kind") == "finding" and told.get("target") == target
                if about and told.get("what") in wanted:
                    return earlier["index"], told
    return None


def moments_of(entries: list[Entry], order: Order, target: str) -> list[Moment]:
    """Give what the record says of one target's stop: finding, decision, order, receipts."""
    found = []
    finding = first_finding(entries, target)
    if finding is not None:
        index, told = finding
        at = int(told["found_us"]) * 1000
        found.append(Moment(at, "finding: " + str(told["what"]), f"ledger {index}", key=True))
    for entry in entries:
        public, index = entry["public"], entry["index"]
        if public.get("kind") == "decision" and public.get("choice") == "stop":
            at = int(public["decided_us"]) * 1000
            found.append(Moment(at, "decision: stop, by the rule", f"ledger {index}"))
        ours = public.get("order") == order.digest and public.get("target") == target
        if public.get("kind") == "receipt" and ours:
            found += _of_receipt(public, index, order.accepted_ns)
    found.append(Moment(order.accepted_ns, "order accepted", f"ledger {order.index}", key=True))
    return sorted(found, key=lambda moment: moment.time_ns)


def _of_receipt(public: Entry, index: int, accepted_ns: int) -> list[Moment]:
    layer, source = public["layer"], f"ledger {index}"
    what = {"guard": "the page says stop"}.get(layer, f"{layer}: commanded")
    moments = [Moment(accepted_ns + int(public["commanded_ns"]), what, source)]
    if public.get("effect_ns") is not None:
        at = accepted_ns + int(public["effect_ns"])
        moments.append(Moment(at, f"{layer}: seen to be done", source, key=True))
    return moments
