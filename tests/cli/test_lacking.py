"""A stop that would be less than it should be never looks ready (HMI-3)."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.cli.lacking import barred, lacking, short_of
from offswitch.cli.status_report import report

NOW_US = 1_800_000_000_000_000


def row(name: str = "shop/a", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "target": name, "installation": "/run/x", "state": "running", "pids": 1, "latched": False,
        "blind": False, "level": None, "confirmed": False, "signals": {}, "stops": [],
        "readiness": {"guard": "ready", "process": "ready"}, **more,
    }  # fmt: skip


def told(*rows: dict[str, Any]) -> str:
    return report(
        {
            "targets": list(rows), "latched": [], "alarms": [], "notes": [], "untracked": [],
            "installations": [{"installation": "/run/x", "state": "answers"}],
        },
        None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "words"),
    [("unproven", "UNPROVEN: data"), ("absent", "without data"), ("degraded", "degraded: data")],
)
def test_HMI_3_status_names_a_layer_that_is_not_ready_whether_its_target_runs_or_not(
    state: str, words: str
) -> None:
    found = {"guard": "ready", "process": "ready", "data": state}
    assert words in told(row(readiness=found))
    assert words in told(row(readiness=found, state="idle", pids=0))


def test_HMI_3_an_unproven_target_is_never_folded_away_and_a_degraded_one_is_counted() -> None:
    calm = [row(f"calm/{number}") for number in range(20)]
    calm[3]["readiness"] = {"process": "ready", "network": "degraded"}
    sick = row("sick", readiness={"process": "ready", "data": "unproven"})
    lines = told(*calm, sick)
    assert "! sick" in lines
    assert "20 more: 20 running, network degraded on 1" in lines


def test_a_layer_of_what_does_not_run_counts_only_if_it_was_declared_for_it() -> None:
    idle = row(state="idle", pids=0, readiness={"process": "absent", "sweep": "unproven"})
    assert short_of(idle) == {}
    assert not barred(idle)
    idle["readiness"]["data"] = "unproven"
    assert short_of(idle) == {"data": "unproven"}
    assert barred(idle)


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (0, "data unproven just now"),
        (59, "data unproven for 59 s"),
        (90_000, "data unproven for 1 d"),
    ],
)
def test_how_long_it_has_been_so_is_said_where_it_is_known(age_s: int, words: str) -> None:
    found = row(
        readiness={"data": "unproven"}, readiness_since={"data": NOW_US - age_s * 1_000_000}
    )
    assert lacking(found, NOW_US) == words
    assert lacking(row(readiness={"data": "unproven"}), NOW_US) == "data unproven"
