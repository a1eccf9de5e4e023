"""What is read one by one: tool calls and log lines, each with what was said, as evidence.

Detectors of agents' behaviour and of log templates want each of them, so each is a sample of its
own, in the order in which it came; beyond so many in one look the rest is one sample that says
how many they were.
"""

from __future__ import annotations

from collections.abc import Mapping

from offswitch.watch.sensors.contract import Sample

__all__ = ["Events"]

_MOST = 2000


class Events:
    """The single ones of the present look."""

    __slots__ = ("_more", "_samples")

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._more: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def add(
        self,
        what: str,
        labels: Mapping[str, str],
        detail: Mapping[str, str],
        measured: float | None = None,
    ) -> None:
        """Keep one: what was `measured`, or that it happened once."""
        if len(self._samples) < _MOST:
            value = 1.0 if measured is None else measured
            self._samples.append(Sample(what, value, labels, detail))
            return
        if measured is not None:
            return
        key = (what, tuple(sorted(labels.items())))
        self._more[key] = self._more.get(key, 0) + 1

    def take(self) -> list[Sample]:
        """Give them, and begin anew."""
        samples, self._samples = self._samples, []
        why = {"more": "too many at once: counted, and not kept one by one"}
        for (what, labels), count in self._more.items():
            samples.append(Sample(what, float(count), dict(labels), why))
        self._more.clear()
        return samples
