"""MCP's steward: what passes, what is refused, held and filtered, and what the book says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.gateway.exchange import (
    Asked,
    Cause,
    Head,
    Held,
    How,
    Later,
    Malformed,
    Reply,
    Rewritten,
    Why,
)  # fmt: skip
from offswitch.gateway.plan.route import Route, Step, Tools
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.tools.book import CallBook, State, read_book
from offswitch.gateway.tools.events import Cutter
from offswitch.gateway.tools.passage import Passage
from offswitch.gateway.tools.steward import AskedCall, McpSteward
from offswitch.model.level import Level

JSON = ((b"content-type", b"application/json"),)
SSE = ((b"content-type", b"text/event-stream"),)
FREE = Held()
ACCEPTS = (b"accept", b"application/json, text/event-stream")


def route(**tools: tuple[str, ...]) -> Route:
    return Route("shop/a", Upstream("127.0.0.1", 1), tools=Tools(**tools), ask="ada")


def call(tool: str, ident: object = 1, **arguments: object) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}


def ask(method: str, ident: object = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "method": method}


class People:
    """People who are asked."""

    def __init__(self) -> None:
        self.asked: list[AskedCall] = []
        self.told: list[Callable[[str], None]] = []
        self.withdrawn = 0

    def ask(self, calls: Sequence[AskedCall], told: Callable[[str], None]) -> Callable[[], None]:
        self.asked += calls
        self.told.append(told)
        return self._withdraw

    def _withdraw(self) -> None:
        self.withdrawn += 1


class Desk:
    """A steward with its book, and people."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.book = CallBook.take(path, 64)
        self.people = People()
        self.steward = McpSteward(self.book, self.people)

    def post(
        self, message: object, at: Route, held: Held = FREE, *headers: tuple[bytes, bytes]
    ) -> tuple[Asked, Any]:
        head = Head(b"POST", b"/mcp", (ACCEPTS, *headers))
        body = json.dumps(message).encode()
        asked = self.steward.read(head, body)
        return asked, self.steward.admit(asked, head, body, at, held)

    def states(self) -> list[State]:
        return [row.state for row in read_book(self.path)[0]]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(str(tmp_path / "calls"))
    yield one
    one.book.close()


def passes(verdict: object) -> Passage:
    assert isinstance(verdict, Rewritten)
    assert isinstance(verdict.filter, Passage)
    assert verdict.filter is verdict.follow
    return verdict.filter


def error(reply: object) -> dict[str, Any]:
    assert isinstance(reply, Reply)
    said: dict[str, Any] = json.loads(reply.body)["error"]
    return said


def event(message: object) -> bytes:
    return b"event: message\r\ndata: " + json.dumps(message).encode() + b"\r\n\r\n"


def test_DEC_6_tools_read_only_then_off_then_no_new_sessions(desk: Desk) -> None:
    at = route(writes=("write_*",))
    writes = Held(steps=frozenset({Step.WRITES}))
    off = Held(Level.RESTRICT, frozenset({Step.TOOLS, Step.SESSIONS}))
    for tool, held, may in [
        ("read_file", FREE, True), ("write_file", FREE, True),
        ("read_file", writes, True), ("write_file", writes, False),
        ("read_file", off, False), ("write_file", off, False),
    ]:  # fmt: skip
        _asked, verdict = desk.post(call(tool), at, held)
        assert isinstance(verdict, Rewritten) == may, (tool, held)
        if not may:
            said = error(verdict)
            assert said["code"] == -32051
            assert said["data"] | {"x": 0} == {
                "by": "offswitch", "cause": "restricted", "target": "shop/a",
                "level": "restrict", "ask": "ada", "retry": False, "x": 0,
            }  # fmt: skip
            assert verdict.status == 200
            assert json.loads(verdict.body)["id"] == 1
    assert isinstance(desk.post(ask("initialize"), at, writes)[1], Rewritten)
    assert error(desk.post(ask("initialize"), at, off)[1])["code"] == -32051
    assert isinstance(desk.post(ask("ping"), at, off)[1], Rewritten)
    assert desk.states().count(State.REFUSED) == 3


def test_a_tool_that_is_not_declared_is_refused_whatever_else(desk: Desk) -> None:
    at = route(allow=("read_*",))
    said = error(desk.post(call("drop_table"), at)[1])
    assert (said["code"], said["data"]["cause"]) == (-32052, "not-allowed")
    asked, both = desk.post([call("read_x", 1), call("drop_table", "1")], at)
    assert [one["id"] for one in json.loads(both.body)] == [1, "1"]
    assert asked.calls[0].name == "read_x"
    assert desk.states() == [State.REFUSED] * 3


