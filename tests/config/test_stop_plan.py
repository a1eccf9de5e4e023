"""Stop plans in the file: what they may say, how they are refused, and what the warden is told."""

from __future__ import annotations

import json

import pytest

from offswitch.actuators import compose
from offswitch.cli.declare import declaration
from offswitch.config.difference import changes
from offswitch.config.lints import target_lints
from offswitch.config.load import Kinds, Loaded, installed_kinds, parse, schema
from offswitch.config.stop_plan import AT_ONCE
from offswitch.errors import BadConfig
from offswitch.model.safe_state import SafeState, safe_state_of

TARGETS = """\
[[target]]
name = "shop/eu/checkout"
[target.stop]
kill = ["data", "serving", "container", "scheduler"]
PLAN

[[target]]
name = "shop/eu/front"
labels = { tenant = "acme" }
stop_impact = { who = "buyers", harm = "h", bearable = "1h", told_by = "support" }
"""
WHOLE = """\
sequence = ["serving", "container"]
escalate = [{ after = "500ms", layers = ["scheduler"] }]
deadlines = { data = "250ms" }
dependents = [{ target = "shop/eu/front", level = "drain", first = true }]
tell = [{ who = "the shift" }, { target = "tenant=acme" }]
snapshot = "300ms"
"""


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


def read(kinds: Kinds, plan: str, tables: str = TARGETS) -> Loaded:
    return Loaded(parse(tables.replace("PLAN", plan).encode(), "x", kinds), kinds, "x", "")


def test_a_whole_plan_is_told_to_the_warden_in_microseconds(kinds: Kinds) -> None:
    told = declaration(read(kinds, WHOLE))[0]["stop"]
    assert told == {
        "kill": ["data", "serving", "container", "scheduler"],
        "sequence": ["serving", "container"],
        "escalate": [{"after": 500_000, "layers": ["scheduler"]}],
        "deadlines": {"data": 250_000},
        "dependents": [{"target": "shop/eu/front", "level": "drain", "first": True}],
        "tell": [{"who": "the shift"}, {"target": "tenant=acme"}],
        "snapshot": 300_000,
    }
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(
    ("plan", "line", "words"),
    [
        ('sequense = ["serving", "container"]', 5, "did you mean 'sequence'"),
        ('sequence = ["serving"]', 5, "at least 2"),
        ('sequence = ["serving", "process"]', 5, "process is commanded at once"),
        ('sequence = ["serving", "serving"]', 5, "named twice"),
        ('escalate = [{ after = "3s", layers = ["data"] }]', 5, 'at most "2s"'),
        ('escalate = [{ afte = "1s", layers = ["data"] }]', 5, "did you mean 'after'"),
        ('escalate = [{ after = "1s", layers = ["network"] }]', 5, "network is commanded at once"),
        ('deadlines = { date = "1s" }', 5, "data"),
        ('deadlines = { data = "5s" }', 5, 'at most "2s"'),
        ('dependents = [{ target = "shop/eu/frnt" }]', 5, "did you mean 'shop/eu/front'"),
        ('dependents = [{ target = "/x y" }]', 5, "not a target's name"),
        ('dependents = [{ target = "shop/eu", lvel = "kill" }]', 5, "did you mean 'level'"),
        ("tell = [{ }]", 5, "one of who and target"),
        ('tell = [{ who = "a", target = "shop/eu" }]', 5, "one of who and target"),
        ('tell = [{ target = "shop/us" }]', 5, "covers no target"),
    ],
)
def test_ACT_1_a_plan_that_cannot_be_is_refused_with_its_line(
    kinds: Kinds, plan: str, line: int, words: str
) -> None:
    with pytest.raises(BadConfig) as refused:
        read(kinds, plan)
    assert f"x:{line}:" in refused.value.message
    assert words in refused.value.message


def test_a_layer_is_put_off_once(kinds: Kinds) -> None:
    twice = 'sequence = ["serving", "data"]\nescalate = [{ after = "1s", layers = ["data"] }]'
    with pytest.raises(BadConfig, match="data is put off twice"):
        read(kinds, twice)


def test_what_no_plan_puts_off_is_the_same_in_the_file_and_in_the_warden() -> None:
    assert AT_ONCE == compose.AT_ONCE


def test_the_schema_has_the_keys_of_a_plan(kinds: Kinds) -> None:
    plan = schema(kinds)["$defs"]["StopPlan"]["properties"]
    assert {"sequence", "escalate", "deadlines", "dependents", "tell"} <= plan.keys()


def test_what_a_plan_loses_or_puts_off_is_weaker(kinds: Kinds) -> None:
    before, after = read(kinds, "").config, read(kinds, WHOLE).config
    added = {one.what.split()[3]: one.weaker for one in changes(before, after)}
    assert added == {
        "sequence": True, "escalate": True, "snapshot": True,
        "deadlines": False, "dependents": False, "tell": False,
    }  # fmt: skip
    removed = {one.what.split()[3]: one.weaker for one in changes(after, before)}
    assert removed == {key: not weaker for key, weaker in added.items()}
    less = read(kinds, "", TARGETS.replace('"data", ', "")).config
    [lost] = changes(before, less)
    assert lost.weaker
    assert "stop kill" in lost.what


# --- ACT-10: the safe state -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ("none needed", SafeState.NONE_NEEDED, ""),
        ("Hold last: the valve stays as it is", SafeState.HOLD_LAST, "the valve stays as it is"),
        ("hand to  human:the shift", SafeState.HAND_TO_HUMAN, "the shift"),
        ("drain", SafeState.DRAIN, ""),
        ("prices stay as they are", None, "prices stay as they are"),
    ],
)
def test_ACT_10_a_safe_state_is_one_of_four_or_words_for_people(
    text: str, state: SafeState | None, words: str
) -> None:
    assert safe_state_of(text) == (state, words)


ROBOT = '[[target]]\nname = "line/arm"\nkind = "robot-arm"\n'


def test_ACT_10_what_moves_something_and_declares_no_safe_state_is_told(kinds: Kinds) -> None:
    [said] = target_lints(read(kinds, "", ROBOT).config)
    assert "line/arm: its kind is robot-arm, and it declares no safe_state" in said
    [said] = target_lints(read(kinds, "", ROBOT + 'safe_state = "as it is"').config)
    assert "says none that is known" in said
    [said] = target_lints(read(kinds, "", ROBOT + 'safe_state = "hold last"').config)
    assert "no actuator of the layer relay brings that about" in said
    assert target_lints(read(kinds, "", ROBOT + 'safe_state = "hand to human"').config) == []
    assert target_lints(read(kinds, "").config) == []


def test_whoever_is_told_first_and_has_no_stop_impact_is_told_of(kinds: Kinds) -> None:
    [said] = target_lints(read(kinds, 'tell = [{ target = "shop/eu/checkout" }]').config)
    assert "its stop_impact is none" in said
