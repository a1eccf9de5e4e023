"""Planted faults are found, and the bench says so of those that are not (DET-2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest

from offswitch.cli.detector_bench import _figures, _missed, _row
from offswitch.drills.bench.faults import FAULTS, SLOW, Fault
from offswitch.drills.bench.trial import Found, Lead, lead_of, trial_of
from offswitch.drills.bench.work import DAY_US, work

BY_NAME = {fault.name: fault for fault in FAULTS}
SAID_IN_A_CALL = 3
"""A seed by which the token leaks in what a tool is given, and not in a log."""
QUICK = ("mass delete", "token burn", "self-replication", "tampering with the stop")


def test_DET_2_the_catalogue_is_the_requirements() -> None:
    assert set(BY_NAME) == {
        "loop",
        "token burn",
        "mass delete",
        "mass update",
        "canary leak",
        "egress to a new host",
        "repeated-text trap",
        "refusal collapse",
        "self-replication",
        "tampering with the stop",
    }


@pytest.mark.parametrize("name", QUICK)
def test_DET_2_a_planted_fault_is_found_before_its_harm(name: str) -> None:
    fault = BY_NAME[name]
    found = trial_of(fault, 1)
    assert found.after_us is not None
    assert found.after_us < fault.harm_us
    assert found == trial_of(fault, 1), "it is seeded"


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("token burn", 1),
        pytest.param("loop", 1, marks=pytest.mark.long),
        pytest.param("canary leak", SAID_IN_A_CALL, marks=pytest.mark.long),
        ("repeated-text trap", 1),
        pytest.param("refusal collapse", 1, marks=pytest.mark.long),
    ],
)
def test_DET_2_a_fault_is_found_by_what_passes_the_gateway_alone(name: str, seed: int) -> None:
    found = trial_of(BY_NAME[name], seed, "model")
    assert found.after_us is not None
    assert "model." in found.channel


def test_DET_2_what_is_not_planted_is_not_found() -> None:
    fault = BY_NAME["mass delete"]
    nothing = Fault(fault.name, fault.shows, lambda _chance, _at_us: iter(()), fault.harm_us)
    assert trial_of(nothing, 1) == Found("mass delete", 1, None, "")


def test_a_slow_fault_is_found_long_before_its_harm() -> None:
    assert lead_of("slow delete", 1).lead_us > 60_000_000


def test_the_figures_count_what_was_missed() -> None:
    found = [Found("loop", 1, 5000, "x"), Found("loop", 2, None, "")]
    leads = [Lead("slow delete", n, n * 1_000_000, "y") for n in (0, 8, 20)]
    figures = _figures(found, leads, ["one"], 1)
    assert figures["recall"]["value"] == 0.5
    assert figures["false-alarms"]["value"] == 1.0
    assert figures["lead-time"]["value"] == 8.0
    assert _row("loop", found)["missed_seeds"] == [2]
    assert _missed(figures) == ["recall"]
    assert _missed(_figures(found[:1], leads[:1], ["one", "two"], 1)) == [
        "lead-time",
        "false-alarms",
    ]


def test_the_work_is_in_order_and_the_same_for_a_seed() -> None:
    once = list(work(3, 0, DAY_US // 12))
    assert once == list(work(3, 0, DAY_US // 12))
    assert all(one.time_us <= two.time_us for one, two in pairwise(once))
    assert once != list(work(4, 0, DAY_US // 12))


@pytest.mark.long
def test_DET_2_the_whole_bench_meets_its_targets() -> None:
    argv = [f"{os.path.dirname(sys.executable)}/offswitch", "detector", "bench", "--seeds", "10"]
    run = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=False)
    figures = json.loads(run.stdout)["figures"]
    print(figures)
    assert run.returncode == 0
    assert len(SLOW) == 4
