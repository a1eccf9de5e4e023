"""`offswitch detector bench`: which planted faults are found, how soon, and what a clean day costs.

It runs in this process, in simulated time, and touches nothing of an installation. Work is made up
by a seed; faults are planted into it; readings go through our own guard and sensors' parsing into
real detectors, as an owner of such an agent would declare them. Three figures:

    recall         planted faults that were found before their harm was done, of all that were
    false-alarms   alarms in 24 hours of work as usual
    lead-time      from the first finding of a slow fault to its harm, the median of all, as a
                   multiple of the second that a confirmed stop takes at the very most

What it says holds for these faults in this work; about your agent it says which kinds are worth
declaring, and what none of them sees. Exit code 1 where a figure misses its target.
"""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Annotated, Any

import typer

from offswitch.cli.config import Json
from offswitch.drills.bench.faults import FAULTS, SLOW
from offswitch.drills.bench.trial import Found, Lead, clean_day, lead_of, trial_of
from offswitch.printable import printable

__all__ = ["bench"]

_STOP_S = 1.0
_TARGETS = {"recall": 0.95, "false-alarms": 1.0, "lead-time": 5.0}


def bench(
    *,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How often each is planted.")] = 10,
    days: Annotated[int, typer.Option(min=0, max=365, help="Clean days.")] = 1,
    first: Annotated[int, typer.Option("--seed", help="The first seed.")] = 1,
    as_json: Json = False,
) -> None:
    """Plant the catalogue of faults, and replay a clean day."""
    found = [trial_of(fault, first + number) for fault in FAULTS for number in range(seeds)]
    leads = [lead_of(name, first + number) for name in SLOW for number in range(seeds)]
    false = [alarm for number in range(days) for alarm in clean_day(first + number)]
    figures = _figures(found, leads, false, days)
    if as_json:
        rows = [_row(fault.name, found) for fault in FAULTS]
        answer = {"figures": figures, "faults": rows, "slow": _slow(leads), "false-alarms": false}
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(_table(found, leads, false, figures))
    if _missed(figures):
        sys.exit(1)


def _missed(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Name the figures that miss their target."""
    away = {key: one["value"] - _TARGETS[key] for key, one in figures.items()}
    return [key for key, gap in away.items() if (gap > 0 if key == "false-alarms" else gap < 0)]


def _figures(
    found: list[Found], leads: list[Lead], false: list[str], days: int
) -> dict[str, dict[str, Any]]:
    recall = sum(one.after_us is not None for one in found) / len(found)
    times = median(one.lead_us for one in leads) / 1e6 / _STOP_S
    figures = {
        "recall": _figure(round(recall, 4), "share", len(found)),
        "lead-time": {**_figure(round(times, 1), "×", len(leads)), "baseline": _STOP_S},
    }
    if days:
        figures["false-alarms"] = _figure(len(false) / days, "in 24 h", days)
    return figures


def _figure(value: float, unit: str, runs: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "baseline": None, "ratio": None, "runs": runs}


def _row(name: str, found: list[Found]) -> dict[str, Any]:
    """Sum one fault up."""
    ours = [one for one in found if one.fault == name]
    after = sorted(one.after_us / 1000 for one in ours if one.after_us is not None)
    return {
        "fault": name,
        "planted": len(ours),
        "found": len(after),
        "median_ms": median(after) if after else None,
        "slowest_ms": after[-1] if after else None,
        "by": sorted({one.channel for one in ours if one.channel}),
        "missed_seeds": [one.seed for one in ours if one.after_us is None],
    }


def _slow(leads: list[Lead]) -> list[dict[str, Any]]:
    rows = []
    for name in SLOW:
        ours = [one for one in leads if one.fault == name]
        rows.append(
            {
                "fault": name,
                "planted": len(ours),
                "lead_s": median(one.lead_us for one in ours) / 1e6,
                "by": sorted({one.channel for one in ours if one.channel}),
            }
        )
    return rows


def _table(
    found: list[Found], leads: list[Lead], false: list[str], figures: dict[str, dict[str, Any]]
) -> str:
    lines = [f"{'FAULT':26} {'FOUND':>7} {'MEDIAN':>10} {'SLOWEST':>10}  BY"]
    for fault in FAULTS:
        row = _row(fault.name, found)
        times = [_told(row["median_ms"]), _told(row["slowest_ms"])]
        counted = f"{row['found']}/{row['planted']}"
        by = ", ".join(row["by"])
        lines.append(f"{fault.name:26} {counted:>7} {times[0]:>10} {times[1]:>10}  {by}")
    lines += ["", f"{'SLOW FAULT':26} {'BEFORE HARM':>18}  BY"]
    for row in _slow(leads):
        lines.append(f"{row['fault']:26} {row['lead_s']:>16.0f} s  {', '.join(row['by'])}")
    lines += ["", *(f"false alarm: {one}" for one in false)]
    for key, one in figures.items():
        sign = "≤" if key == "false-alarms" else "≥"
        lines.append(f"{key:14} {one['value']:g} {one['unit']}   (target {sign} {_TARGETS[key]:g})")
    lines.append("Made-up work in simulated time: it shows which kinds see what, not your agent.")
    return "\n".join(printable(line, 400) for line in lines) + "\n"


def _told(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.0f} ms"
