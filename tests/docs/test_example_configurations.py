"""The configurations in `examples/` are good, and none of their rules wants a second thought."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from offswitch.cli.app import main

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.toml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_good_configuration(
    example: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / example.name
    shutil.copyfile(example, mine)
    mine.chmod(0o600)
    assert main(["rule", "check", str(mine), "--json"]) == 0
    checked = json.loads(capfd.readouterr().out)
    assert checked["rules"]
    assert {rule["name"]: rule.get("lint") for rule in checked["rules"] if rule.get("lint")} == {}
    assert main(["config", "check", str(mine)]) == 0


def test_there_is_one() -> None:
    assert EXAMPLES
