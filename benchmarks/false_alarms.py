"""How often calm series are called changed: observed over declared, and a day of real traffic.

    benchmarks/false_alarms.py [--quick] [--json] [--data DIR]

normal, student-t3, lognormal, ar1-0.5
            the mean run length between false alarms of the e-detector at its default (10,000
            readings), over what it declares, on independent normal, Student-t (3 degrees),
            log-normal noise and on a first-order autoregression with 0.5. Thousands of series run
            until their first alarm or to the end; the mean is readings judged over alarms, as of
            an exponential. The baseline is our CUSUM, which declares the same for normal noise, on
            the same readings; the ratio is ours over its.
calm-10k    ten thousand calm series (a quarter of each noise): findings that pass the gate.
azure-24h   false findings of the default survey in a made day of LLM traffic, read every 5 s
            (`azure.py` says how the day is made: it is no real one); the median of several days.
            Beside it the same read every second, and what was found of planted faults, how fast.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import azure
import numpy as np
import numpy.typing as npt
from figures import Figures

from offswitch.watch.detectors.cusum import CusumSection
from offswitch.watch.detectors.e_detector import EDetectorSection
from offswitch.watch.onlookers import Batch
from offswitch.watch.sensors.contract import Signal
from offswitch.watch.survey.cusum_bank import CusumBank
from offswitch.watch.survey.evidence_bank import EvidenceBank
from offswitch.watch.survey.survey import Survey

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Iterator[Floats]]

LEARN = 34
"""Readings of a series before the e-detector judges; they are not counted."""


def normal(rng: np.random.Generator, series: int) -> Iterator[Floats]:
    """Independent and normal."""
    while True:
        yield rng.standard_normal(series)


def student(rng: np.random.Generator, series: int) -> Iterator[Floats]:
    """Independent and heavy-tailed."""
    while True:
        yield rng.standard_t(3, series)


def lognormal(rng: np.random.Generator, series: int) -> Iterator[Floats]:
    """Independent and skewed."""
    while True:
        yield np.exp(rng.standard_normal(series))


def autoregression(rng: np.random.Generator, series: int) -> Iterator[Floats]:
    """Half of each reading is half of the one before."""
    last = rng.standard_normal(series) / math.sqrt(0.75)
    while True:
        last = 0.5 * last + rng.standard_normal(series)
        yield last


NOISES: dict[str, Noise] = {
    "normal": normal,
    "student-t3": student,
    "lognormal": lognormal,
    "ar1-0.5": autoregression,
}


def run_lengths(noise: Noise, series: int, steps: int, seed: int) -> tuple[float, float, int]:
    """Give the mean run lengths of e-detector and CUSUM on the same readings, and our alarms."""
    keys = {"series": "a.b"}
    ours = EDetectorSection.model_validate({"kind": "e_detector", **keys})
    theirs = CusumSection.model_validate({"kind": "cusum", **keys})
    bank, sums = EvidenceBank(series), CusumBank(series, theirs)
    for slot in range(series):
        bank.join(slot)
    quiet, calm = np.arange(series), np.arange(series)
    judged, alarms = [0, 0], [0, 0]
    for step, values in zip(range(steps), noise(np.random.default_rng(seed), series), strict=False):
        beyond = bank.update(quiet, values[quiet]) >= 2 * ours.run_length
        above = sums.update(calm, values[calm]) > 1
        if step >= LEARN:
            judged[0] += len(quiet)
        if step >= theirs.window:
            judged[1] += len(calm)
        alarms[0] += int(beyond.sum())
        alarms[1] += int(above.sum())
        quiet, calm = quiet[~beyond], calm[~above]
    means = [
        one / max(count, 1) / ours.run_length for one, count in zip(judged, alarms, strict=True)
    ]
    return means[0], means[1], alarms[0]


def measure_run_lengths(figures: Figures) -> None:
    """Take the four ratios."""
    series, steps = (500, 4000) if figures.quick else (1500, 12_000)
    for key, noise in NOISES.items():
        figures.say(key)
        pairs = [run_lengths(noise, series, steps, seed) for seed in range(figures.runs(3, 1))]
        figures.value(
            key,
            [ours for ours, _, _ in pairs],
            "×",
            what=f"e-detector's observed over declared run length of 10,000; {series} series of "
            f"{steps} readings a run, {sum(count for *_, count in pairs)} alarms in all; "
            "baseline: CUSUM",
            target="≥ 0.5" if key.startswith("ar1") else "≥ 1",
            baseline=[theirs for _, theirs, _ in pairs],
        )


def measure_calm(figures: Figures) -> None:
    """Count what passes the gate of ten thousand calm series."""
    figures.say("calm-10k")
    series, steps = 10_000, figures.runs(3000, 700)
    rng = np.random.default_rng(7)
    noises = [noise(rng, series // 4) for noise in NOISES.values()]
    names = [f"calm.s{number}" for number in range(series)]
    survey, found = Survey(), 0
    for step in range(steps):
        values = np.concatenate([next(noise) for noise in noises]).tolist()
        found += look(survey, names, values, step * 1_000_000)
    figures.value(
        "calm-10k",
        [found],
        "findings",
        what=f"that pass the gate, of {series} calm series with {steps} readings each",
        target="≤ 1",
    )


def look(survey: Survey, names: list[str], values: list[float], when_us: int) -> int:
    """Have the survey see one reading of each series; gives how many findings it had."""
    return len(seen(survey, names, values, when_us))


def seen(survey: Survey, names: list[str], values: list[float], when_us: int) -> list[str]:
    """Have the survey see one reading of each series; gives the series that it finds changed."""
    quarter = max(len(names) // 4, 1)
    for number in range(0, len(names), quarter):
        part = slice(number, number + quarter)
        samples = [(name, value, {}) for name, value in zip(names[part], values[part], strict=True)]
        target = f"engine/{number}"
        survey.take(Batch("engine", target, Signal.METRICS, False, when_us, when_us, samples))
    found = list(survey.turn(when_us, when_us))
    while survey.waiting:
        found += survey.turn(when_us, when_us)
    return [finding.series for finding in found]


# --- a day of traffic -------------------------------------------------------------------


def replay(day: Floats, step_s: int, begin: int = 0) -> list[tuple[int, str]]:
    """Survey a day read every `step_s` seconds; gives second and series of what it finds."""
    rows = day[: len(day) // step_s * step_s].reshape(-1, step_s, day.shape[1]).sum(axis=1)
    survey, found = Survey(), []
    names = list(azure.SERIES)
    for number, row in enumerate(rows.tolist()):
        now = (number + 1) * step_s
        found += [(now, name) for name in seen(survey, names, row, now * 1_000_000)]
    return [(when - begin, name) for when, name in found]


def measure_day(figures: Figures) -> None:
    """Count the false findings of made days, then plant faults in one."""
    cut = azure.minutes(figures.data) if figures.data else None
    if cut is None:
        figures.absent("azure-24h", "it needs the archive azure-llm-requests-2023 (--data)")
        return
    figures.say("azure-24h")
    days = [azure.day(cut, seed) for seed in range(1, 1 + figures.runs(10, 1))]
    made = "made by seeded resampling of 60 s blocks of 58 real minutes with a daily curve"
    what = f"false findings of the survey in 24 h of {len(azure.SERIES)} series, {made}"
    counts = [float(len(replay(day, 5))) for day in days]
    what_five = f"{what}; read every 5 s, {sum(counts):g} in {len(days)} days"
    figures.value("azure-24h", counts, "findings", what=what_five, target="≤ 1")
    if figures.quick:
        return
    counts = [float(len(replay(day, 1))) for day in days[:5]]
    what_one = f"the same read every second, {sum(counts):g} in {len(counts)} days"
    figures.value("azure-24h-1s", counts, "findings", what=what_one)
    measure_faults(figures, cut)


def measure_faults(figures: Figures, cut: dict[str, azure.Minutes]) -> None:
    """Plant each fault at three times of a day, for an hour, and see whether it is found."""
    delays: list[float] = []
    planted = 0
    rng = np.random.default_rng(5)
    day = azure.day(cut, 100)
    for fault, (kind, _) in azure.FAULTS.items():
        took: list[float] = []
        for begin in rng.integers(3 * 3600, azure.DAY_S - 3600, 3).tolist():
            faulty = azure.plant(day, fault, begin, begin + 3600)[: begin + 3600]
            touched = [
                when
                for when, name in replay(faulty, 5, begin)
                if when > 0 and (kind in name or "all" in name)
            ]
            took += touched[:1]
        planted += 3
        delays += took
        shown = ", ".join(f"{one:g} s" for one in took) or "never"
        figures.say(f"  {fault}: {len(took)} of 3 found, after {shown}")
    share = [100 * len(delays) / planted]
    what = f"of {planted} planted faults ({len(azure.FAULTS)} kinds, an hour each, every 5 s)"
    figures.value("azure-found", share, "%", what=f"{what}: found by the survey")
    if delays:
        longest = max(delays)
        what = f"{what}: begin → finding, of those found; at the longest {longest:g} s"
        figures.value("azure-delay", delays, "s", what=what)


def main() -> int:
    """Measure and print."""
    figures = Figures("false_alarms", "How often calm series are called changed.")
    measure_run_lengths(figures)
    measure_calm(figures)
    measure_day(figures)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
