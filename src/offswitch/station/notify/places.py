"""Which incident a stop belongs to, found in a few look-ups, however many there are.

Each is kept under the scopes of its stops, under every scope above those, and under the targets
that they covered; of two the later one counts. What is over is left in place and passed over by
whoever asks, until all of it is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from offswitch.model.scope import Scope, scopes_above
from offswitch.station.notify.threads import Incident, Stop

__all__ = ["Places"]

_MOST_TARGETS = 2000
_LONGEST = 400


class Places:
    """Finds incidents."""

    __slots__ = ("_at", "_below", "_targets")

    def __init__(self) -> None:
        """Begin with none."""
        self._at: dict[str, Incident] = {}
        self._below: dict[str, Incident] = {}
        self._targets: dict[str, Incident] = {}

    def enter(self, incident: Incident, stop: Stop) -> None:
        """Keep an incident under what a stop of it is about."""
        if len(stop.scope) > _LONGEST:
            return
        self._at[stop.scope] = incident
        for above in scopes_above(Scope(stop.scope)):
            self._below[above] = incident
        for target in stop.targets:
            self._targets[target] = incident

    def at(self, target: str) -> Incident | None:
        """Give the latest incident of a target: by a stop that covered it, or would."""
        found = self._targets.get(target)
        return found if found is not None else next(self._over(target), None)

    def of(self, stop: Stop) -> Iterator[Incident]:
        """Give those that a stop may belong to: over it, below it, or with a target of it."""
        yield from self._over(stop.scope)
        below = self._below.get(stop.scope)
        if below is not None:
            yield below
        for number, target in enumerate(stop.targets):
            if number >= _MOST_TARGETS:
                break
            found = self._targets.get(target)
            if found is not None:
                yield found

    def _over(self, text: str) -> Iterator[Incident]:
        if not text or len(text) > _LONGEST:
            return
        for above in reversed(list(scopes_above(Scope(text)))):
            found = self._at.get(above)
            if found is not None:
                yield found

    @property
    def size(self) -> int:
        """How much is kept."""
        return len(self._at) + len(self._below) + len(self._targets)
