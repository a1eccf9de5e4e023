"""The real MCP SDK, client and server: through a real gateway, and over pipes through the wrapper.

Both eras of the protocol: with a handshake (to 2025-11-25), and without sessions (2026-07-28).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gate import upstream_at
from guard.written_page import SLOT, WrittenPage
from installation import until
from mcp_gate import TARGET, McpGate
from offswitch.control.page import RUN
from offswitch.gateway.plan.route import Api, Route, Step, Tools
from offswitch.gateway.tools.book import State
from offswitch.model.level import Level
from peers.environment import peer_environ, peer_python

pytestmark = pytest.mark.peers

SERVER = """
import asyncio, os, socket, sys
from typing import Annotated
import uvicorn
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from pydantic import BaseModel

record = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
server = MCPServer("notes", log_level="CRITICAL")

@server.tool()
async def read_note(key: str) -> str:
    os.write(record, f"begun {key}\\ndone {key}\\n".encode())
    return f"note {key}"

@server.tool()
async def write_note(key: str) -> str:
    os.write(record, f"begun {key}\\ndone {key}\\n".encode())
    return f"wrote {key}"

@server.tool()
async def slow(key: str, seconds: float, ctx: Context) -> str:
    os.write(record, f"begun {key}\\n".encode())
    try:
        for step in range(int(seconds * 50)):
            await ctx.report_progress(step, 100)
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        os.write(record, f"cancelled {key}\\n".encode())
        raise
    os.write(record, f"done {key}\\n".encode())
    return f"slow {key}"

class Said(BaseModel):
    word: str

async def want(key: str) -> Elicit[Said]:
    return Elicit("well?", Said)

@server.tool()
async def ask_first(key: str, said: Annotated[Said, Resolve(want)]) -> str:
    return f"asked: {said.word}"

if len(sys.argv) > 2:
    sock = socket.create_server(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="critical")
    uvicorn.Server(config).run(sockets=[sock])
else:
    server.run("stdio")
"""
CLIENT = """
import asyncio, json, logging, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

where, mode, steps = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
server = where if isinstance(where, str) else StdioServerParameters(**where)

def tell(value):
    print(json.dumps(value), flush=True)

async def answered(context, params):
    return ElicitResult(action="accept", content={"word": "yes"})

async def progressed(progress, total, message):
    if not progressed.told:
        progressed.told = True
        tell("progress")
progressed.told = False

async def step(client, what, args):
    if what == "list":
        return [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]
    if what == "wait":
        return await asyncio.to_thread(sys.stdin.readline)
    if what == "cancel":
        progressed.told = False
        task = asyncio.create_task(client.call_tool("slow", args, progress_callback=progressed))
        while not progressed.told:
            await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
    answer = await client.call_tool(what, args, progress_callback=progressed)
    return [answer.content[0].text, bool(answer.is_error)]

async def main():
    try:
        async with Client(
            server, mode=mode, read_timeout_seconds=20, elicitation_callback=answered
        ) as client:
            tell(client.protocol_version)
            for what, args in steps:
                try:
                    tell(await step(client, what, args))
                except MCPError as error:
                    tell({"code": error.code, "message": error.message, "data": error.data})
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        tell({"ended": type(error).__name__, "code": getattr(error, "code", None)})

asyncio.run(main())
"""
OLDER = """
import asyncio, json, logging, sys
logging.disable(logging.CRITICAL)
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.exceptions import McpError

async def main():
    async with streamablehttp_client(sys.argv[1]) as (reads, writes, _):
        async with ClientSession(reads, writes) as session:
            await session.initialize()
            for name, args in json.loads(sys.argv[2]):
                try:
                    answer = await asyncio.wait_for(session.call_tool(name, args), 20)
                    print(json.dumps(answer.content[0].text), flush=True)
                except McpError as error:
                    print(json.dumps(error.error.code), flush=True)

asyncio.run(main())
"""
"""A client of the first generation, which takes any status beyond 400 for the connection's end."""
BOTH = pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])


