"""What drills prove: the arithmetic against published numbers, and what of a ledger counts."""

from __future__ import annotations

from math import comb
from typing import Any

import pytest

from offswitch.drills.arithmetic import (
    Architecture,
    average,
    average_exact,
    clean_drills,
    incomplete_beta,
    jeffreys_mean,
    now,
    partly_tested,
    rate,
    upper_bound,
)
from offswitch.drills.figures import NO_SIL, Demand, Figures, LayerFigures, State, Tally, figures
from offswitch.drills.schedule import due

HOUR = 3_600_000_000
YEAR_H = 365.25 * 24
ONCE_IN_TWO_YEARS = 1 / (2 * YEAR_H)

# --- the arithmetic -------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "drills"), [(0.1, 22), (1e-2, 230), (1e-3, 2302)])
def test_REL_1_so_many_clean_drills_show_so_low_a_bound(bound: float, drills: int) -> None:
    assert clean_drills(bound) == drills
    assert upper_bound(0, drills) <= bound < upper_bound(0, drills - 1)


@pytest.mark.parametrize(
    ("k", "n", "bound"),
    [
        (1, 365, 1.06e-2),
        (0, 365, 6.29e-3),
        (0, 240, 9.55e-3),  # hourly for ten days: below 1e-2
        (0, 1, 0.9),
        (3, 10, 0.552),
        (9, 10, 0.990),
        (10, 10, 1.0),
        (0, 0, 1.0),
    ],
)
def test_REL_1_the_bound_is_that_of_clopper_and_pearson(k: int, n: int, bound: float) -> None:
    assert upper_bound(k, n) == pytest.approx(bound, rel=5e-3)


def test_REL_1_without_failures_the_bound_is_the_closed_form() -> None:
    for n in (1, 7, 230, 2302, 8766):
        assert upper_bound(0, n) == pytest.approx(1 - 0.1 ** (1 / n), rel=1e-9)


def test_REL_1_the_incomplete_beta_is_a_sum_of_binomials() -> None:
    for a, b, x in ((1, 5, 0.2), (4, 9, 0.31), (20, 3, 0.9)):
        n = a + b - 1
        sums = sum(comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(a, n + 1))
        assert incomplete_beta(a, b, x) == pytest.approx(sums, rel=1e-12)
    assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(YEAR_H, 2.5e-1), (24 * 7, 4.79e-3), (24, 6.84e-4), (1, 2.85e-5)],
)
def test_REL_1_the_average_of_one_channel_is_the_published_one(
    hours: float, expected: float
) -> None:
    found = average(Architecture.ONE_OF_ONE, ONCE_IN_TWO_YEARS, hours)
    assert found == pytest.approx(expected, rel=5e-3)


def test_REL_1_the_whole_saw_tooth_is_lower_where_failures_are_likely() -> None:
    assert average_exact(ONCE_IN_TWO_YEARS, YEAR_H) == pytest.approx(2.13e-1, rel=5e-3)
    assert average_exact(1e-12, 1) == pytest.approx(5e-13)


@pytest.mark.parametrize("each", [0.5, 0.01, 0.0005])
def test_REL_1_more_channels_are_worth_what_they_do_not_share(each: float) -> None:
    shared, own = 0.1 * each / 2, 0.9 * each
    assert average(Architecture.ONE_OF_TWO, each, 1) == pytest.approx(own**2 / 3 + shared)
    assert average(Architecture.TWO_OF_THREE, each, 1) == pytest.approx(own**2 + shared)
    assert average(Architecture.ONE_OF_THREE, each, 1) == pytest.approx(own**3 / 4 + shared)


def test_REL_1_the_smaller_formulas() -> None:
    assert jeffreys_mean(1, 365) == pytest.approx(1.5 / 366)
    assert rate(0, 0) is None
    assert rate(1, 100) == pytest.approx(0.015)
    assert now(0.001, 10) == pytest.approx(9.95e-3, rel=1e-3)
    assert now(0.001, -5) == 0
    assert partly_tested(0.001, 10, 1000, 0.9) == pytest.approx(0.9 * 0.005 + 0.1 * 0.5)


# --- what counts ----------------------------------------------------------------------


