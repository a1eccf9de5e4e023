"""How layers are composed: what may be put off, by how much, and that nothing is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.actuators.compose import (
    AT_ONCE,
    END_S,
    STEP_S,
    Due,
    EscalateAfter,
    Heard,
    InSequence,
    Layer,
    Plan,
    Shape,
    Together,
    composed,
    due,
    names,
)
from scale import runs

HANDS = ["credentials", "data", "serving", "container", "scheduler", "relay", "power"]
ALL = [*sorted(AT_ONCE), *HANDS]

seconds = st.floats(0, 4, allow_nan=False)
maybe = st.none() | seconds
heard = st.builds(Heard, maybe, maybe, maybe)
record = st.dictionaries(st.sampled_from(ALL), heard)
layer = st.builds(Layer, st.sampled_from(ALL), st.none() | st.floats(0.01, 2, allow_nan=False))


def _grown(inner: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    parts = st.lists(inner, min_size=1, max_size=4).map(tuple)
    after = st.floats(0, 2, allow_nan=False)
    return (
        parts.map(Together) | parts.map(InSequence) | st.builds(EscalateAfter, inner, after, inner)
    )


plans = st.recursive(layer, _grown, max_leaves=10)
shapes = st.builds(
    Shape,
    st.lists(st.sampled_from(ALL), unique=True, max_size=4).map(tuple),
    st.lists(
        st.tuples(st.floats(0, 2, allow_nan=False), st.lists(st.sampled_from(ALL)).map(tuple)),
        max_size=3,
    ).map(tuple),
    st.dictionaries(st.sampled_from(ALL), st.floats(0.01, 2, allow_nan=False)),
)


@settings(max_examples=runs(2000), deadline=None)
@given(plans, record, seconds)
def test_ACT_1_no_plan_puts_off_what_cuts_a_program_off_and_ends_it(
    plan: Plan, known: dict[str, Heard], now: float
) -> None:
    local = AT_ONCE & set(names(plan))
    assert local <= due(plan, 0.0).layers
    assert local <= due(plan, now, known).layers


@settings(max_examples=runs(2000), deadline=None)
@given(plans, record, st.floats(0, 5, allow_nan=False))
def test_SR_10_everything_of_a_plan_is_due_at_the_end_unless_all_that_is_due_was_seen(
    plan: Plan, known: dict[str, Heard], late: float
) -> None:
    found = due(plan, END_S + late, known).layers
    seen = {name for name in found if name in known and known[name].seen_s is not None}
    assert found == set(names(plan)) or found == seen


@settings(max_examples=runs(1000), deadline=None)
@given(plans)
def test_SR_10_where_nothing_is_heard_everything_is_due_at_the_end(plan: Plan) -> None:
    assert due(plan, END_S).layers == set(names(plan))


@settings(max_examples=runs(1000), deadline=None)
@given(st.lists(st.sampled_from(ALL), unique=True, min_size=1), shapes, seconds)
def test_whatever_a_declaration_says_no_layer_is_lost_or_added(
    layers: list[str], shape: Shape, now: float
) -> None:
    plan = composed(layers, shape)
    assert sorted(names(plan)) == sorted(layers)
    assert AT_ONCE & set(layers) <= due(plan, 0.0).layers
    assert due(plan, END_S).layers == set(layers)
    assert due(plan, now).layers <= set(layers)


@settings(max_examples=runs(1000), deadline=None)
@given(plans, record, seconds, seconds)
def test_what_is_due_stays_due_and_nobody_looks_again_in_the_past(
    plan: Plan, known: dict[str, Heard], now: float, longer: float
) -> None:
    before, after = due(plan, now, known), due(plan, now + longer, known)
    assert before.layers <= after.layers
    assert before.again_s is None or before.again_s > now
    if before.again_s is None:
        assert after == before


@settings(max_examples=runs(1000), deadline=None)
@given(plans, record)
def test_whoever_looks_again_when_told_misses_nothing(plan: Plan, known: dict[str, Heard]) -> None:
    now, found = 0.0, due(plan, 0.0, known)
    while found.again_s is not None:
        between = (now + found.again_s) / 2
        if now < between < found.again_s:  # else there is no number in between
            just_before = due(plan, between, known)
            assert (just_before.layers, just_before.late) == (found.layers, found.late)
        now, found = found.again_s, due(plan, found.again_s, known)
    assert found == due(plan, 1e6, known)


@settings(max_examples=runs(1000), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(HANDS), st.floats(0.05, 0.6)), unique_by=lambda x: x[0]),
    record,
)
def test_ACT_1_an_unanswered_step_holds_up_the_next_no_longer_than_its_deadline(
    steps: list[tuple[str, float]], known: dict[str, Heard]
) -> None:
    plan, waited = InSequence(tuple(Layer(*step) for step in steps)), 0.0
    for name, deadline in steps:
        assert name in due(plan, waited + 1e-9, known, end_s=100.0).layers
        waited += deadline


def test_steps_follow_each_other_as_they_are_answered_seen_or_fail() -> None:
    plan = composed(["process", "serving", "data", "container"], Shape(("serving", "data")))
    at_once = {"process", "serving", "container"}
    assert due(plan, 0.0) == Due(frozenset(at_once), frozenset(), STEP_S)
    for word in (Heard(answered_s=0.2), Heard(seen_s=0.2), Heard(failed_s=0.2)):
        assert due(plan, 0.1, {"serving": word}).layers == at_once
        assert "data" in due(plan, 0.2, {"serving": word}).layers
    assert "data" in due(plan, STEP_S).layers, "a silent step holds up nobody for longer"


def test_VER_4_an_escalation_comes_in_time_at_a_failure_at_a_missed_deadline_else_never() -> None:
    shape = Shape((), ((0.5, ("container",)),), {"data": 0.1})
    plan = composed(["process", "data", "container"], shape)
    well = {"process": Heard(seen_s=0.01), "data": Heard(seen_s=0.05)}
    assert "container" not in due(plan, 100.0, well).layers
    late = {**well, "data": Heard(seen_s=0.15)}
    assert "container" not in due(plan, 0.09, late).layers
    assert "container" in due(plan, 0.1, late).layers, "the deadline was missed"
    assert due(plan, 0.1, late).late == {"data"}
    failed = {"process": Heard(failed_s=0.02)}
    assert "container" in due(plan, 0.02, failed).layers
    assert "container" in due(plan, 0.5, {"data": Heard(seen_s=0.05)}).layers, "time was up"


def test_an_answer_is_no_sight() -> None:
    plan = composed(["data", "container"], Shape((), ((0.5, ("container",)),)))
    assert "container" in due(plan, 0.5, {"data": Heard(answered_s=0.01)}).layers
    assert "container" not in due(plan, 0.5, {"data": Heard(seen_s=0.01)}).layers


@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_a_local_layer_in_a_sequence_or_an_escalation_is_due_at_once_all_the_same(
    name: str,
) -> None:
    for plan in (
        InSequence((Layer("data"), Layer(name))),
        EscalateAfter(Layer("data"), 1.0, Layer(name)),
    ):
        assert due(plan, 0.0).layers == {"data", name}
