"""All of them, in turns: each scenario is put to every system once, then again, and so on.

So a slow second of the machine hits all of them. A system that cannot be had here is named on
stderr and absent; nothing is guessed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures import Figures

from stopbench.kept import Kept
from stopbench.measure import Outcome, Stand
from stopbench.results import Conditions, page
from stopbench.scenarios import SCENARIOS
from stopbench.scenarios.contract import Scenario
from stopbench.systems import SYSTEMS
from stopbench.systems.contract import System, Unfit

__all__ = ["main", "measured", "report"]

RUNS, QUICK_RUNS, COLD_RUNS = 20, 1, 3
MOST_FAILURES = 3
"""So often may a system's run come to nothing in a scenario; from there on it is left out."""
QUICK_SCENARIOS = ("plain", "child", "escaped", "controller-killed")
QUICK_SYSTEMS = ("offswitch", "kill")
Cell = tuple[str, str, bool]
"""System, scenario, cold."""
Outcomes = dict[Cell, list[Outcome]]


def measured(
    systems: Mapping[str, type[System]],
    scenarios: Mapping[str, Scenario],
    runs: int,
    cold_runs: int,
    figures: Figures,
    kept: Kept | None = None,
) -> Outcomes:
    """Take all runs."""
    with Stand() as stand:
        turns = _Turns(stand, figures, kept)
        for number, scenario in enumerate(scenarios.values()):
            with turns.opened(systems, scenario, number):
                turns.take(scenario, runs, cold=False)
                turns.take(scenario, cold_runs, cold=True)
        return turns.outcomes


class _Turns:
    """All systems, one after the other, again and again."""

    def __init__(self, stand: Stand, figures: Figures, kept: Kept | None) -> None:
        self._stand, self._kept = stand, kept
        self._figures = figures
        self._opened: list[System] = []
        self._failed: Counter[str] = Counter()
        self.outcomes: Outcomes = {}

    @contextlib.contextmanager
    def opened(
        self, systems: Mapping[str, type[System]], scenario: Scenario, number: int
    ) -> Iterator[None]:
        """Bring up what can be had here."""
        self._opened.clear()
        self._failed.clear()
        with contextlib.ExitStack() as stack:
            for kind in systems.values():
                place = self._stand.folder / f"{kind.name[:10]}-{number}"  # some take no long paths
                place.mkdir()
                place.chmod(0o755)
                system = kind(place)
                stack.callback(system.close)
                try:
                    system.open(scenario.name)
                except Unfit as why:
                    self._figures.absent(f"{kind.name}/{scenario.name}", str(why))
                    continue
                self._opened.append(system)
            yield

    def take(self, scenario: Scenario, runs: int, *, cold: bool) -> None:
        """Go round so many times."""
        for number in range(runs):
            share = number / max(runs - 1, 1)
            for system in list(self._opened):
                if number % system.turns == 0:
                    self._once(system, scenario, share, cold=cold)

    def _once(self, system: System, scenario: Scenario, share: float, *, cold: bool) -> None:
        """Take one run; one that comes to nothing is said, and after three of them no more."""
        key = f"{system.name}/{scenario.name}"
        try:
            outcome = self._stand.run(system, scenario, share, cold=cold)
        except Exception as error:  # noqa: BLE001 - one system's defect costs the others nothing
            self._figures.absent(key, f"{type(error).__name__}: {error}")
            if os.environ.get("STOPBENCH_TRACE"):
                traceback.print_exc()
            self._failed[system.name] += 1
            if self._failed[system.name] >= MOST_FAILURES:
                self._opened.remove(system)
            return
        if outcome is None:
            return
        self.outcomes.setdefault((system.name, scenario.name, cold), []).append(outcome)
        if self._kept is not None:
            self._kept.add(system.name, scenario.name, outcome, cold=cold)
        self._figures.say(
            f"{key}{'/cold' if cold else ''}: {outcome.last_action_ms:.3f} ms, {outcome.claim}"
            f"{', FALSE' if outcome.false_stopped else ''}"
            f"{', survivors ' + '+'.join(outcome.survivors) if outcome.survivors else ''}"
            f" ({outcome.words})"
        )


def report(figures: Figures, outcomes: Outcomes) -> None:
    """Add the figures of all runs."""
    for (system, scenario, cold), runs in outcomes.items():
        key = f"{system}/{scenario}"
        last = [each.last_action_ms for each in runs]
        if cold:
            figures.value(f"{key}/cold", last, "ms", what="a cold command line → last act")
            continue
        target = "≤ 1 ms more than the fastest" if system == "offswitch" else ""
        figures.value(f"{key}/last-action", last, "ms", what="order → last act", target=target)
        confirmed = [each.confirmed_ms for each in runs if each.confirmed_ms is not None]
        if confirmed:
            figures.value(f"{key}/confirmed", confirmed, "ms", what='order → it says "stopped"')
        zero = "0" if system == "offswitch" else ""
        false = sum(each.false_stopped for each in runs)
        what = 'runs in which it said "stopped" and an act came later'
        figures.count(f"{key}/false-stopped", false, len(runs), what=what, target=zero)
        survived = sum(bool(each.survivors) for each in runs)
        what = "runs in which somebody still acted at the end"
        figures.count(f"{key}/survivors", survived, len(runs), what=what, target=zero)


def _chosen(given: str, known: Mapping[str, object], usual: tuple[str, ...]) -> list[str]:
    names = given.split(",") if given else list(usual)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"stopbench: no {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--cold-runs", type=int)
    parser.add_argument("--systems", default="")
    parser.add_argument("--scenarios", default="")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--kept", type=Path)
    given, rest = parser.parse_known_args(argv)
    if "--help" in rest or "-h" in rest:
        parser.print_usage(sys.stderr)
    about = "Ten scenarios of a stop, against us and against what people use today."
    figures = Figures("stopbench", about, rest)
    if os.geteuid() != 0:
        figures.absent("all", "cells and pens need root here")
        figures.show()
        return 0
    usual = QUICK_SYSTEMS if figures.quick else tuple(SYSTEMS)
    systems = {name: SYSTEMS[name] for name in _chosen(given.systems, SYSTEMS, usual)}
    usual = QUICK_SCENARIOS if figures.quick else tuple(SCENARIOS)
    scenarios = _chosen(given.scenarios, SCENARIOS, usual)
    runs = given.runs or figures.runs(RUNS, QUICK_RUNS)
    cold_runs = figures.runs(COLD_RUNS, 0) if given.cold_runs is None else given.cold_runs
    if given.kept is not None:
        conditions, outcomes = Kept(given.kept).read()
    else:
        conditions = Conditions.now(runs, cold_runs)
        kept = None if given.keep is None else Kept(given.keep)
        if kept is not None:
            kept.begin(conditions)
        chosen = {name: SCENARIOS[name] for name in scenarios}
        outcomes = measured(systems, chosen, runs, cold_runs, figures, kept)
    report(figures, outcomes)
    figures.show()
    if given.page is not None:
        given.page.write_text(page(outcomes, systems, conditions))
    return 0
