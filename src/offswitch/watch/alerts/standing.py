"""Which alerts fire now, as far as their monitors have told.

An alert fires until its monitor says that it is over: a lost message can only leave one standing
that has ended. A thousand are told apart; what fires beyond that is only counted, and stays so.
What fires outlives the eye (`memory`), since its monitor may say it only once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from offswitch.watch.alerts.alert import Alert, State
from offswitch.watch.sensors.contract import Sample
from offswitch.watch.tally import OTHER

__all__ = ["Standing"]

_MOST = 1000


class Standing:
    """What fires."""

    __slots__ = ("_firing", "_known", "_most_names", "_unknown", "_untold")

    def __init__(self, declared: Iterable[str], most_names: int, memory: Mapping[str, str]) -> None:
        """Tell of `declared` names from the first look on, and of so many at most."""
        self._known = dict.fromkeys(declared, True)
        self._most_names = most_names
        self._firing: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._untold = 0
        for key, name in memory.items():
            self._firing[key] = name
            self._know(name)

    def take(self, alert: Alert) -> None:
        """Take in what became of one."""
        known = self._know(alert.name)
        if alert.state is State.UNKNOWN:
            self._unknown[known] = alert.text or "its monitor cannot tell"
            return
        self._unknown.pop(known, None)
        if alert.state is State.FIRING:
            if alert.key in self._firing or len(self._firing) < _MOST:
                self._firing[alert.key] = known
            else:
                self._untold += 1
        elif alert.state is State.RESOLVED:
            self._firing.pop(alert.key, None)

    def samples(self) -> list[Sample]:
        """Say for each name how many of it fire, and how many do in all."""
        counts = Counter(self._firing.values())
        samples = [Sample("firing", float(len(self._firing) + self._untold))]
        for name in self._known:
            why = self._unknown.get(name)
            value = float(counts[name]) if why is None else math.nan
            samples.append(Sample("firing", value, {"alert": name}, {"why": why} if why else {}))
        return samples

    def memory(self) -> dict[str, str]:
        """Give what another life must know."""
        return dict(self._firing)

    def name_of(self, alert: Alert) -> str:
        """Give the name under which it is told of."""
        return self._know(alert.name)

    def _know(self, name: str) -> str:
        if name not in self._known and len(self._known) >= self._most_names:
            name = OTHER
        self._known[name] = True
        return name
