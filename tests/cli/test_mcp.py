"""`offswitch mcp wrap -- CMD`: a tool server in a cell of its own, under the switch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.cli.app import main
from offswitch.control.place import Place

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
SERVER = Path(__file__).parents[1] / "tool_server.py"


def wrapped(installation: Installation, *options: str) -> subprocess.Popen[bytes]:
    """Start the server, wrapped, in the installation's work folder, where its record is."""
    shutil.copy(SERVER, installation.work / "tool_server.py")
    return subprocess.Popen(
        [OFFSWITCH, "mcp", "wrap", *options, "--", "/usr/bin/python3", "-I", "tool_server.py",
         "record"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=installation.env, cwd=installation.work,
    )  # fmt: skip


def say(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")
    server.stdin.flush()


def hear(server: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line, server.communicate()[1]
    said: dict[str, Any] = json.loads(line)
    return said


def test_ACT_9_a_wrapped_server_is_a_target_and_a_stop_kills_it_in_mid_call(
    installation: Installation,
) -> None:
    server = wrapped(installation, "--target", "mcp/notes")
    try:
        say(server, {"id": 1, "method": "tools/list"})
        assert len(hear(server)["result"]["tools"]) == 4
        rows = installation.ask({"op": "targets"})["targets"]
        [row] = [one for one in rows if one["target"].startswith("mcp/notes/")]
        assert row["state"] == "running"
        say(server, {"id": 2, "method": "tools/call",
                     "params": {"name": "slow", "arguments": {"seconds": 60}}})  # fmt: skip
        assert hear(server)["method"] == "notifications/progress"
        done = subprocess.run(
            [OFFSWITCH, "stop", "mcp/notes", "--json"], env=installation.env,
            capture_output=True, check=False,
        )  # fmt: skip
        assert json.loads(done.stdout)["confirmed"] is True, done.stdout
        assert server.wait(timeout=20) == 137
        assert (installation.work / "record").read_text() == "begun 2\n"
        until(lambda: not _left(), "nothing of the server is left")
    finally:
        server.kill()
        server.communicate()
    again = wrapped(installation, "--target", "mcp/notes")
    _out, said = again.communicate(timeout=30)
    assert again.returncode == 125, "latched: it does not begin"
    assert b"latched" in said


def _left() -> bytes:
    found = subprocess.run(["pgrep", "-f", "tool_server.py record"], capture_output=True,
                           check=False)  # fmt: skip
    return found.stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("OFFSWITCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path / "run"))
    made = Place(str(tmp_path / "home"), str(tmp_path / "run"))
    yield made
    shutil.rmtree(made.memory, ignore_errors=True)


def test_ACT_9_a_list_of_calls_that_is_not_whole_does_not_end_well(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcp", "calls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    os.makedirs(place.calls)
    Path(f"{place.calls}/models.0").write_bytes(b"no book")
    assert main(["mcp", "calls"]) == 4
    assert "not read: " in capsys.readouterr().out
    assert main(["mcp", "calls", "--json"]) == 4
    assert "models.0" in json.loads(capsys.readouterr().out)["problems"][0]


def test_a_client_that_is_unwrapped_is_not_told_how_to_unwrap_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mcp.json"
    path.write_text('{"mcpServers": {"notes": {"command": "cat"}}}')
    assert main(["mcp", "wrap", str(path)]) == 0
    assert capsys.readouterr().out.endswith("start the client anew; to take it back: --undo\n")
    assert main(["mcp", "wrap", str(path), "--undo"]) == 0
    assert capsys.readouterr().out.endswith("start the client anew\n")


def test_a_noun_alone_shows_what_may_follow_line_by_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["mcp"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "\nCommands:\n  wrap " in said.err


AGENT = """
import subprocess, sys
program, *server = sys.argv[1:]
done = subprocess.run(
    [program, "mcp", "wrap", "--target", "mcp/inner", "--", *server], env={"PATH": "/usr/bin:/bin"},
    input=b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\\n', capture_output=True)
sys.stdout.buffer.write(done.stdout or done.stderr)
"""


def test_a_server_that_an_agent_in_a_cell_starts_with_a_bare_environment_is_in_its_cell(
    installation: Installation,
) -> None:
    shutil.copy(SERVER, installation.work / "tool_server.py")
    done = subprocess.run(
        [OFFSWITCH, "run", "--target", "agents/one", "--user", "root", "--", sys.executable, "-c",
         AGENT, OFFSWITCH, "/usr/bin/python3", "-I", "tool_server.py", "/dev/null"],
        env=installation.env, cwd=installation.work, capture_output=True, check=False,
    )  # fmt: skip
    assert len(json.loads(done.stdout)["result"]["tools"]) == 4, done.stdout + done.stderr
    rows = installation.ask({"op": "targets"})["targets"]
    assert not [one for one in rows if one["target"].startswith("mcp/inner")]
