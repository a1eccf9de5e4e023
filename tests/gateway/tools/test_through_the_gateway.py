"""Tool calls through a real worker to a real tool server, which keeps a record of its own."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from installation import until
from mcp_gate import TARGET, McpGate, mcp_gate
from offswitch.clock import SystemClock
from offswitch.control.peer import Peer
from offswitch.gateway.plan.route import Step, Tools
from offswitch.gateway.tools.book import State
from offswitch.model.level import Level
from offswitch.watch.desk.door import Desk, listen
from offswitch.watch.desk.leaves import Leaves
from offswitch.watch.desk.visitors import Visitors
from scale import runs

HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Agent:
    """An MCP client that knows HTTP and little else."""

    def __init__(self, to: McpGate) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", to.gate.port, timeout=20)
        to.open.append(self.http)

    def ask(self, method: str, ident: int, **params: object) -> dict[str, Any]:
        """Ask, and give the answer, whatever progress comes before it."""
        said = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        self.http.request("POST", "/mcp", json.dumps(said), HEADERS)
        answer = self.http.getresponse()
        assert answer.status == 200, answer.read()
        body = answer.read()
        if answer.getheader("content-type") == "text/event-stream":
            body = [line for line in body.splitlines() if line.startswith(b"data: {")][-1][6:]
        found: dict[str, Any] = json.loads(body)
        return found

    def call(self, tool: str, ident: int, **arguments: object) -> dict[str, Any]:
        return self.ask("tools/call", ident, name=tool, arguments=arguments)

    def status(self, method: str, body: str = "") -> int:
        self.http.request(method, "/mcp", body, HEADERS)
        answer = self.http.getresponse()
        answer.read()
        return answer.status


def test_what_a_tool_server_says_comes_through(tmp_path: Path) -> None:
    with mcp_gate(tmp_path) as one:
        agent = Agent(one)
        assert agent.ask("initialize", 1)["result"]["serverInfo"]["name"] == "notes"
        assert len(agent.ask("tools/list", 2)["result"]["tools"]) == 4
        assert agent.status("POST", '{"jsonrpc":"2.0","method":"notifications/initialized"}') == 202
        assert agent.call("read_note", 3)["result"]["content"][0]["text"] == "read_note 3"
        assert agent.call("slow", 4, seconds=0.1)["result"]["content"][0]["text"] == "slow 4"
        assert agent.call("fail", 5)["error"]["message"] == "no"
        assert agent.status("DELETE") == 200
        assert [row.state for row in one.book] == [State.DONE, State.DONE, State.FAILED]


def test_DEC_6_writes_then_all_tools_are_held_back_and_given_back(tmp_path: Path) -> None:
    tools = Tools(writes=("write_*", "slow"))
    steps = frozenset({Step.WRITES, Step.TOOLS, Step.SESSIONS})
    with mcp_gate(tmp_path, tools=tools, steps=steps) as one:
        agent = Agent(one)
        gate = one.gate

        def may() -> tuple[bool, bool, bool]:
            return tuple(
                "result" in answer
                for answer in (agent.call("read_note", 1), agent.call("write_note", 2),
                               agent.ask("initialize", 3))
            )  # type: ignore[return-value]  # fmt: skip

        assert may() == (True, True, True)
        gate.stop(f"{TARGET}/writes")
        assert may() == (True, False, True)
        assert len(agent.ask("tools/list", 9)["result"]["tools"]) == 2
        gate.stop(f"{TARGET}/tools")
        assert may() == (False, False, True)
        gate.stop(f"{TARGET}/sessions")
        assert may() == (False, False, False)
        gate.release(f"{TARGET}/writes")
        gate.release(f"{TARGET}/tools")
        assert may() == (True, True, False)
        gate.release(f"{TARGET}/sessions")
        gate.stop(TARGET, Level.RESTRICT)
        assert may() == (False, False, False)
        assert agent.call("read_note", 7)["error"]["data"]["level"] == "restrict"
        gate.release(TARGET)
        assert may() == (True, True, True)


@pytest.mark.parametrize("padding", ["", "x" * 20_000], ids=["small", "large"])
def test_ACT_9_a_stop_in_mid_call_is_told_in_json_rpc_and_the_call_is_unknown(
    tmp_path: Path, padding: str
) -> None:
    with mcp_gate(tmp_path) as one:
        agent = Agent(one)
        answers: list[dict[str, Any]] = []
        caller = threading.Thread(
            target=lambda: answers.append(agent.call("slow", 1, seconds=60, text=padding)),
            daemon=True,
        )
        caller.start()
        until(lambda: one.record("begun") == {"1"}, "the server has begun")
        one.gate.swept(one.gate.stop(TARGET))
        caller.join(10)
        error = answers[0]["error"]
        assert (error["code"], error["data"]["level"], error["data"]["ask"]) == (
            -32050, "kill", "ada",
        )  # fmt: skip
        assert [row.state for row in one.book] == [State.UNKNOWN]
        until(lambda: one.record("cancelled") == {"1"}, "the server is told what was cut")
        assert not one.record("done")
        agent = Agent(one)  # a connection ends with a stream that was cut
        for method in ("tools/call", "ping", "initialize"):
            refused = agent.ask(method, 7, name="read_note")
            assert (refused["id"], refused["error"]["code"]) == (7, -32050), "by its id"
        assert agent.status("POST", '{"jsonrpc":"2.0","method":"notifications/initialized"}') == 503
        assert Agent(one).status("GET") == 503, "streams are refused by their status"
        assert Agent(one).status("DELETE") == 200


def _calls(one: McpGate, ids: range, answered: set[str], seed: int) -> None:
    """Call many tools, one after the other; what is answered by the server is noted."""
    agent, pick = Agent(one), random.Random(seed)
    for ident in ids:
        tool = pick.choice(["read_note", "write_note", "slow", "fail"])
        try:
            answer = agent.call(tool, ident, seconds=pick.random() * 0.05)
        except (OSError, http.client.HTTPException, AssertionError, IndexError):
            agent = Agent(one)
            continue
        if answer.get("error", {}).get("data", {}).get("by") != "offswitch":
            answered.add(str(ident))


@pytest.mark.parametrize(
    ("how", "seed"),
    [("stop", seed) for seed in range(runs(40))] + [("kill -9", 1)] * runs(20),
)
def test_ACT_9_a_hundred_calls_stopped_anywhere_are_listed_as_they_happened(
    tmp_path: Path, how: str, seed: int
) -> None:
    with mcp_gate(tmp_path) as one:
        answered: set[str] = set()
        callers = [
            threading.Thread(
                target=_calls, args=(one, range(at, 100, 10), answered, seed * 100 + at)
            )
            for at in range(10)
        ]
        for caller in callers:
            caller.start()
        goal = random.Random(seed).randrange(1, 90)
        until(lambda: len(one.record("begun")) >= goal, "so many have begun")
        if how == "stop":
            one.gate.stop(TARGET)
        else:
            one.gate.process.kill()
            one.gate.process.wait()
            one.gate.listener.close()  # nobody waits there for another worker
        for caller in callers:
            caller.join()
        unknown = _compare(one, answered)
        if how == "stop":
            until(lambda: unknown <= one.record("told"), "the server is told what was cut")


def _compare(one: McpGate, answered: set[str]) -> set[str]:
    """Hold the book against the server's record; give what the book calls unknown."""
    told = {row.ident.removeprefix("i:"): row.state for row in one.book}
    by = {state: {key for key, each in told.items() if each is state} for state in State}
    begun, done = one.record("begun"), one.record("done")
    assert not by[State.HELD] | by[State.SENT], "nothing is open"
    assert by[State.DONE] | by[State.FAILED] <= done, "what is called done was done"
    assert not (by[State.REFUSED] | by[State.UNSENT]) & begun, "what never left never began"
    assert begun <= by[State.DONE] | by[State.FAILED] | by[State.UNKNOWN], "all that began is told"
    assert not by[State.UNKNOWN] & answered, "what was answered is not unknown"
    assert len(by[State.UNKNOWN]) <= 10, "and only what was in flight is"
    assert answered <= by[State.DONE] | by[State.FAILED]
    return by[State.UNKNOWN]


