"""`offswitch rule test`: against a file, against what was kept, beside what really happened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offswitch.cli.app import main
from offswitch.clock import SystemClock
from offswitch.watch.readings.block import Block
from offswitch.watch.readings.folder import folder_for
from offswitch.watch.readings.store import Store

CONFIG = """\
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/x"
tables = ["t"]

[[rule]]
name = "too-many"
target = "shop/agent"
harm = "h"
time_to_harm = "60s"
false_stop_cost = "an hour of orders"
act = "shadow"
detectors = [{ kind = "threshold", series = 'db.rows{table="t"}', above = 10 }]
"""
ROWS = 'db.rows{table="t"}'
BEGIN_S = 1_790_000_000

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    config = folder / "offswitch.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    monkeypatch.setenv("OFFSWITCH_HOME", str(folder))
    monkeypatch.setenv("OFFSWITCH_RUN", str(folder / "run"))
    monkeypatch.delenv("OFFSWITCH_CONFIG", raising=False)
    return folder


@pytest.fixture
def call(home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*argv: str) -> tuple[int, str, str]:
        code = main(list(argv))
        done = capfd.readouterr()
        return code, done.out, done.err

    return run


def value(at: int) -> float:
    return 50.0 if 100 <= at < 130 or 400 <= at < 410 else 1.0


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    file = tmp_path / "past.csv"
    lines = [f"{BEGIN_S + at},{value(at)}" for at in range(600)]
    file.write_text("\n".join(["time,value", *lines]))
    return str(file)


def answer(out: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(out)["rules"][0]
    return said


def test_it_says_when_and_how_often_in_vain_and_how_early(
    call: Call, recorded: str, tmp_path: Path
) -> None:
    incidents = tmp_path / "incidents.csv"
    incidents.write_text(f"{BEGIN_S + 120},{BEGIN_S + 200},the night it went wrong\n")
    argv = ["rule", "test", "--against", recorded, "--incidents", str(incidents)]
    code, out, _ = call(*argv, "--within", "60s")
    assert code == 0
    assert "would have stopped 2 times, 1 in vain; 20s earlier" in out
    assert "an hour of orders" in out
    code, out, _ = call(*argv, "--within", "60s", "--json")
    [vote] = answer(out)["votes"]
    assert (vote["stops"], vote["in_vain"], vote["early_us"]) == (2, 1, [20_000_000])
    assert vote["episodes"][1]["in_vain"]


def test_what_was_kept_is_the_past(call: Call, home: Path) -> None:
    folder_for(str(home))
    store = Store(str(home / "readings"), 16 << 20, 10**18)
    now_us = SystemClock().wall_us()
    times = [now_us - (600 - at) * 1_000_000 for at in range(600)]
    block = Block(times, [value(at) for at in range(600)], {})
    store.append({("shop/agent", ROWS): block}, now_us)
    store.close()
    owner = (home / "readings").stat()
    for file in (home / "readings").iterdir():
        os.chown(file, owner.st_uid, owner.st_gid)
    code, out, _ = call("rule", "test", "too-many", "--json")
    assert code == 0
    assert answer(out)["readings"] == 600
    assert answer(out)["votes"][0]["stops"] == 2


def test_where_nothing_was_kept_that_is_said(call: Call) -> None:
    code, _out, err = call("rule", "test")
    assert code == 4
    assert "no readings were kept" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [("yesterday,7", "past.csv:2"), ("5,x", "past.csv:2"), ("5", "past.csv:2"), ("1,a,2,3", ":2")],
)
def test_a_line_that_is_none_is_told_with_its_number(
    call: Call, tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "past.csv"
    file.write_text(f"{BEGIN_S},1\n{line}\n")
    code, _out, err = call("rule", "test", "--against", str(file))
    assert code == 2
    assert said in err
    assert call("rule", "test", "--against", str(tmp_path / "none.csv"))[0] == 2


def test_an_unknown_rule_names_those_that_there_are(call: Call, recorded: str) -> None:
    code, _out, err = call("rule", "test", "too-few", "--against", recorded)
    assert code != 0
    assert "too-many" in err
    assert os.path.exists(recorded)
