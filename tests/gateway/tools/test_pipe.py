"""MCP over pipes: a real server behind the wrapper, and a page that says what may be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from guard.written_page import SLOT, WrittenPage
from offswitch.control.page import RUN
from offswitch.gateway.tools.book import State, read_book
from offswitch.model.level import Level

SERVER = str(Path(__file__).parents[2] / "tool_server.py")


class Wrapped:
    """A wrapped server, as its client sees it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.page = WrittenPage(folder / "page")
        env = dict(os.environ, OFFSWITCH_PAGE=str(self.page.path), OFFSWITCH_WORD=str(SLOT))
        env.pop("OFFSWITCH_REPORT", None)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "offswitch.gateway.tools", "--target", "mcp/notes",
             "--calls", str(folder / "calls"), *options,
             "--", "/usr/bin/python3", "-I", SERVER, str(folder / "record")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        )  # fmt: skip

    def say(self, *messages: object) -> None:
        assert self.process.stdin is not None
        for one in messages:
            text = one if isinstance(one, bytes) else json.dumps(one).encode()
            self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it has ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def answer(self) -> dict[str, Any]:
        """Hear the next answer, whatever comes before it."""
        while "method" in (said := self.hear()):
            pass
        return said

    def call(self, tool: str, ident: object = 1, **arguments: object) -> None:
        params = {"name": tool, "arguments": arguments}
        self.say({"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params})

    def end(self) -> tuple[int, str]:
        _out, said = self.process.communicate(timeout=20)
        return self.process.returncode, said.decode()

    @property
    def record(self) -> list[str]:
        return (self.folder / "record").read_text().split("\n")[:-1]

    def states(self) -> list[State]:
        return [row.state for row in read_book(str(self.folder / "calls"))[0]]


def test_messages_pass_both_ways_and_the_server_ends_with_its_client(tmp_path: Path) -> None:
    one = Wrapped(tmp_path)
    one.say({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {}})
    assert one.hear()["result"]["serverInfo"]["name"] == "notes"
    one.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    one.say({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    assert len(one.hear()["result"]["tools"]) == 4
    one.call("read_note", 3, key="k")
    assert one.hear()["result"]["content"][0]["text"] == "read_note k"
    one.call("slow", 4, seconds=0.05)
    assert one.hear()["method"] == "notifications/progress"
    assert one.answer()["id"] == 4
    one.call("slow", 5, seconds=60)
    one.hear()
    one.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
    assert one.answer()["id"] == 5
    one.call("fail", 6)
    assert one.hear()["error"]["message"] == "no"
    assert one.end()[0] == 0
    assert one.states() == [State.DONE] * 3 + [State.FAILED]
    assert one.record == [
        "begun k", "done k", "begun 4", "done 4",
        "begun 5", "told 5", "cancelled 5", "begun 6", "done 6",
    ]  # fmt: skip


def test_DEC_6_at_restrict_no_tool_is_called_and_no_session_begins(tmp_path: Path) -> None:
    one = Wrapped(tmp_path, "--allow", "read_*", "--allow", "slow")
    one.say({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert [tool["name"] for tool in one.hear()["result"]["tools"]] == ["read_note", "slow"]
    one.call("write_note", 2)
    assert one.hear()["error"]["code"] == -32052
    one.page.set(RUN + Level.RESTRICT)
    one.call("read_note", 3)
    error = one.hear()["error"]
    assert (error["code"], error["data"]["level"]) == (-32051, "restrict")
    one.say({"jsonrpc": "2.0", "id": 4, "method": "initialize"})
    assert one.hear()["error"]["code"] == -32051
    one.say({"jsonrpc": "2.0", "id": 5, "method": "ping"})
    assert one.hear()["result"] == {}
    one.page.set(RUN + Level.DRAIN)
    one.say({"jsonrpc": "2.0", "id": 6, "method": "ping"})
    assert one.hear()["error"]["code"] == -32050
    one.page.set(RUN)
    one.call("read_note", 7)
    assert one.hear()["result"]["content"][0]["text"] == "read_note 7"
    one.end()
    assert one.record == ["begun 7", "done 7"]


def test_ACT_9_a_stop_in_mid_call_ends_the_server_and_the_call_is_unknown(tmp_path: Path) -> None:
    one = Wrapped(tmp_path)
    one.call("read_note", 1)
    one.call("slow", "two", seconds=60)
    while "method" not in one.hear():
        pass
    one.page.set(RUN + Level.KILL)
    while (error := one.answer())["id"] != "two":  # the other call may be answered later
        pass
    assert (error["id"], error["error"]["code"]) == ("two", -32050)
    code, said = one.end()
    assert code == 125
    assert "may have happened: slow" in said
    assert one.states() == [State.DONE, State.UNKNOWN]
    assert sorted(one.record) == ["begun 1", "begun two", "done 1"], "side by side"
    pids = subprocess.run(["pgrep", "-f", str(tmp_path / "record")], capture_output=True,
                          check=False)  # fmt: skip
    assert pids.stdout == b"", "nothing of the server is left"


def test_ACT_6_without_a_page_or_with_a_stale_lease_nothing_is_started(tmp_path: Path) -> None:
    one = Wrapped(tmp_path)
    one.call("read_note", 1)
    one.hear()
    one.page.renew(-1)
    code, said = one.end()
    assert code == 125
    assert "lease" in said
    (tmp_path / "again").mkdir()
    for env in ({}, {"OFFSWITCH_PAGE": str(tmp_path / "none"), "OFFSWITCH_WORD": "1"},
                {"OFFSWITCH_PAGE": str(one.page.path), "OFFSWITCH_WORD": str(SLOT)}):  # fmt: skip
        clean = {key: text for key, text in os.environ.items() if "OFFSWITCH" not in key}
        done = subprocess.run(
            [sys.executable, "-I", "-m", "offswitch.gateway.tools", "--", "/usr/bin/touch",
             str(tmp_path / "again" / "touched")],
            env=clean | env, capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 125
        assert done.stdout == b""
    assert list((tmp_path / "again").iterdir()) == []


def test_SR_6_what_is_no_message_is_not_passed_on(tmp_path: Path) -> None:
    one = Wrapped(tmp_path, "--allow", "read_note")
    for odd in (
        b"garbage",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}',
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"fail"}}',
        b'{"jsonrpc":"2.0","method":"notifications/x","params":{"a":\r%b\r}}'
        % b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fail"}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    ):
        one.say(odd)
        assert one.hear()["error"]["code"] == -32600
    one.say([{"jsonrpc": "2.0", "id": 1, "method": "ping"},
             {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "fail"}}],
            )  # fmt: skip
    assert one.process.stdout is not None
    refused = json.loads(one.process.stdout.readline())
    assert [each["error"]["code"] for each in refused] == [-32052, -32052]
    one.call("read_note", 9)
    assert one.hear()["id"] == 9
    one.end()
    assert one.record == ["begun 9", "done 9"]


def test_ACT_9_an_id_is_borne_by_one_call_until_it_is_answered(tmp_path: Path) -> None:
    one = Wrapped(tmp_path)
    one.call("slow", 4, seconds=0.3)
    one.call("read_note", 4)
    assert one.answer()["error"]["code"] == -32600
    assert one.answer()["id"] == 4
    one.call("read_note", 4)
    assert one.answer()["result"]["content"][0]["text"] == "read_note 4"
    one.end()
    assert one.states() == [State.DONE, State.DONE]


def test_a_server_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    page = WrittenPage(tmp_path / "page")
    env = dict(os.environ, OFFSWITCH_PAGE=str(page.path), OFFSWITCH_WORD=str(SLOT))
    done = subprocess.run(
        [sys.executable, "-I", "-m", "offswitch.gateway.tools", "--", str(tmp_path / "none")],
        env=env, capture_output=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 125
    assert b"No such file" in done.stderr
