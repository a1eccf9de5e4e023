"""Who touches the stop is a finding of the highest rank, whether a rule asks for it or not (DET-6).

It looks on as the sensors `stop_path` speak, and claims each thing that they name once, as long
as it lasts. What stops for it is a rule; this only sees to it that nobody misses it.
"""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.model.finding import Finding
from offswitch.watch.onlookers import Batch

__all__ = ["HIGHEST", "Touched"]

HIGHEST = 10.0
"""The score of what is wrong by itself: ten times a limit."""
_MOST_KNOWN = 1000
_MOST_WAITING = 100
_SERIES = ".touched"


class Touched:
    """An onlooker."""

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[tuple[str, str], str] = {}
        """What was said last, by sensor and target."""
        self._waiting: list[Finding] = []

    def take(self, batch: Batch) -> None:
        """Claim what is new in it."""
        for series, value, detail in batch.samples:
            if not series.endswith(_SERIES):
                continue
            key, why = (series, batch.target), detail.get("why", "")
            before = self._known.pop(key, "")
            if not value > 0:
                continue
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = why
            new = [one for one in why.split("; ") if one not in before.split("; ")]
            if new and len(self._waiting) < _MOST_WAITING:
                claim = f"the stop is touched: {'; '.join(new)}"
                evidence = {"band": "never", "contradicts": "a person works on Offswitch just now"}
                finding = Finding(
                    "stop_path", batch.target, series, claim, batch.wall_us, HIGHEST, evidence
                )
                self._waiting.append(finding)

    def turn(self, mono_us: int, wall_us: int) -> Sequence[Finding]:  # noqa: ARG002 - the contract
        """Give what there is to claim."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def close(self) -> None:
        """Let go of what was known."""
        self._known.clear()
