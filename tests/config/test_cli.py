"""`offswitch config` and `offswitch rule`, as people and scripts meet them."""

from __future__ import annotations

import json
import os
import pty
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offswitch.cli.app import main
from offswitch.decide.secret import check_secret

CONFIG = """\
[[target]]
name = "shop/agent"
limits = { memory = "512MiB" }
stop_impact = { who = "buyers", harm = "orders queue", bearable = "1h", told_by = "support" }

[[sensor]]
name = "orders-db"
target = "shop/agent"
kind = "sqlite"
path = "/srv/orders.db"
tables = ["prices"]

[[rule]]
name = "mass-write"
target = "shop/agent"
harm = "wrong prices"
time_to_harm = "20s"
false_stop_cost = "minutes"
act = "auto"
vote = "2oo3"
[[rule.detectors]]
kind = "rate"
series = 'orders-db.rows_changed{table="prices"}'
above = 50
[[rule.detectors]]
kind = "robust_range"
series = 'orders-db.mean{table="prices",column="price"}'
[[rule.detectors]]
kind = "threshold"
series = "processes.count"
above = 100
hold = "2s"
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("OFFSWITCH_HOME", str(folder))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path / "run"))
    path = folder / "offswitch.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return folder


@pytest.fixture
def call(home: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def one(*words: str) -> tuple[int, str, str]:
        try:
            code = main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return one


def _object(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1, "one object and nothing else"
    found: dict[str, Any] = json.loads(text)
    return found


def test_config_check_says_what_is_there(call: Call, home: Path) -> None:
    code, out, _ = call("config", "check")
    assert code == 0
    assert "1 target, 1 sensor, 0 actuators, 1 rule, 0 gateways" in out
    answer = _object(call("config", "check", "--json")[1])
    assert answer["path"] == str(home / "offswitch.toml")
    assert (answer["exists"], answer["rules"], answer["degraded"]) == (True, 1, [])
    (home / "offswitch.toml").unlink()
    code, out, _ = call("config", "check")
    assert code == 0
    assert "no such file" in out


def test_a_configuration_with_an_unknown_key_is_an_error_with_its_line(
    call: Call, home: Path
) -> None:
    path = home / "offswitch.toml"
    path.write_text(CONFIG.replace("above", "abov"))
    for words in (("config", "check"), ("rule", "list"), ("rule", "check"), ("config", "show")):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert f"{path}:24: unknown key 'abov'; did you mean 'above'?" in err
        assert len([line for line in err.splitlines() if "unknown key" in line]) == 2
        assert "next: correct it" in err
    code, out, _ = call("config", "check", "--json")
    assert code == 2
    error = _object(out)["error"]
    assert error["kind"] == "config"
    assert error["hint"]


def test_a_named_file_is_checked_in_its_place(call: Call, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[[target]]\nname = 'x'\n")
    other.chmod(0o600)
    assert _object(call("config", "check", str(other), "--json")[1])["targets"] == 1
    code, _, err = call("config", "check", str(tmp_path / "missing.toml"))
    assert code == 2
    assert "no such file" in err


def test_what_config_show_prints_is_a_configuration_again(call: Call, tmp_path: Path) -> None:
    shown = call("config", "show")[1]
    assert tomllib.loads(shown)["rule"][0]["on_failed"] == "degrade", "what was not written, too"
    again = tmp_path / "again.toml"
    again.write_text(shown)
    again.chmod(0o600)
    assert call("config", "show", str(again))[1].splitlines()[1:] == shown.splitlines()[1:]
    answer = _object(call("config", "show", "--json")[1])
    assert answer["config"]["rule"][0]["detectors"][0]["per"] == "1s"


def test_config_schema_is_a_json_schema_of_the_whole_file(call: Call) -> None:
    answer = json.loads(call("config", "schema")[1])
    known = {"mode", "readings", "rule", "sensor", "station", "target"}
    assert known <= set(answer["properties"])
    assert any(name.endswith("SqliteSection") for name in answer["$defs"]), "kinds of two groups"
    assert _object(call("config", "schema", "--json")[1]) == answer


def test_DET_1_rule_list_and_check_show_why_a_rule_is_there(call: Call) -> None:
    code, out, _ = call("rule", "list")
    assert code == 0
    for word in ("mass-write", "AUTO", "2oo3", "kill", "20s"):
        assert word in out
    [rule] = _object(call("rule", "list", "--json")[1])["rules"]
    assert (rule["harm"], rule["time_to_harm"], rule["false_stop_cost"]) == (
        "wrong prices",
        "20s",
        "minutes",
    )
    code, out, _ = call("rule", "check")
    assert code == 1, "two of its three channels hang on one sensor"
    assert "LINT             2 of the 3 channels of 2oo3 look at the sensor orders-db" in out
    assert "wrong prices, within 20s" in out
    assert "2oo3, 1oo2, 1oo1, blind" in out
    [rule] = _object(call("rule", "check", "--json")[1])["rules"]
    assert [one["notices_within"] for one in rule["channels"]] == ["1s", "1s", "3s"]
    assert rule["lints"]
    assert call("rule", "check", "--rule", "mass-write")[0] == 1
    code, _, err = call("rule", "check", "--rule", "mas-write")
    assert code == 4
    assert "mass-write" in err


def test_without_a_rule_the_list_says_that_only_people_stop(call: Call, home: Path) -> None:
    (home / "offswitch.toml").write_text("")
    assert "only people stop" in call("rule", "list")[1]


def test_SR_2_the_secret_is_typed_twice_on_a_terminal_and_never_piped(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull, encoding="ascii") as null:
        monkeypatch.setattr(sys, "stdin", null)
        keep = os.dup(0)
        os.dup2(null.fileno(), 0)
        try:
            code, _, err = call("config", "secret")
        finally:
            os.dup2(keep, 0)
            os.close(keep)
    assert code == 5
    assert "never piped" in err
    assert _typed("correct horse", "another horse") == 2
    assert not check_secret(str(home), "correct horse", os.geteuid())
    assert _typed("correct horse", "correct horse") == 0
    assert check_secret(str(home), "correct horse", os.geteuid())


def _typed(*lines: str) -> int:
    """Type lines into `offswitch config secret` on a terminal of its own; give its exit code."""
    program = f"{os.path.dirname(sys.executable)}/offswitch"
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(program, [program, "config", "secret"])
    shown = b""
    for line in lines:
        while not shown.endswith((b"secret: ", b"more:  ")):
            shown += os.read(fd, 1024)
        os.write(fd, line.encode() + b"\n")
        shown = b""
    try:
        while data := os.read(fd, 1024):
            shown += data
    except OSError:
        pass
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert b"horse" not in shown, "what is typed is not shown"
    return os.waitstatus_to_exitcode(status)