@pytest.mark.parametrize(
    ("level", "restrict"),
    [(Level.RESTRICT, {Step.TOOLS}), (Level.DRAIN, set())],
    ids=["restrict", "drain"],
)
def test_DEC_3_a_held_call_waits_at_the_desk_for_a_person(
    tmp_path: Path, level: Level, restrict: set[Step]
) -> None:
    visitors = Visitors(os.geteuid(), os.getegid())
    visitors.hear([], [])
    leaves = Leaves(SystemClock(), visitors, _Record())  # type: ignore[arg-type]
    sock, gid = listen(str(tmp_path))
    desk = Desk(sock, SystemClock(), os.geteuid(), gid)
    work = {"ask-leave": leaves.ask, "leaves": leaves.told, "withdraw": leaves.withdraw}

    def turn() -> list[dict[str, Any]]:
        desk.turn(lambda peer, message: work[message["op"]](peer, message))
        return leaves.rows()

    try:
        tools = Tools(hold=("write_*",))
        with mcp_gate(tmp_path, tools=tools, restrict=frozenset(restrict)) as one:
            for text in ("write_note", ""):
                answers: list[dict[str, Any]] = []
                caller = threading.Thread(
                    target=lambda to: to.append(Agent(one).call("write_note", 1)), args=(answers,)
                )
                caller.start()
                [row] = until(turn, "a person is asked")
                assert (row["tool"], row["target"]) == ("write_note", TARGET)
                assert one.record("begun") == (set() if text else {"1"})
                if not text:
                    one.gate.stop(TARGET, level)
                leaves.answer(
                    _peer(), {"op": "approve"}, row["decision"], visitors.who(_peer())
                )  # fmt: skip
                while caller.is_alive():
                    turn()
                    caller.join(0.005)
                if text:
                    assert answers[0]["result"]["content"][0]["text"] == f"{text} 1"
                else:
                    assert answers[0]["error"]["data"]["by"] == "offswitch"
                one.gate.release(TARGET)
            states = [row.state for row in one.book]
            assert states == [State.DONE, State.UNSENT]
    finally:
        desk.close()


class _Record:
    def add(self, *_: object) -> None:
        return


def _peer() -> Peer:
    return Peer(os.getpid(), os.geteuid(), os.getegid(), ())
