"""The kinds of lines of a log, and how many of each: what the miner of templates says, as series.

    learning   the first `learn` lines: what they hold is what is usual, and nothing is new
    new        a kind that begins after that; for a minute its lines are `new_burst`
    mix        how the lines of a look part into kinds, as detail, for `template_shift`
    top        the commonest kinds, each with a series of its own; a kind that grew twice as
               common as the rarest of them takes its place

A look sorts for a fifth of a second at the most; the lines beyond that are counted as `unmined`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from offswitch.clock import Clock
from offswitch.watch.logs.drain import Drain, Template
from offswitch.watch.sensors.contract import Sample

__all__ = ["Kinds"]

_CHUNK = 1024
_BUDGET_US = 200_000
_YOUNG_US = 60_000_000
_SHOWN = 8
_MIX = 14
"""An eye passes on sixteen pairs of detail."""


class Kinds:
    """Sorts lines into kinds."""

    __slots__ = ("_clock", "_drain", "_learn", "_seen", "_top", "_totals", "_width", "_young")

    def __init__(self, clock: Clock, learn: int, top: int) -> None:
        """Learn from the first `learn` lines; give the `top` commonest kinds a series."""
        self._clock = clock
        self._learn = learn
        self._width = top
        self._drain = Drain()
        self._seen = 0
        self._top: list[str] = []
        self._totals: Counter[str] = Counter()
        self._young: dict[str, int] = {}
        """When each new kind began, until it is a minute old."""

    def sort(self, lines: Sequence[bytes]) -> Iterator[Sample]:
        """Sort the lines of a look, and tell."""
        now_us = self._clock.mono_us()
        counts, fresh, done = self._mine(lines, now_us)
        self._young = {
            name: since for name, since in self._young.items() if now_us - since < _YOUNG_US
        }
        burst = sum(counts[name] for name in self._young)
        self._young.update(dict.fromkeys((one.name for one in fresh), now_us))
        burst += sum(counts[one.name] for one in fresh)
        learning = {"why": "still learning"} if self._seen < self._learn else {}
        shown = {f"template_{n}": f"{t.name} {t.text}" for n, t in enumerate(fresh[:_SHOWN], 1)}
        yield Sample("templates", float(len(self._drain.templates)))
        yield Sample("templates_new", float(len(fresh)), detail=shown or learning)
        yield Sample("new_burst", float(burst), detail=shown)
        yield Sample("template_mix", float(done), detail=_mix(counts))
        yield Sample("unmined", float(len(lines) - done))
        self._choose(counts)
        for name in self._top:
            text = {"text": self._drain.templates[name].text}
            yield Sample("template_rate", float(counts[name]), {"template": name}, text)

    def notes(self) -> list[str]:
        """Say what people should know of the miner."""
        notes = []
        if self._drain.evicted:
            notes.append(f"{self._drain.evicted} kinds of lines had to make room")
        if self._drain.full:
            notes.append("more different words than are kept: new ones count as variables")
        return notes

    def _mine(
        self, lines: Sequence[bytes], now_us: int
    ) -> tuple[Counter[str], list[Template], int]:
        counts: Counter[str] = Counter()
        fresh: list[Template] = []
        for done in range(0, len(lines), _CHUNK):
            if done and self._clock.mono_us() - now_us > _BUDGET_US:
                return counts, fresh, done
            chunk = lines[done : done + _CHUNK]
            more, new = self._drain.feed(chunk)
            counts.update(more)
            if self._seen >= self._learn:
                fresh += new
            self._seen += len(chunk)
        return counts, fresh, len(lines)

    def _choose(self, counts: Counter[str]) -> None:
        """Choose which kinds have a series; one keeps it unless another is far commoner."""
        known = self._drain.templates
        self._totals = Counter({name: n for name, n in self._totals.items() if name in known})
        for name, count in counts.items():
            if name in known:
                self._totals[name] += count
        self._top = [name for name in self._top if name in known]
        if not self._width:
            return
        for name, _count in counts.most_common(self._width):
            if name not in known or name in self._top:
                continue
            if len(self._top) < self._width:
                self._top.append(name)
                continue
            least = min(self._top, key=lambda one: self._totals[one])
            if self._totals[name] > 2 * self._totals[least]:
                self._top[self._top.index(least)] = name


def _mix(counts: Counter[str]) -> dict[str, str]:
    """Spell how many lines of each kind there were: the commonest, and all others together."""
    common = counts.most_common(_MIX)
    mix = {name: str(count) for name, count in common}
    if len(counts) > len(common):
        mix["other"] = str(counts.total() - sum(count for _name, count in common))
    return mix
