"""`offswitch drill`: what it says, and with which exit code; what the configuration may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installation import Installation
from offswitch.cli.checks import CHECKS, Facts
from offswitch.cli.drill_words import outcome_words
from offswitch.config.difference import changes
from offswitch.config.load import installed_kinds, load, parse
from offswitch.control.place import Place
from offswitch.drills.canary import LayerOutcome, Outcome, run_canary
from offswitch.errors import BadConfig


def config(text: str) -> object:
    return parse(text.encode(), "offswitch.toml", installed_kinds()).drill.canary


def test_REL_1_the_figures_of_real_drills_are_those_of_the_ledger(shared: Installation) -> None:
    run_canary(shared.place)
    found = json.loads(shared.cli("drill", "figures", "--json").stdout)
    [process] = [one for one in found["layers"] if one["layer"] == "process" and one["n"]]
    assert (process["k"], process["state"]) == (0, "proven")
    assert process["bound"] == pytest.approx(1 - 0.1 ** (1 / process["n"]))
    assert found["says"] == "a measured demand-failure bound, not a SIL claim"


@pytest.mark.long
def test_what_there_is_to_drill_is_listed_and_what_it_proves_told(shared: Installation) -> None:
    ran = shared.cli("drill", "run", "canary", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["state"] == "passed"
    told = shared.cli("drill", "figures").stdout
    assert "not a SIL claim" in told
    assert max(len(line) for line in told.splitlines() if line.startswith("process")) <= 80
    [one] = json.loads(shared.cli("drill", "list", "--json").stdout)["drills"]
    assert (one["drill"], one["every"], one["demand"]) == ("canary", "1h", "resisting")
    assert shared.cli("drill", "run", "other").returncode == 2


def outcome(state: str, *, trouble: str = "", passed: bool = True) -> Outcome:
    layer = LayerOutcome("process", passed, passed, True, 1, 2, 3, "" if passed else "why\x1b[2J")
    return Outcome("canary-1", ".drill/canary-1", state, (layer,), None, trouble)


@pytest.mark.parametrize(
    ("state", "trouble", "code"),
    [
        ("passed", "", 0),
        ("passed", "it is still latched", 1),
        ("dry", "", 0),
        ("not-confirmed", "", 4),
        ("not-confirmed", "it is still latched", 4),
        ("failed", "", 1),
        ("overtaken", "another stop", 1),
    ],
)
def test_the_exit_codes_are_the_promised_ones(state: str, trouble: str, code: int) -> None:
    assert outcome(state, trouble=trouble).exit_code == code


def test_what_was_not_seen_is_said_and_nothing_in_it_moves_a_cursor() -> None:
    told = outcome_words(outcome("not-confirmed", passed=False))
    assert "NOT CONFIRMED: process" in told
    assert "NOT SEEN" in told
    assert "\x1b" not in told


def test_the_table_drill_says_how_often_and_may_switch_it_off(tmp_path: Path) -> None:
    assert config("") == 3_600_000_000
    assert config('[drill]\ncanary = "30m"') == 1_800_000_000
    assert config('[drill]\ncanary = "off"') is None
    for wrong in ('"1s"', '"never"', "true", "60"):
        with pytest.raises(BadConfig, match=r"offswitch\.toml:2"):
            config(f"[drill]\ncanary = {wrong}")
    file = tmp_path / "offswitch.toml"
    file.write_text('[drill]\ncanary = "off"\n')
    tmp_path.chmod(0o755)
    loaded = load(str(file), installed_kinds(), named=True)
    assert any("no layer is proven anew" in why for why in loaded.degraded)
    assert loaded.config.model_dump(mode="json")["drill"] == {"canary": "off"}


@pytest.mark.parametrize(
    ("was", "now", "weaker"), [("1h", "off", True), ("1h", "2h", True), ("off", "1d", False)]
)
def test_to_drill_less_often_is_a_weaker_configuration(was: str, now: str, *, weaker: bool) -> None:
    before, after = (
        parse(f'[drill]\ncanary = "{text}"'.encode(), "x", installed_kinds()) for text in (was, now)
    )
    [change] = changes(before, after)
    assert change.weaker is weaker


def test_HMI_3_doctor_says_no_while_a_layer_is_unproven_by_a_drill(tmp_path: Path) -> None:
    place, said = Place(str(tmp_path), str(tmp_path)), "UNPROVEN by a drill: process (not seen)"
    [drilled] = [check for check in CHECKS if check.__name__ == "_drills"]
    doubted = drilled(Facts(place, {}, {"notes": [said]}, {}))
    assert (doubted.ok, doubted.detail) == (False, said)
    assert drilled(Facts(place, {}, {"notes": []}, {})).ok
    [release] = [check for check in CHECKS if check.__name__ == "_release"]
    assert said not in release(Facts(place, {}, {"notes": [said]}, {})).detail
