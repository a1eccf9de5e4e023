"""How fast watch takes in what it sees: many series, single samples, log lines.

    benchmarks/watch.py [--quick] [--json] [--data DIR]

`series-rate`: readings a second on one core from parsed readings (series and value, as arrays) to
findings, through the default bank and its gate. `sample-to-order`: what a received sample takes to
become an order, beside the bare round trip. `load-1000`: what a thousand events a second cost.
`log-lines`: lines a second through the template miner.
Each figure is one function in a section of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from figures import Figures
from pushed import pushing

from offswitch.watch.logs.drain import Drain
from offswitch.watch.onlookers import Batch
from offswitch.watch.sensors.contract import Signal
from offswitch.watch.survey.evidence_bank import EvidenceBank
from offswitch.watch.survey.gate import Gate
from offswitch.watch.survey.survey import Survey

# --- series-rate ------------------------------------------------------------------------


def series_rate(figures: Figures) -> None:
    """Readings a second of ten thousand series, on one core.

    From arrays (series, value), a tenth of them absent in each round, to findings: the bank, the
    gate, and the evidence of what passes. The baseline is the same from the loop's own batches of
    Python objects, which is what a watch process takes in today.
    """
    figures.say("series-rate")
    ours, theirs = [], []
    for seed in range(figures.runs(5, 2)):
        rng = np.random.default_rng(seed)
        made = rng.standard_normal((64, SERIES))
        ours.append(_arrays(made, figures.runs(600, 150)))
        theirs.append(_batches(made, figures.runs(60, 20)))
    figures.value(
        "series-rate",
        ours,
        "readings/s",
        what="through the e-detector's bank and the gate, 10,000 series, one thread; beside it the "
        "same from batches of Python objects",
        target="≥ 1,000,000",
        baseline=theirs,
    )


SERIES = 10_000


def _arrays(made: npt.NDArray[np.float64], rounds: int) -> float:
    bank, gate = EvidenceBank(SERIES, wander=12.0), Gate(SERIES)
    for slot in range(SERIES):
        bank.join(slot)
    rng = np.random.default_rng(1)
    there = [np.flatnonzero(rng.random(SERIES) < 0.9) for _ in range(64)]
    values = [made[number][slots] for number, slots in enumerate(there)]
    # Past the first blocks, which all series begin together.
    for number in range(600):
        bank.update(there[number % 64], values[number % 64])
    taken, found, began = 0, 0, time.process_time()
    for number in range(rounds):
        slots = there[number % 64]
        mass = bank.update(slots, values[number % 64])
        if len(bank.begun):
            gate.open(bank.begun, bank.length(bank.begun), number * 10_000)
        found += len(gate.passing(slots, mass))
        taken += len(slots)
    return taken / (time.process_time() - began)


def _batches(made: npt.NDArray[np.float64], rounds: int) -> float:
    survey = Survey(4 * SERIES)
    names = [f"engine.s{number}" for number in range(SERIES)]
    took = 0.0
    for number in range(-45, rounds):  # it takes in 256 new series at a turn
        now = (number + 45) * 200_000
        samples = [
            (name, value, {}) for name, value in zip(names, made[number % 64].tolist(), strict=True)
        ]
        batch = Batch("engine", "a", Signal.METRICS, False, now, now, samples)
        began = time.process_time()
        survey.take(batch)
        survey.turn(now, now)
        while survey.waiting:
            survey.turn(now, now)
        took += time.process_time() - began if number >= 0 else 0.0
    return rounds * SERIES / took


# --- sample-to-order --------------------------------------------------------------------


def sample_to_order(figures: Figures) -> None:
    """A sample received to its order, beside the bare round trip."""
    if os.geteuid() != 0:
        figures.absent("sample-to-order", "the agent needs a cell, and so root")
        return
    runs = figures.runs(200, 8)
    figures.say(f"sample-to-order: {runs} agents call a tool each")
    with pushing() as bench:
        taken = [bench.once() for _ in range(runs)]
    more = [order - bare for order, bare in taken]
    bare = sorted(one for _, one in taken)
    typical = f"bare p50 {statistics.median(bare):.2f} ms, max {bare[-1]:.2f} ms"
    what = f"OTLP span → order accepted, more than a bare round trip, p99; {typical}"
    figures.value("sample-to-order", more, "ms", what=what, target="≤ 3 ms more", share=0.99)


# --- load-1000 --------------------------------------------------------------------------


def load_1000(figures: Figures) -> None:
    """What watching a thousand events a second costs of a core (MON-5)."""
    if os.geteuid() != 0:
        figures.absent("load-1000", "the installation needs root")
        return
    figures.say("load-1000: a hundred tool calls ten times a second")
    seconds = 4.0 if figures.quick else 20.0
    with pushing("shadow", "1s") as bench, bench.agent():
        paces = [bench.load(seconds / 2, 100, 0.1) for _ in range(2)]
    pace = statistics.median(one for one, _ in paces)
    what = f"watch and its eyes together, at {pace:.0f} events/s pushed by OTLP"
    figures.value("load-1000", [used for _, used in paces], "%", what=what, target="≤ 5 %")


# --- log-lines --------------------------------------------------------------------------


def log_lines(figures: Figures) -> None:
    """Lines a second of one core through the template miner; beside drain3 where that is installed.

    By the processor's time, as the target is one core's.
    """
    figures.say("log-lines: a day of a service, an agent and a job, made for this")
    lines = _service_log(60_000 if figures.quick else 240_000)
    runs = figures.runs(9, 3)
    ours, theirs = [], []
    for _ in range(runs):
        drain = Drain()
        begin = time.process_time()
        for at in range(0, len(lines), 4096):
            drain.feed(lines[at : at + 4096])
        ours.append(len(lines) / (time.process_time() - begin) / 1000)
        if importlib.util.find_spec("drain3") is not None:
            theirs.append(_drain3(lines[:20_000]))
    what = f"lines a second of a core through the miner, {len(drain.templates)} templates"
    figures.value("log-lines", ours, "k/s", what=what, target="≥ 150 k/s", baseline=theirs or None)


def _drain3(lines: list[bytes]) -> float:
    """Give drain3's thousand lines a second, with its default configuration."""
    miner = importlib.import_module("drain3").TemplateMiner()
    begin = time.process_time()
    for line in lines:
        miner.add_log_message(line.decode())
    return len(lines) / (time.process_time() - begin) / 1000


