"""The page of results: one table a question, the systems' settings and limits, the conditions.

It is written from the outcomes alone. A cell with survivors is shown by their share; "≥" stands
before a time that was cut off by the end of the watch.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from stopbench.measure import ALIVE_NS, WATCH_S, Outcome
from stopbench.scenarios import SCENARIOS
from stopbench.systems.contract import System

__all__ = ["Conditions", "page"]

_WIDTH = 130
Runs = Sequence[Outcome]
Outcomes = Mapping[tuple[str, str, bool], Runs]


@dataclass(frozen=True, slots=True)
class Conditions:
    """On what, and when."""

    date: str
    machine: str
    load: float
    """Load average of the minute before it began."""
    runs: int
    cold_runs: int

    @classmethod
    def now(cls, runs: int, cold_runs: int) -> Conditions:
        """Take them before anything runs."""
        cores = len(os.sched_getaffinity(0))
        kernel, python = platform.release().partition("-")[0], platform.python_version()
        machine = f"{cores} cores, Linux {kernel}, Python {python}"
        today = dt.datetime.now(dt.UTC).date().isoformat()
        return cls(today, machine, os.getloadavg()[0], runs, cold_runs)


def page(outcomes: Outcomes, systems: Mapping[str, type[System]], conditions: Conditions) -> str:
    """Write it."""
    names = [name for name in systems if any(key[0] == name for key in outcomes)]
    parts = [_head(conditions, outcomes), _targets(outcomes, names)]
    for title, text, cell in (
        ("Time to the last action", _LAST_ACTION, _last_action),
        ("Survivors", _SURVIVORS, _survivors),
        ('False "stopped"', _FALSE, _false),
        ("Time to confirmation", _CONFIRMED, _confirmed),
    ):
        parts.append(f"## {title}\n{_fill(text)}\n\n{_table(outcomes, names, cell)}")
    cold = _table(outcomes, names, _last_action, cold=True)
    parts.append(f"## Cold command lines\n{_fill(_COLD.format(conditions.cold_runs))}\n\n{cold}")
    return "\n\n".join([*parts, _systems(systems, names), _scenarios()]) + "\n"


_OURS = "offswitch"
_TARGETS = """\
No survivor and no false "stopped" of ours; the median time to the last action at most 1 ms more
than that of the fastest other system, and the shortest where that one leaves a survivor or says a
false "stopped". In ms."""
_LAST_ACTION = """\
From the order to the last act that the witness saw, in ms: median (worst). 0 means that no act
came after the order; `≥` that somebody acted to the end of the watch."""
_SURVIVORS = "Runs in which somebody still acted at the end, of all runs."
_FALSE = """\
Runs in which the system said "stopped" and an act came after that, of those in which it said so;
`-`: it never said so. What only says that a signal was sent claims nothing. Who speaks of a process
alone may be right about it: in `escaped` and `revoked-credential` it is others that act on."""
_CONFIRMED = """\
From the order to the system's own word "stopped", in ms: median (worst). In brackets where that
word was false in some run."""
_COLD = """\
The same from the start of a command line to the last act, in ms: median (worst); {} runs each."""
_HEAD = """\
# StopBench: ten scenarios of a stop, against us and against what people use
{about}

    benchmarks/stopbench.py --runs {runs} --cold-runs {cold_runs} --page FILE

