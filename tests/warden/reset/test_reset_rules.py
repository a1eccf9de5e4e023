"""What the configuration asks of a reset: upwards only, and never downwards while latched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.config.load import installed_kinds, load
from offswitch.errors import BadConfig, Usage
from offswitch.model.level import Level
from offswitch.warden.reset.rules import STRICT, ResetRules, keep_rules, kept_rules


def test_SR_5_a_higher_level_never_takes_fewer_people_than_a_lower_one() -> None:
    rules = ResetRules.read({"people": {"restrict": 2, "kill": 3}})
    assert [rules.needed(level) for level in Level] == [2, 2, 2, 3, 3]
    assert [STRICT.needed(level) for level in Level] == [2] * 5


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {"x": 1},
        {"people": [2]},
        {"people": {"kill": 0}},
        {"people": {"kill": "2"}},
        {"people": {"kill": True}},
        {"people": {"murder": 2}},
        {"probation_s": "1h"},
        {"probation_s": -1},
        {"probation_s": 10**9},
    ],
)
def test_SR_5_rules_that_are_none_are_refused(raw: object) -> None:
    with pytest.raises(Usage):
        ResetRules.read(raw)


def test_SR_5_what_cannot_be_read_takes_two_for_everything(tmp_path: Path) -> None:
    assert kept_rules(str(tmp_path)) == (ResetRules(), "")
    rules = ResetRules.read({"people": {"freeze": 2}, "not_who_stopped": True, "probation_s": 9})
    keep_rules(str(tmp_path), rules)
    assert kept_rules(str(tmp_path)) == (rules, "")
    for garbage in ("", "{", "[]", '{"people": {"kill": "x"}}', "[" * 20000):
        (tmp_path / "reset-rules.json").write_text(garbage)
        found, why = kept_rules(str(tmp_path))
        assert found == STRICT
        assert "cannot be read" in why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("people = { kill = 1 }", "takes 2 people at the least"),
        ("people = { freeze = 0 }", "greater than or equal to 1"),
        ("people = { murder = 2 }", "freeze"),
        ('probation = "30d"', "7d"),
        ("nobody = true", "nobody"),
    ],
)
def test_SR_5_a_configuration_that_asks_for_less_is_refused_with_its_line(
    tmp_path: Path, text: str, why: str
) -> None:
    file = tmp_path / "offswitch.toml"
    file.write_text(f"[reset]\n{text}\n")
    with pytest.raises(BadConfig) as refused:
        load(str(file), installed_kinds(), named=True)
    assert why in str(refused.value)


def test_SR_5_what_is_asked_for_reaches_the_warden_is_kept_and_is_not_lowered_while_latched(
    tmp_path: Path,
) -> None:
    file = tmp_path / "offswitch.toml"
    file.write_text('[reset]\npeople = { freeze = 2 }\nprobation = "10m"\n')
    config = load(str(file), installed_kinds(), named=True).config
    one = Installation(tmp_path)

    def declare(reset: dict[str, Any]) -> dict[str, Any]:
        one.ask({"op": "declare", "targets": [], "reset": reset})
        return dict(one.ask({"op": "people"})["rules"])

    more = {"people": {"freeze": 2}, "not_who_stopped": False, "probation_s": 600.0}
    less = {"people": {"freeze": 1}, "not_who_stopped": True, "probation_s": 60.0}
    try:
        one.start()
        assert declare(config.reset.told()) == more
        one.press("shop")
        # What is more is taken at once, what is less is not, and both are said.
        assert declare(less) == {**more, "not_who_stopped": True}
        assert any("resets take what they took" in note for note in one.status()["notes"])
        until(lambda: Path(one.home, "reset-rules.json").exists(), "it is kept")
        one.kill_everything()
        one.restart()
        assert one.ask({"op": "people"})["rules"] == {**more, "not_who_stopped": True}
        assert one.reset("shop")["state"] == "done"
        assert declare(less) == less
        told = [json.dumps(e["state"]) for e in one.entries() if e.get("what") == "reset rules"]
        assert len(told) == 3
    finally:
        one.close()