def test_everything_else_passes_as_it_came(desk: Desk) -> None:
    for said in (
        ask("initialize"), ask("resources/list"), ask("sampling/createMessage"),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 4, "result": {"action": "accept"}},
    ):  # fmt: skip
        body = json.dumps(said).encode()
        head = Head(b"POST", b"/mcp", (ACCEPTS,))
        verdict = desk.steward.admit(desk.steward.read(head, body), head, body, route(), FREE)
        assert isinstance(verdict, Rewritten)
        assert verdict.body == body
        assert verdict.headers == ((b"accept-encoding", b"identity"),)


def test_DEC_6_a_list_of_tools_names_what_may_be_called_just_now(desk: Desk) -> None:
    tools = [{"name": "read_x", "x": [1.5]}, {"name": "write_x"}, {"nameless": 1}]
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools, "nextCursor": "c"}}
    at = route(writes=("write_*",))
    for held, named in [
        (Held(steps=frozenset({Step.WRITES})), ["read_x"]),
        (Held(steps=frozenset({Step.TOOLS})), []),
    ]:
        flow = passes(desk.post(ask("tools/list"), at, held)[1])
        flow.head(200, JSON)
        assert flow.feed(json.dumps(answer).encode()[:9]) == b""
        assert flow.feed(json.dumps(answer).encode()[9:]) == b""
        given = json.loads(flow.end())
        assert [tool["name"] for tool in given["result"]["tools"]] == named
        assert given["result"]["nextCursor"] == "c"
        flow = passes(desk.post(ask("tools/list"), at, held)[1])
        flow.head(200, SSE)
        out = flow.feed(b"id: 7\n" + event(answer)) + flow.end()
        assert b"id: 7\n" in out
        data = next(line for line in out.splitlines() if line.startswith(b"data: "))
        assert [tool["name"] for tool in json.loads(data[6:])["result"]["tools"]] == named
    flow = passes(desk.post(ask("tools/list"), at)[1])
    flow.head(200, JSON)
    assert flow.feed(json.dumps(answer).encode()) + flow.end() == json.dumps(answer).encode()


@pytest.mark.parametrize("headers", [JSON, SSE, (*JSON, (b"content-encoding", b"gzip"))])
def test_a_list_that_cannot_be_read_does_not_pass(
    desk: Desk, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    flow = passes(desk.post(ask("tools/list"), route(allow=("a",)))[1])
    flow.head(200, headers)
    hidden = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"evil","name":"a"}]}}'
    out = flow.feed(b"data: " + hidden + b"\n\n" if headers == SSE else hidden) + flow.end()
    assert b"evil" not in out
    assert headers[-1][1] == b"gzip" or b"-32053" in out


def test_ACT_9_each_call_is_done_failed_accepted_or_unknown(desk: Desk) -> None:
    done = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
    for answer, how, state in [
        (done, How.COMPLETE, State.DONE),
        (done | {"result": {"content": [], "isError": True}}, How.COMPLETE, State.FAILED),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}, How.COMPLETE,
         State.FAILED),
        (done | {"result": {"task": {"taskId": "t"}}}, How.COMPLETE, State.ACCEPTED),
        (done | {"id": "1"}, How.COMPLETE, State.UNKNOWN),
        (done, How.STOPPED, State.DONE),
        (None, How.STOPPED, State.UNKNOWN),
        (None, How.UPSTREAM, State.UNKNOWN),
        (None, How.CLIENT, State.UNKNOWN),
    ]:  # fmt: skip
        flow = passes(desk.post(call("pay"), route())[1])
        assert desk.states()[-1] is State.HELD
        flow.sent()
        assert desk.states()[-1] is State.SENT
        flow.head(200, SSE)
        progress = event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
        assert flow.feed(progress[:20]) + flow.feed(progress[20:]) == progress
        if answer is not None:
            assert flow.feed(event(answer)) == event(answer)
        flow.ended(how)
        flow.ended(How.CLIENT)
        assert desk.states()[-1] is state, (answer, how)
    for status, state in ((202, State.ACCEPTED), (404, State.FAILED), (502, State.UNKNOWN)):
        flow = passes(desk.post(call("pay"), route())[1])
        flow.sent()
        flow.head(status, ())
        assert flow.feed(b"nothing that is read") == b""
        flow.end()
        flow.ended(How.COMPLETE)
        assert desk.states()[-1] is state
    for how in (How.REFUSED, How.STOPPED, How.CLIENT):
        passes(desk.post(call("pay"), route())[1]).ended(how)
        assert desk.states()[-1] is State.UNSENT


