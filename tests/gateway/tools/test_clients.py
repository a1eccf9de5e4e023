"""Configurations of MCP clients: each server is wrapped, and all else stays as it was."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offswitch.cli.app import main
from offswitch.errors import BadConfig
from offswitch.gateway.tools.clients import unwrapped, wrapped

PROGRAM = "/opt/offswitch/bin/offswitch"
DESKTOP = """{
    "globalShortcut": "ä",
    "mcpServers": {
        "file system": {
            "command": "npx",
            "args": ["-y", "server-filesystem", "--", "/home/ada"],
            "env": {"TOKEN": "t"},
            "disabled": false
        },
        "bare": {"command": "bare"},
        "web": {"type": "http", "url": "https://tools.example/mcp?x=1"},
        "odd": {"args": [7], "command": "x"},
        "none": {}
    }
}
"""


def test_each_server_is_wrapped_once_and_the_rest_stays() -> None:
    done = wrapped(DESKTOP, PROGRAM)
    value = json.loads(done.text)
    server = value["mcpServers"]["file system"]
    assert server == {
        "command": PROGRAM,
        "args": ["mcp", "wrap", "--target", "mcp/file-system", "--", "npx", "-y",
                 "server-filesystem", "--", "/home/ada"],
        "env": {"TOKEN": "t"},
        "disabled": False,
    }  # fmt: skip
    assert list(value["mcpServers"]) == ["file system", "bare", "web", "odd", "none"]
    assert done.text.startswith('{\n    "globalShortcut": "ä"')
    assert done.text.endswith("}\n")
    assert [one.changed for one in done.changes] == [True, True, False, False, False]
    assert "--gateway" in done.changes[2].what
    again = wrapped(done.text, PROGRAM)
    assert again.text == done.text
    assert not any(one.changed for one in again.changes)
    back = unwrapped(done.text)
    assert (
        json.loads(back.text)["mcpServers"]["file system"]
        == (json.loads(DESKTOP)["mcpServers"]["file system"])
    )


def test_a_server_with_a_url_goes_through_the_gateway_and_back() -> None:
    done = wrapped(DESKTOP, PROGRAM, gateway="http://127.0.0.1:8200", only=["web"])
    assert json.loads(done.text)["mcpServers"]["web"]["url"] == "http://127.0.0.1:8200/mcp?x=1"
    assert len(done.changes) == 1
    back = unwrapped(done.text, DESKTOP)
    assert json.loads(back.text) == json.loads(DESKTOP) | {
        "mcpServers": json.loads(DESKTOP)["mcpServers"] | {
            "bare": {"command": "bare"},
        }
    }  # fmt: skip


@pytest.mark.parametrize("text", ["// a comment\n{}", "[]", '{"a":1,"a":2}', "", "[" * 99999])
def test_what_cannot_be_read_for_sure_is_left_alone(text: str) -> None:
    with pytest.raises(BadConfig):
        wrapped(text, PROGRAM)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Say something to the command, and give what it says."""

    def said(*words: object, code: int = 0) -> dict[str, Any]:
        assert main(["mcp", "wrap", *map(str, words), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return said


def test_a_file_is_rewritten_kept_and_taken_back(
    tmp_path: Path, say: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["offswitch"])
    path = tmp_path / "mcp.json"
    path.write_text(DESKTOP)
    path.chmod(0o600)
    assert say(path, "--dry-run")["changed"] is False
    assert path.read_text() == DESKTOP
    said = say(path)
    assert said["changed"] is True
    kept = Path(said["backup"])
    assert kept.read_text() == DESKTOP
    assert [stat.S_IMODE(os.stat(one).st_mode) for one in (path, kept)] == [0o600, 0o600]
    assert say(path)["changed"] is False
    assert say(path, "--undo")["changed"] is True
    assert json.loads(path.read_text())["mcpServers"]["bare"]["command"] == "bare"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mcp.json", kept.name]
    assert say(tmp_path / "none.json", code=4)["error"]["kind"] == "not-found"
