"""Tool calls through a whole gateway: its own user and processes, a real warden, a real watch."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_stand import free_port
from installation import Installation, until
from needs import needs_root

SERVER = Path(__file__).parents[2] / "tool_server.py"
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Shop:
    """An installation with a gateway in front of a tool server, and watch."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.record = folder / "record"
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        place = self.installation.place
        server = self._begin("/usr/bin/python3", "-I", str(SERVER), str(self.record), "--http")
        assert server.stdout is not None
        self.installation.start()
        config = Path(place.home, "offswitch.toml")
        config.write_text(
            f'[[gateway]]\nname = "tools"\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'upstream = "http://127.0.0.1:{int(server.stdout.readline())}"\n'
            '[[gateway.route]]\ntarget = "shop/agent"\napi = "mcp"\nask = "ada"\n'
            'tools = { hold = ["write_*"], within = "20s" }\n'
        )
        config.chmod(0o600)
        for module in ("offswitch.watch", "offswitch.gateway"):
            self._begin(
                sys.executable, "-I", "-m", module, "--home", place.home, "--run", place.run
            )
        until(lambda: os.path.exists(f"{place.control}/watch"), "watch has a desk")
        until(self._serves, "the gateway serves")

    def _begin(self, *argv: str) -> subprocess.Popen[bytes]:
        self._processes.append(
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                             start_new_session=True)
        )  # fmt: skip
        return self._processes[-1]

    def _serves(self) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return "result" in self.ask("ping", 1)
        return False

    def ask(self, method: str, ident: int, **params: object) -> dict[str, Any]:
        said = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        http_ = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(http_):
            http_.request("POST", "/mcp", json.dumps(said), HEADERS)
            answer = http_.getresponse()
            body = answer.read()
            assert answer.status == 200, body
        if answer.getheader("content-type") == "text/event-stream":
            body = [line for line in body.splitlines() if line.startswith(b"data: {")][-1][6:]
        found: dict[str, Any] = json.loads(body)
        return found

    def call(self, tool: str, ident: int, **arguments: object) -> dict[str, Any]:
        return self.ask("tools/call", ident, name=tool, arguments=arguments)

    def later(self, tool: str, ident: int, **arguments: object) -> Later:
        return Later(self, tool, ident, arguments)

    def cli(self, *words: str) -> dict[str, Any]:
        done = self.installation.cli(*words, "--json")
        assert done.stdout, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.communicate(timeout=12)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self.installation.close()


class Later(threading.Thread):
    """A call whose answer is waited for elsewhere."""

    def __init__(self, shop: Shop, tool: str, ident: int, arguments: dict[str, object]) -> None:
        super().__init__(daemon=True)
        self._call = (shop, tool, ident, arguments)
        self.answer: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        shop, tool, ident, arguments = self._call
        self.answer = shop.call(tool, ident, **arguments)

    def heard(self) -> dict[str, Any]:
        self.join(30)
        return self.answer


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    needs_root()
    one = Shop(tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.close()


def test_ACT_9_and_DEC_3_calls_are_asked_for_stopped_and_told(shop: Shop) -> None:
    assert shop.call("read_note", 1)["result"]["content"][0]["text"] == "read_note 1"
    held = shop.later("write_note", 2, key="two", odd="\x1b[2J")
    [row] = until(lambda: shop.cli("decision", "list")["leaves"], "a person is asked")
    assert (row["tool"], row["target"], row["arguments"]) == (
        "write_note", "shop/agent", '{"key": "two", "odd": "\\u001b[2J"}',
    )  # fmt: skip
    shown = shop.installation.cli("decision", "list").stdout
    assert "may shop/agent call write_note?" in shown
    assert "\x1b" not in shown, "what a target wrote paints nothing"
    assert f"offswitch decision approve {row['decision'][:12]}" in shown
    assert shop.cli("decision", "approve", row["decision"][:12])["choice"] == "granted"
    assert held.heard()["result"]["content"][0]["text"] == "write_note two"
    flying = shop.later("slow", 3, seconds=60)
    until(lambda: "begun 3" in shop.record.read_text(), "the server works")
    waits = shop.later("write_note", 4)
    until(lambda: shop.cli("decision", "list")["leaves"], "a person is asked")
    assert shop.installation.stop("shop/agent")["targets"][0]["target"] == "shop/agent"
    error = flying.heard()["error"]
    assert (error["code"], error["data"]["ask"]) == (-32050, "ada")
    assert waits.heard()["error"]["code"] == -32050
    said = shop.cli("mcp", "calls", "shop")
    assert [(one["id"], one["tool"], one["state"]) for one in said["calls"]] == [
        ("1", "read_note", "done"), ("2", "write_note", "done"),
        ("3", "slow", "unknown"), ("4", "write_note", "unsent"),
    ]  # fmt: skip
    assert shop.cli("mcp", "calls", "elsewhere")["calls"] == []
    text = shop.installation.cli("mcp", "calls").stdout
    assert "slow  unknown, cut in flight: it may have happened" in text
    assert "2 done, 1 unknown, 1 unsent" in text
    told = until(
        lambda: [one for one in shop.installation.entries()
                 if one.get("what") == "gateway: calls" and "unknown" in one],
        "it is in the ledger",
    )  # fmt: skip
    assert (told[0]["target"], told[0]["calls"], told[0]["unknown"]) == ("shop/agent", 4, 1)
    states = [
        one["state"] for one in shop.installation.entries()
        if str(one.get("what")).startswith("leave to call")
    ]  # fmt: skip
    assert states == ["waits for leave", "granted", "used: it is called", "waits for leave",
                      "withdrawn"]  # fmt: skip
    until(lambda: "told 3" in shop.record.read_text(), "the server is told")
    assert "begun 4" not in shop.record.read_text()
    shop.installation.reset("shop/agent")
    assert shop.call("read_note", 5)["result"]["content"][0]["text"] == "read_note 5"