{how}"""
_ABOUT = """\
{date}. {machine}, root; load average {load:.1f} when it began. Anyone can make this page anew:"""
_HOW = """\
Each scenario was put to every system {runs} times, in turns (to inspect-ai in every other turn:
it takes seconds each time). The scenarios are ours, and no system promises to pass them all:
`kill` does what its manual says. The judge is a witness, a process that has nothing to do with
any stop: an act is a datagram (about one in a third of a millisecond from each actor, where it
gets a processor), stamped when it arrives. The witness ran under SCHED_FIFO; the longest that lay
between an actor's own clock and that stamp was {lag:.2f} ms in the median run, and
{worst_lag:.1f} ms in the worst, of an actor that was put aside in between. The order's time is
taken by the caller, a process that runs already, with its connection open where there is one,
immediately before it calls. What acts is watched for {watch:g} s after the system has said what
it says; a survivor is who acted in the last {alive:.0f} ms of that. Nobody gets a second try."""


def _head(conditions: Conditions, outcomes: Outcomes) -> str:
    lags = sorted(each.lag_ms for runs in outcomes.values() for each in runs)
    facts = asdict(conditions)
    how = _HOW.format(
        **facts,
        lag=statistics.median(lags),
        worst_lag=lags[-1],
        watch=WATCH_S,
        alive=ALIVE_NS / 1e6,
    )
    return _HEAD.format(**facts, about=_fill(_ABOUT.format(**facts)), how=_fill(how))


def _fill(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def _targets(outcomes: Outcomes, names: list[str]) -> str:
    """Hold ours against the issue's targets; empty where we or all peers are missing."""
    lines = ["| scenario | ours | the fastest other | its flaws | kept |", "|---|---|---|---|---|"]
    others = [name for name in names if name != _OURS]
    for scenario in SCENARIOS:
        ours = outcomes.get((_OURS, scenario, False))
        theirs = {
            name: outcomes[name, scenario, False]
            for name in others
            if (name, scenario, False) in outcomes
        }
        if not ours or not theirs:
            continue
        fastest = min(theirs, key=lambda name: _median(theirs[name]))
        flaws = _flaws(theirs[fastest])
        mine, best = _median(ours), _median(theirs[fastest])
        kept = not _flaws(ours) and mine <= (best if flaws else best + 1)
        cells = [scenario, _ms(mine), f"{fastest} {_ms(best)}", "; ".join(flaws) or "none"]
        lines.append(f"| {' | '.join(cells)} | {'yes' if kept else '**no**'} |")
    return f"## Against our targets\n{_fill(_TARGETS)}\n\n" + "\n".join(lines)


def _median(runs: Runs) -> float:
    return statistics.median(each.last_action_ms for each in runs)


def _flaws(runs: Runs) -> list[str]:
    """Say what must not be: survivors, false words."""
    survived = sum(bool(each.survivors) for each in runs)
    false = sum(each.false_stopped for each in runs)
    flaws = [f"a survivor in {survived} of {len(runs)}"] if survived else []
    return flaws + ([f'a false "stopped" in {false} of {len(runs)}'] if false else [])


def _table(
    outcomes: Outcomes, names: list[str], cell: Callable[[Runs], str], *, cold: bool = False
) -> str:
    shown = [name for name in names if any(key[0] == name and key[2] == cold for key in outcomes)]
    lines = ["| scenario | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for scenario in SCENARIOS:
        cells = [outcomes.get((name, scenario, cold)) for name in shown]
        if any(cells):
            told = " | ".join("" if not runs else cell(runs) for runs in cells)
            lines.append(f"| {scenario} | {told} |")
    return "\n".join(lines)


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _last_action(runs: Runs) -> str:
    times = [each.last_action_ms for each in runs]
    survived = sum(bool(each.survivors) for each in runs)
    mark = "≥ " if survived > len(runs) / 2 else ""
    worst = "≥ " if survived else ""
    return f"{mark}{_ms(statistics.median(times))} ({worst}{_ms(max(times))})"


def _survivors(runs: Runs) -> str:
    survived = [each for each in runs if each.survivors]
    if not survived:
        return f"0 of {len(runs)}"
    who = sorted({who for each in survived for who in each.survivors})
    return f"**{len(survived)}** of {len(runs)}: {', '.join(who)}"


def _false(runs: Runs) -> str:
    said = [each for each in runs if each.claim == "stopped"]
    if not said:
        return "-"
    false = sum(each.false_stopped for each in said)
    return f"**{false}** of {len(said)}" if false else f"0 of {len(said)}"


def _confirmed(runs: Runs) -> str:
    times = [each.confirmed_ms for each in runs if each.confirmed_ms is not None]
    if not times:
        return "-"
    text = f"{_ms(statistics.median(times))} ({_ms(max(times))})"
    return f"[{text}]" if any(each.false_stopped for each in runs) else text


def _systems(systems: Mapping[str, type[System]], names: list[str]) -> str:
    lines = ["## The systems, each at the best setting that we found"]
    for name in names:
        kind = systems[name]
        lines.append(f"**{name}**: {kind.setting}. Its documented limits:")
        lines += [f"- {limit.text} ({limit.where})" for limit in kind.limits]
        lines.append("")
    return "\n".join(lines).rstrip()


def _scenarios() -> str:
    lines = ["## The scenarios", "", "| scenario | what happens |", "|---|---|"]
    for name, scenario in SCENARIOS.items():
        lines.append(f"| {name} | {scenario.about} |")
    return "\n".join(lines)