class Talk:
    """A client of the SDK that works through its steps, and tells of each."""

    def __init__(self, where: object, mode: str, *steps: tuple[str, dict[str, Any]]) -> None:
        self.process = subprocess.Popen(
            [peer_python("mcp"), "-I", "-c", CLIENT, json.dumps(where), mode, json.dumps(steps)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=peer_environ(), text=True,
        )  # fmt: skip

    def hear(self) -> Any:  # noqa: ANN401 - whatever it tells
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it has ended"
        return json.loads(line)

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> list[Any]:
        """Hear all that is left."""
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return [json.loads(line) for line in out.splitlines()]


@contextmanager
def served(
    folder: Path, tools: Tools = Tools(), steps: frozenset[Step] = frozenset()  # noqa: B008 - values
) -> Iterator[McpGate]:  # fmt: skip
    """A gateway in front of a server of the SDK."""
    with (folder / "server").open("wb") as errors:
        server = subprocess.Popen(
            [peer_python("mcp"), "-I", "-c", SERVER, str(folder / "record"), "--http"],
            stdout=subprocess.PIPE, stderr=errors, env=peer_environ(),
        )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        route = Route(TARGET, upstream_at(port), api=Api.MCP, tools=tools, steps=steps, ask="ada")
        one = McpGate(folder, port, route)
        try:
            yield one
        finally:
            one.gate.close()
    finally:
        server.kill()
        server.communicate()


@BOTH
def test_the_sdk_lists_calls_hears_progress_and_cancels(tmp_path: Path, mode: str) -> None:
    with served(tmp_path) as one:
        talk = Talk(
            one.url, mode, ("list", {}), ("read_note", {"key": "a"}),
            ("slow", {"key": "b", "seconds": 0.2}), ("read_note", {}),
            ("cancel", {"key": "c", "seconds": 60}), ("read_note", {"key": "d"}),
        )  # fmt: skip
        told = talk.end()
        assert told[0] == {"legacy": "2025-11-25"}.get(mode, "2026-07-28")
        assert told[1] == ["read_note", "write_note", "slow", "ask_first"]
        assert told[2] == ["note a", False]
        assert told[3] == "progress"
        assert told[4] == ["slow b", False]
        assert told[5][1] is True, "a missing argument is the tool's own error"
        assert told[-2:] == ["cancelled", ["note d", False]]
        until(lambda: "c" in one.record("cancelled"), "the server was told")
        states = [row.state for row in one.book]
        assert states[:3] == [State.DONE, State.DONE, State.FAILED]
        assert states[4] is State.DONE


@BOTH
def test_ACT_9_a_stop_in_mid_call_surfaces_as_the_documented_error(
    tmp_path: Path, mode: str
) -> None:
    with served(tmp_path) as one:
        talk = Talk(one.url, mode, ("slow", {"key": "a", "seconds": 60}),
                    ("read_note", {"key": "b"}), ("list", {}))  # fmt: skip
        talk.hear()
        assert talk.hear() == "progress"
        one.gate.swept(one.gate.stop(TARGET))
        told = talk.end()
        for said in told[:3]:
            assert said["code"] == -32050, told
            assert said["data"]["level"] == "kill"
            assert said["data"]["ask"] == "ada"
        assert [row.state for row in one.book] == [State.UNKNOWN]
        assert one.record("begun") == {"a"}
        until(lambda: one.record("cancelled") == {"a"}, "the server was told, or saw it")
        assert not one.record("done")


@BOTH
def test_DEC_6_restrict_refuses_tools_and_lets_the_session_be(tmp_path: Path, mode: str) -> None:
    steps = frozenset({Step.WRITES, Step.TOOLS})
    with served(tmp_path, Tools(writes=("write_*", "slow", "ask_*")), steps) as one:
        talk = Talk(one.url, mode, ("write_note", {"key": "a"}), ("wait", {}),
                    ("write_note", {"key": "b"}), ("read_note", {"key": "c"}), ("list", {}),
                    ("wait", {}), ("read_note", {"key": "d"}), ("wait", {}),
                    ("write_note", {"key": "e"}))  # fmt: skip
        talk.hear()
        assert talk.hear() == ["wrote a", False]
        one.gate.stop(f"{TARGET}/writes")
        talk.go_on()
        talk.hear()
        refused = talk.hear()
        assert (refused["code"], refused["data"]["cause"]) == (-32051, "restricted")
        assert talk.hear() == ["note c", False]
        assert talk.hear() == ["read_note"]
        one.gate.stop(f"{TARGET}/tools")
        talk.go_on()
        talk.hear()
        assert talk.hear()["code"] == -32051
        one.gate.release(f"{TARGET}/writes")
        one.gate.release(f"{TARGET}/tools")
        talk.go_on()
        assert talk.end()[1:] == [["wrote e", False]]
        assert one.record("begun") == {"a", "c", "e"}


def test_ACT_9_an_sdk_of_the_first_generation_keeps_its_connection_and_hears_of_the_stop(
    tmp_path: Path,
) -> None:
    steps = [("read_note", {"key": "a"}), ("slow", {"key": "b", "seconds": 60}),
             ("read_note", {"key": "c"}), ("write_note", {"key": "d"})]  # fmt: skip
    with served(tmp_path) as one:
        client = subprocess.Popen(
            [peer_python("mcp1"), "-I", "-W", "ignore", "-c", OLDER, one.url, json.dumps(steps)],
            stdout=subprocess.PIPE, env=peer_environ(), text=True,
        )  # fmt: skip
        until(lambda: "b" in one.record("begun"), "it calls")
        one.gate.stop(TARGET)
        out, _ = client.communicate(timeout=60)
        assert [json.loads(line) for line in out.splitlines()] == ["note a", -32050, -32050, -32050]
        assert client.returncode == 0
        assert one.record("begun") == {"a", "b"}


@BOTH
def test_what_a_server_asks_of_its_client_in_a_call_comes_through(
    tmp_path: Path, mode: str
) -> None:
    with served(tmp_path) as one:
        told = Talk(one.url, mode, ("ask_first", {"key": "a"})).end()
        assert told[1] == ["asked: yes", False]
        assert {row.state for row in one.book} == {State.DONE}


def test_a_stopped_target_is_told_to_whoever_connects(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        one.gate.stop(TARGET)
        for mode in ("legacy", "auto"):
            [said] = Talk(one.url, mode).end()
            assert said == {"ended": "MCPError", "code": -32050}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_sdk_over_pipes_through_the_wrapper(tmp_path: Path, mode: str) -> None:
    page = WrittenPage(tmp_path / "page")
    where = {
        "command": sys.executable,
        "args": ["-I", "-m", "offswitch.gateway.tools", "--target", "mcp/notes", "--",
                 peer_python("mcp"), "-I", "-c", SERVER, str(tmp_path / "record")],
        "env": {"OFFSWITCH_PAGE": str(page.path), "OFFSWITCH_WORD": str(SLOT)},
        "cwd": os.getcwd(),
    }  # fmt: skip
    talk = Talk(where, mode, ("list", {}), ("read_note", {"key": "a"}), ("wait", {}),
                ("read_note", {"key": "b"}), ("wait", {}), ("slow", {"key": "c", "seconds": 60}),
                ("read_note", {"key": "d"}))  # fmt: skip
    talk.hear()
    assert talk.hear() == ["read_note", "write_note", "slow", "ask_first"]
    assert talk.hear() == ["note a", False]
    page.set(RUN + Level.RESTRICT)
    talk.go_on()
    talk.hear()
    assert talk.hear()["code"] == -32051
    page.set(RUN)
    talk.go_on()
    talk.hear()
    assert talk.hear() == "progress"
    page.set(RUN + Level.KILL)
    told = talk.end()
    assert told[0]["code"] == -32050
    record = (tmp_path / "record").read_text().splitlines()
    assert record == ["begun a", "done a", "begun c"]