def test_ACT_9_an_answer_that_comes_on_another_stream_of_the_session_counts(desk: Desk) -> None:
    session = (b"mcp-session-id", b"s1")
    flow = passes(desk.post(call("pay", "k"), route(), FREE, session)[1])
    flow.sent()
    flow.head(200, SSE)
    flow.ended(How.CLIENT)
    assert desk.states() == [State.UNKNOWN]
    for name, state in ((b"s2", State.UNKNOWN), (b"s1", State.DONE)):
        head = Head(b"GET", b"/mcp", (ACCEPTS, (b"mcp-session-id", name)))
        asked = desk.steward.read(head, b"")
        again = passes(desk.steward.admit(asked, head, b"", route(), FREE))
        again.head(200, SSE)
        again.feed(event({"jsonrpc": "2.0", "id": "k", "result": {}}))
        assert desk.states() == [state]


def test_ACT_9_a_very_long_answer_to_one_call_passes_and_counts(desk: Desk) -> None:
    big = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"text": "x" * (3 << 20)}]}}
    for headers, said in ((JSON, json.dumps(big).encode()), (SSE, event(big))):
        flow = passes(desk.post(call("read"), route())[1])
        flow.sent()
        flow.head(200, headers)
        out = b"".join(flow.feed(said[at : at + 65536]) for at in range(0, len(said), 65536))
        assert out + flow.end() == said
        flow.ended(How.COMPLETE)
        assert desk.states()[-1] is State.DONE


def test_a_stop_ends_a_stream_by_an_error_for_what_is_not_answered(desk: Desk) -> None:
    asked, verdict = desk.post([call("a", 1), call("b", "2")], route())
    flow = passes(verdict)
    flow.sent()
    flow.head(200, SSE)
    flow.feed(event({"jsonrpc": "2.0", "id": 1, "result": {}}))
    why = Why(Cause.STOPPED, "shop/a", "kill", ask="ada")
    [line] = [x for x in desk.steward.ending(asked, why).splitlines() if x.startswith(b"data: ")]
    said = json.loads(line[6:])
    assert (said["id"], said["error"]["code"]) == ("2", -32050)
    assert said["error"]["data"]["level"] == "kill"
    [left] = json.loads(desk.steward.refusal(asked, why).body)
    assert left["id"] == "2"
    flow.feed(b"data: " + b"x" * (2 << 20))
    assert desk.steward.ending(asked, why) == b"", "in the middle of an event there is no good end"


def test_under_a_stop_only_what_ends_something_passes(desk: Desk) -> None:
    delete = Head(b"DELETE", b"/mcp", ((b"mcp-session-id", b"s"),))
    post, get = Head(b"POST", b"/mcp", ()), Head(b"GET", b"/mcp", ())
    told = [
        (head.method, level.label)
        for head in (delete, post, get) for level in Level
        if level > Level.RESTRICT and desk.steward.passes(head, level)
    ]  # fmt: skip
    assert told == [(b"DELETE", "drain"), (b"DELETE", "freeze"), (b"DELETE", "kill"),
                    (b"DELETE", "poweroff"), (b"POST", "drain")]  # fmt: skip
    drained, killed = Held(Level.DRAIN), Held(Level.KILL)
    asked = desk.steward.read(delete, b"")
    assert isinstance(desk.steward.admit(asked, delete, b"", route(), killed), Rewritten)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    assert isinstance(desk.post(note, route(), drained)[1], Rewritten)
    assert isinstance(desk.post({"jsonrpc": "2.0", "id": 1, "result": {}}, route(), drained)[1],
                      Rewritten)  # fmt: skip
    assert error(desk.post(call("pay"), route(), drained)[1])["code"] == -32050
    asked = desk.steward.read(get, b"")
    refused = desk.steward.admit(asked, get, b"", route(), killed)
    assert isinstance(refused, Reply)
    assert refused.status == 503
    assert (b"x-should-retry", b"false") in refused.headers


@pytest.mark.parametrize("held", [FREE, Held(Level.DRAIN)], ids=["free", "drain"])
def test_SR_6_no_tool_is_called_by_what_is_not_judged(desk: Desk, held: Held) -> None:
    at = route(allow=("look",))
    told = {name: said for name, said in call("pay").items() if name != "id"}
    with pytest.raises(Malformed, match="without one it is a notification"):
        desk.post(told, at, held)
    for charset in (b"utf-7", b"utf-16", b"utf-8; charset=utf-7"):
        kind = (b"content-type", b"application/json; charset=" + charset)
        with pytest.raises(Malformed, match="another encoding"):
            desk.post(call("look"), at, held, kind)
    for method in (b"PUT", b"PATCH", b"DELETE"):
        with pytest.raises(Malformed, match="by POST"):
            desk.steward.read(Head(method, b"/mcp", ()), json.dumps(call("pay")).encode())


