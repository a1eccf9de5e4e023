"""What stops took, counted from the record as it grows: for `/metrics`."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from offswitch.config.declared import LayerName
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.model.level import Level
from offswitch.reports.rooms import is_drill

__all__ = ["BUCKETS_S", "StopTimes"]

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Upper ends of the histogram's buckets, in seconds."""
_LAYERS = frozenset(get_args(LayerName))
_LEVELS = frozenset(level.label for level in Level)
_REMEMBERED = 100_000


class StopTimes:
    """Listens to the record, and counts what stops took."""

    def __init__(self) -> None:
        """Begin with an empty record."""
        self.orders: Counter[str] = Counter()
        self.unconfirmed: Counter[str] = Counter()
        self.buckets: dict[str, list[int]] = {}
        self.sums: Counter[str] = Counter()
        self._seen: set[tuple[str, str, str]] = set()

    def take(self, entry: ShownEntry) -> None:
        """Hear of one entry; drills are rehearsals, and are counted by themselves."""
        public = entry.public
        kind = public.get("kind")
        if kind == EntryKind.ORDER.value and not is_drill(str(public.get("scope"))):
            level = str(public.get("level"))
            self.orders[level if level in _LEVELS else "other"] += 1
        elif kind == EntryKind.RECEIPT.value and not is_drill(str(public.get("target"))):
            self._receipt(public)

    def _receipt(self, public: dict[str, object]) -> None:
        layer, effect = str(public.get("layer")), public.get("effect_ns")
        if layer not in _LAYERS or layer == "guard":
            return
        if public.get("confirmed") != "yes" or type(effect) is not int:
            self.unconfirmed[layer] += 1
            return
        name = (str(public.get("order")), str(public.get("target")), layer)
        if name in self._seen:
            return  # told again when something else of it was seen
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        self._seen.add(name)
        counts = self.buckets.setdefault(layer, [0] * (len(BUCKETS_S) + 1))
        seconds = effect / 1e9
        counts[sum(1 for bound in BUCKETS_S if seconds > bound)] += 1
        self.sums[layer] += effect