def drill(number: int, *, at_h: float, fails: str = "", **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Make the entries of one drill, as a warden writes them."""
    name, at = f"canary-{number}", int(at_h * HOUR)
    state = more.pop("state", "not-confirmed" if fails else "passed")
    same = {"kind": "drill", "via": "journal", "drill": name, "demand": "resisting", **more}
    told = [{**same, "what": "begin", "time_us": at, "state": "running"}]
    for layer in ("process", "sweep", "network"):
        passed = "no" if layer == fails else "yes"
        seen = {"seen": passed, "confirmed": passed, "passed": passed, "why": "it acted on"}
        times = {"commanded_ns": 1, "last_act_ns": 2 + number, "confirmed_ns": 9}
        told.append({**same, "what": "layer", "layer": layer, "time_us": at, **seen, **times})
    return [*told, {**same, "what": "end", "time_us": at, "state": state}]


def many(count: int, *, fails: int = -1) -> list[dict[str, Any]]:
    """Make so many, an hour apart."""
    each = [drill(n, at_h=n, fails="process" if n == fails else "") for n in range(count)]
    return [entry for one in each for entry in one]


def row(known: Figures, layer: str) -> LayerFigures:
    rows = (*known.layers, *known.combined)
    [found] = [one for one in rows if one.layer == layer and one.demand is Demand.RESISTING]
    return found


def test_REL_1_the_figures_of_a_year_of_daily_drills_with_one_failure() -> None:
    entries = [e for n in range(365) for e in drill(n, at_h=24 * n, fails="sweep" * (n == 100))]
    known = figures(entries, 364 * 24 * HOUR + 12 * HOUR)
    sweep, process = row(known, "sweep"), row(known, "process")
    assert (sweep.n, sweep.k, sweep.state) == (365, 1, State.PROVEN)
    assert sweep.bound == pytest.approx(1.06e-2, rel=5e-3)
    assert process.bound == pytest.approx(6.29e-3, rel=5e-3)
    assert sweep.jeffreys == pytest.approx(1.5 / 366)
    exposure_h = 364 * 24
    assert sweep.rate_per_h == pytest.approx(1.5 / exposure_h)
    assert sweep.interval_us == 24 * HOUR
    assert sweep.pfd_average == pytest.approx(1.5 / exposure_h * 24 / 2)
    assert sweep.pfd_now == pytest.approx(1 - 2.718281828 ** (-1.5 / exposure_h * 12), rel=1e-6)
    combined = row(known, "combined")
    assert (combined.n, combined.k) == (365, 1)
    assert known.worst is combined
    assert known.as_dict()["says"] == NO_SIL == "a measured demand-failure bound, not a SIL claim"


def test_REL_1_classes_of_demand_are_kept_apart() -> None:
    entries = [*many(3), *drill(9, at_h=9, demand="cooperative", fails="network")]
    known = figures(entries, 10 * HOUR)
    states = {one.demand: (one.n, one.k, one.state) for one in known.combined}
    assert states == {
        Demand.RESISTING: (3, 0, State.PROVEN),
        Demand.COOPERATIVE: (1, 1, State.UNPROVEN),
        Demand.CRASHED: (0, 0, State.UNTRIED),
    }
    assert known.worst is not None
    assert known.worst.demand is Demand.COOPERATIVE


@pytest.mark.parametrize("state", ["dry", "overtaken", "failed"])
def test_DRL_3_what_was_no_whole_drill_earns_nothing(state: str) -> None:
    entries = [*many(4), *drill(7, at_h=7, state=state)]
    known = figures(entries, 8 * HOUR)
    assert row(known, "process").n == 4
    assert known.not_counted == {state: 1}


def test_DRL_3_a_layer_that_says_of_itself_that_it_is_dry_earns_nothing() -> None:
    known = figures([*many(2), *drill(7, at_h=7, dry="yes")], 8 * HOUR)
    assert row(known, "process").n == 2


def test_a_drill_without_an_end_and_one_that_somebody_handed_in_earn_nothing() -> None:
    unfinished = drill(7, at_h=7)[:-1]
    forged = [{**entry, "via": "watch"} for entry in drill(8, at_h=8)]
    known = figures([*many(2), *unfinished, *forged], 9 * HOUR)
    assert (row(known, "process").n, known.counted) == (2, 2)
    assert known.not_counted == {"unfinished": 1}


def test_a_layer_that_passed_by_one_word_alone_has_failed() -> None:
    entries = many(1)
    entries[1]["confirmed"] = "no"
    process = row(figures(entries, HOUR), "process")
    assert (process.n, process.k, process.state) == (1, 1, State.UNPROVEN)


def test_after_a_failure_the_next_demand_is_taken_to_fail_until_a_clean_drill() -> None:
    failed = row(figures(many(4, fails=3), 4 * HOUR), "process")
    assert (failed.state, failed.pfd_now, failed.why) == (State.UNPROVEN, 1.0, "it acted on")
    assert failed.last_clean_us == 2 * HOUR
    mended = row(figures(many(5, fails=3), 5 * HOUR), "process")
    assert mended.state is State.PROVEN
    assert mended.pfd_now is not None
    assert mended.pfd_now < 1


def test_an_empty_ledger_proves_nothing_and_garbage_breaks_nothing() -> None:
    known = figures([{}, {"kind": "order"}, {"kind": "drill", "via": "journal"}], 0)
    assert {one.state for one in known.layers} == {State.UNTRIED}
    assert {one.bound for one in known.layers} == {1.0}
    assert known.worst is None


def test_a_tally_that_follows_the_record_says_what_the_whole_record_does() -> None:
    entries, tally = many(12, fails=4), Tally()
    for at, entry in enumerate(entries, 1):
        tally.hear(entry)
        assert tally.figures(HOUR) == figures(entries[:at], HOUR)


# --- what changes voids what was proven -----------------------------------------------


def change(layer: str, at_h: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Make the entry of a layer that has fallen, as a warden writes it."""
    fallen = {"prior": "ready", "state": "unproven", "cause": "layer", "why": "another password"}
    same = {"kind": "note", "what": "readiness", "via": "journal", "time_us": int(at_h * HOUR)}
    return {**same, "layer": layer, **fallen, **more}


def test_DRL_4_a_change_voids_the_evidence_of_its_layer_until_the_next_pass() -> None:
    entries = [*many(9, fails=3), change("sweep", 8.5)]
    known = figures(entries, 9 * HOUR)
    sweep, process, combined = (row(known, name) for name in ("sweep", "process", "combined"))
    assert (sweep.state, sweep.n, sweep.bound, sweep.pfd_now) == (State.UNPROVEN, 0, 1.0, 1.0)
    assert sweep.why == "sweep has changed since the last drill: another password"
    assert sweep.last_clean_us is None
    assert (sweep.voided_us, sweep.voided_n, sweep.voided_k) == (int(8.5 * HOUR), 9, 0)
    assert (process.state, process.n, process.k) == (State.PROVEN, 9, 1), "it has not changed"
    assert (combined.state, combined.n, combined.voided_k) == (State.UNPROVEN, 0, 1)
    again = figures([*entries, *drill(9, at_h=9)], 10 * HOUR)
    assert (row(again, "sweep").state, row(again, "sweep").n) == (State.PROVEN, 1)
    assert row(again, "combined").n == 1


@pytest.mark.parametrize(
    "more",
    [
        {"cause": "drill"},  # a failed demand stays one
        {"prior": "unproven", "state": "ready"},  # that it is well again gives nothing back
        {"via": "watch"},  # whoever hands it in could wipe out failures
        {"state": "rosy"},
        {"what": "sweep"},
    ],
)
def test_DRL_4_what_is_no_change_of_a_layer_voids_nothing(more: dict[str, Any]) -> None:
    entries = many(5, fails=2)
    assert figures([*entries, change("process", 5, **more)], 6 * HOUR) == figures(entries, 6 * HOUR)


def test_DRL_4_a_drill_during_which_a_layer_changed_proves_nothing_of_it() -> None:
    *begun, end = drill(0, at_h=0)
    known = figures([*begun, change("network", 0.001), end], HOUR)
    assert (row(known, "network").n, row(known, "process").n) == (0, 1)


def test_DRL_4_after_a_change_a_drill_is_due_at_once_and_once() -> None:
    entries = [*many(3), change("process", 2.1)]
    said = due(entries, int(2.2 * HOUR), HOUR)
    assert (said.now, said.next_us) == (True, int(2.2 * HOUR))
    assert "UNPROVEN, changed since the last drill: process" in said.note
    tried = due(entries, int(2.3 * HOUR), HOUR, tried_us=int(2.2 * HOUR))
    assert not tried.now, "one that could not begin is tried again an interval later"


# --- the schedule ---------------------------------------------------------------------


def test_DRL_1_a_drill_is_due_an_hour_after_the_last() -> None:
    entries = many(3)
    assert due([], 5 * HOUR, HOUR).now
    before, after = due(entries, 3 * HOUR - 1, HOUR), due(entries, 3 * HOUR, HOUR)
    assert (before.now, before.next_us, before.overdue) == (False, 3 * HOUR, False)
    assert after.now
    assert due(entries, 5 * HOUR, HOUR).overdue


def test_a_drill_that_could_not_begin_is_tried_again_an_interval_later_and_not_at_once() -> None:
    said = due(many(3), 9 * HOUR, HOUR, tried_us=9 * HOUR - 1)
    assert (said.now, said.overdue) == (False, True)


def test_drills_that_are_off_are_a_degraded_state_and_never_due() -> None:
    said = due(many(3), 9 * HOUR, None)
    assert (said.now, said.next_us, said.overdue) == (False, None, True)
    assert "degraded" in said.note


def test_a_failed_drill_is_said_with_its_layer() -> None:
    assert "UNPROVEN by the last drill: process" in due(many(4, fails=3), 4 * HOUR, HOUR).note


def test_a_clock_that_was_set_back_does_not_put_a_drill_off() -> None:
    said = due(many(3), 0, HOUR)
    assert said.next_us is not None
    assert said.next_us <= HOUR