def test_DEC_3_a_held_call_goes_on_only_when_a_person_lets_it(desk: Desk) -> None:
    at = route(hold=("pay*",))
    assert isinstance(desk.post(call("read"), at)[1], Rewritten)
    for why_not, state in (("", State.SENT), ("nobody answered", State.REFUSED)):
        verdicts: list[Any] = []
        _asked, later = desk.post(call("pay", amount=7), at)
        assert isinstance(later, Later)
        later.then(verdicts.append)
        assert verdicts == []
        assert desk.people.asked[-1].arguments == {"amount": 7}
        desk.people.told[-1](why_not)
        [verdict] = verdicts
        if why_not:
            assert error(verdict)["code"] == -32052
            assert why_not in error(verdict)["message"]
        else:
            passes(verdict).sent()
        assert desk.states()[-1] is state
        later.drop(How.CLIENT)
        assert desk.states()[-1] is state
    assert desk.people.withdrawn == 0


def test_DEC_3_who_goes_away_withdraws_what_was_asked(desk: Desk) -> None:
    _asked, later = desk.post(call("pay"), route(hold=("pay",)))
    assert isinstance(later, Later)
    later.then(lambda _verdict: pytest.fail("nobody waits"))
    later.drop(How.STOPPED)
    assert desk.people.withdrawn == 1
    desk.people.told[-1]("")
    assert desk.states() == [State.UNSENT]


def test_DEC_3_where_nobody_can_be_asked_a_held_call_is_denied(desk: Desk) -> None:
    desk.steward = McpSteward(desk.book)
    verdicts: list[Any] = []
    _asked, later = desk.post(call("pay"), route(hold=("pay",)))
    assert isinstance(later, Later)
    later.then(verdicts.append)
    assert error(verdicts[0])["code"] == -32052


def test_SR_6_headers_that_say_something_else_than_the_body_are_refused(desk: Desk) -> None:
    good = ((b"mcp-method", b"tools/call"), (b"mcp-name", b"=?base64?cGF5?="))
    assert isinstance(desk.post(call("pay"), route(), FREE, *good)[1], Rewritten)
    for bad in (
        ((b"mcp-method", b"ping"),),
        ((b"mcp-name", b"read"),),
        ((b"mcp-name", b"pay"), (b"mcp-name", b"read")),
        ((b"mcp-name", b"=?base64?!?="),),
        ((b"content-encoding", b"gzip"),),
    ):
        with pytest.raises(Malformed):
            desk.post(call("pay"), route(), FREE, *bad)
    for odd in (call(""), call("a\nb"), call("x" * 300), call("a") | {"params": {"name": 7}},
                [call("a", 1), call("b", 1)]):  # fmt: skip
        with pytest.raises(Malformed):
            desk.post(odd, route())


def test_ACT_9_what_cannot_be_written_down_is_not_begun(desk: Desk) -> None:
    for _ in range(64):
        passes(desk.post(call("pay"), route())[1]).sent()
    refused = desk.post(call("pay"), route())[1]
    assert error(refused)["code"] == -32054
    assert desk.states() == [State.SENT] * 64


PIECES = st.sampled_from(
    [b"data: ", b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"evil"}]}}', b"\n\n", b"\r",
     b"\r\n\r\n", b"event: message\n", b"id: 1\n", b"[", b"]", b"{", b'"evil"', b"\xff", b": x\n"]
) | st.binary(max_size=9)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=12),
    headers=st.sampled_from([JSON, SSE, ()]),
    narrowed=st.booleans(),
)
def test_SR_6_whatever_a_server_answers_passes_unchanged_or_lists_nothing_that_may_not_be(
    pieces: list[bytes], headers: tuple[tuple[bytes, bytes], ...], *, narrowed: bool
) -> None:
    at = route(allow=("a",)) if narrowed else route()
    steward = McpSteward()
    head, body = Head(b"POST", b"/mcp", (ACCEPTS,)), json.dumps(ask("tools/list")).encode()
    flow = passes(steward.admit(steward.read(head, body), head, body, at, FREE))
    flow.sent()
    flow.head(200, headers)
    out = b"".join(flow.feed(piece) for piece in pieces) + flow.end()
    flow.ended(How.COMPLETE)
    if narrowed:
        # Of a stream a client reads what its events carry, and skips all else.
        read = [one.data or b"" for one in Cutter(1 << 20).feed(out)] if headers == SSE else [out]
        assert not [one for one in read if b'{"name":"evil"}' in one]
    else:
        assert out == b"".join(pieces)
