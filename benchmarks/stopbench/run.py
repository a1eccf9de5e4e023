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
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures import Figures

from stopbench.measure import Outcome, Stand
from stopbench.results import Conditions, page
from stopbench.scenarios import SCENARIOS
from stopbench.scenarios.contract import Scenario
from stopbench.systems import SYSTEMS
from stopbench.systems.contract import System, Unfit

__all__ = ["main", "measured", "report"]

RUNS, QUICK_RUNS, COLD_RUNS = 20, 1, 5
QUICK_SYSTEMS = ("offswitch", "kill", "pkill", "timeout")
Cell = tuple[str, str, bool]
"""System, scenario, cold."""
Outcomes = dict[Cell, list[Outcome]]


def measured(
    systems: Mapping[str, type[System]],
    scenarios: Mapping[str, Scenario],
    runs: int,
    cold_runs: int,
    say: Figures | None = None,
) -> Outcomes:
    """Take all runs."""
    outcomes: Outcomes = {}
    with Stand() as stand:
        for place, scenario in enumerate(scenarios.values()):
            with _opened(systems, scenario.name, stand.folder, place, say) as opened:
                for cold, count in ((False, runs), (True, cold_runs)):
                    for number in range(count):
                        share = number / max(count - 1, 1)
                        for system in list(opened):
                            _take(stand, system, scenario, share, outcomes, opened, say, cold=cold)
    return outcomes


@contextlib.contextmanager
def _opened(
    systems: Mapping[str, type[System]],
    scenario: str,
    folder: Path,
    number: int,
    say: Figures | None,
) -> Iterator[list[System]]:
    opened: list[System] = []
    with contextlib.ExitStack() as stack:
        for kind in systems.values():
            place = folder / f"{kind.name[:10]}-{number}"  # some take no long paths
            place.mkdir()
            place.chmod(0o755)
            system = kind(place)
            stack.callback(system.close)
            try:
                system.open(scenario)
            except Unfit as why:
                if say is not None:
                    say.absent(f"{kind.name}/{scenario}", str(why))
                continue
            opened.append(system)
        yield opened


def _take(
    stand: Stand,
    system: System,
    scenario: Scenario,
    share: float,
    outcomes: Outcomes,
    opened: list[System],
    say: Figures | None,
    *,
    cold: bool,
) -> None:
    """Take one run; a system that fails to take part is left out from here on, and named."""
    try:
        outcome = stand.run(system, scenario, share, cold=cold)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in one system, the others are measured
        if say is not None:
            say.absent(f"{system.name}/{scenario.name}", f"{type(error).__name__}: {error}")
            if os.environ.get("STOPBENCH_TRACE"):
                traceback.print_exc()
        opened.remove(system)
        return
    if outcome is None:
        return
    outcomes.setdefault((system.name, scenario.name, cold), []).append(outcome)
    if say is not None:
        say.say(
            f"{system.name}/{scenario.name}{'/cold' if cold else ''}:"
            f" {outcome.last_action_ms:.3f} ms, {outcome.claim}"
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
    scenarios = _chosen(given.scenarios, SCENARIOS, tuple(SCENARIOS))
    runs = given.runs or figures.runs(RUNS, QUICK_RUNS)
    cold_runs = figures.runs(COLD_RUNS, 0) if given.cold_runs is None else given.cold_runs
    conditions = Conditions.now(runs, cold_runs)
    outcomes = measured(
        systems, {name: SCENARIOS[name] for name in scenarios}, runs, cold_runs, figures
    )
    report(figures, outcomes)
    figures.show()
    if given.page is not None:
        given.page.write_text(page(outcomes, systems, conditions))
    return 0