def _service_log(count: int) -> list[bytes]:
    """Make lines of thirty kinds with times, addresses, digests, names and paths; seeded."""
    chance = random.Random(4)
    words = [
        "cache",
        "index",
        "shard",
        "queue",
        "lease",
        "token",
        "batch",
        "tool",
        "model",
        "stream",
        "vector",
        "prompt",
    ]
    verbs = [
        "opened",
        "closed",
        "flushed",
        "rejected",
        "retried",
        "split",
        "merged",
        "evicted",
        "loaded",
        "dropped",
    ]
    kinds = [
        f"{chance.choice(words)} {chance.choice(verbs)} by {chance.choice(words)}"
        for _ in range(26)
    ]

    def line() -> str:
        second, part = chance.randrange(86_400), chance.randrange(1_000_000)
        when = f"2026-11-28T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{part:06}Z"
        pick = chance.randrange(30)
        if pick < 26:
            job, took = f"{chance.getrandbits(48):012x}", chance.randrange(900)
            return f"{when} INFO [{words[pick % 12]}] {kinds[pick]} job={job} took {took} ms"
        address = f"10.{chance.randrange(256)}.{chance.randrange(256)}.7:{chance.randrange(65536)}"
        return (
            (
                f"{when} INFO request {uuid.UUID(int=chance.getrandbits(128))} from {address} "
                f"GET /v1/items/{part}?page={pick} {chance.choice((200, 200, 404))} {part % 997} B"
            ),
            f"{when} WARN user {chance.choice(words)}-{part % 50} is over its budget by {part} USD",
            f"{when} DEBUG wrote /srv/data/{part % 97}/{part}.json in {part / 7:.3f} ms",
            f"{when} ERROR upstream {address} timed out after {part % 30}.{part % 10} s",
        )[pick - 26]

    return [line().encode() for _ in range(count)]


# ----------------------------------------------------------------------------------------

KEYS: dict[str, Callable[[Figures], None]] = {
    "series-rate": series_rate,
    "sample-to-order": sample_to_order,
    "load-1000": load_1000,
    "log-lines": log_lines,
}


def main() -> int:
    """Measure and print."""
    figures = Figures("watch", "How fast watch takes in what it sees.")
    for measure in KEYS.values():
        measure(figures)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
