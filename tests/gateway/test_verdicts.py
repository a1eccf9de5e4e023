"""What a steward says of a request is what happens to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate import Gate, upstream_at
from installation import until
from odd_stewards import odd_stewards
from offswitch.gateway.plan.route import Route, Step
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream, Visit

TARGET = "shop"
PATH = "/v1/chat/completions?"
STEPS = frozenset({Step.TOOLS, Step.WRITES})


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, ScriptedUpstream]]:
    server = ScriptedUpstream()
    route = Route(
        TARGET, upstream_at(server.port), steps=STEPS, restrict=frozenset({Step.SESSIONS})
    )
    folder: Path = tmp_path_factory.mktemp("odd")
    gate = Gate([route], folder, stewards=odd_stewards())
    yield gate, server
    gate.close()
    server.close()


def streaming(visit: Visit) -> None:
    visit.begin()
    visit.event("one")
    visit.chunk(b"data: t")
    visit.chunk(b"wo\n\n")
    visit.finish()


def test_a_filter_changes_the_body_and_may_add_to_it(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = streaming
    client = gate.client()
    client.ask(PATH + "shout")
    assert client.answer()[2] == b"DATA: ONE\n\nDATA: TWO\n\ndata: !\n\n"
    upstream.script = lambda visit: visit.answer(b"quiet", "text/plain")
    client.ask(PATH + "shout")
    _, headers, body = client.answer()
    assert body == b"QUIETdata: !\n\n"
    assert headers[b"transfer-encoding"] == b"chunked"


def test_a_filtered_stream_can_be_cut_well(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        visit.gone(30)

    upstream.script = script
    client = gate.client()
    client.ask(PATH + "shout")
    client.until(b"ONE\n\n\r\n")
    gate.stop(TARGET)
    assert client.chunks() == [b'data: {"error": "stopped"}\n\n']


def test_a_filter_may_make_the_whole_answer(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = streaming
    client = gate.client()
    for _ in range(2):
        client.ask(PATH + "gather")
        status, headers, body = client.answer()
        assert (status, body) == (201, b"data: one\n\ndata: two\n\n")
        assert headers[b"content-length"] == b"22"


def test_one_that_gathers_is_refused_when_it_is_cut(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        visit.gone(30)

    upstream.script = script
    client = gate.client()
    client.ask(PATH + "gather")
    upstream.visit()
    gate.stop(TARGET)
    assert client.answer()[0] == 503
    assert upstream.visit().gone() == "reset"


@pytest.mark.parametrize("path", [PATH, "/upload?"])
def test_another_body_and_other_headers_go_on(
    gate: Gate, upstream: ScriptedUpstream, path: str
) -> None:
    client = gate.client()
    client.ask(path + "other")
    assert client.answer()[0] == 200
    assert upstream.visit().body == b'{"other": 1}'
    assert upstream.visit().headers[b"x-new"] == b"1"


def test_an_answer_of_the_stewards_own_goes_to_nobody_else(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    for path in (PATH, "/upload?", PATH):
        client.ask(path + "no")
        assert client.answer() == (418, {b"x-why": b"no", b"content-length": b"3"}, b"tea")
    assert upstream.visits == []


def test_a_follower_hears_that_it_was_sent_and_how_it_ended(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    client.ask(PATH + "told")
    assert client.answer()[0] == 200
    assert gate.said(2) == ["sent", "complete"]
    go = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        go.wait(10)

    upstream.script = script
    client.ask(PATH + "told")
    client.until(b"one\n\n")
    gate.stop(TARGET)
    assert gate.said(2) == ["sent", "stopped"]
    go.set()


def test_a_verdict_that_comes_later_is_waited_for(gate: Gate, upstream: ScriptedUpstream) -> None:
    client = gate.client()
    client.ask(PATH + "late")
    assert client.answer()[0] == 200
    assert gate.said(2) == ["sent", "complete"]


def test_a_stop_while_a_verdict_is_awaited_refuses_the_request(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    client.ask(PATH + "never")
    until(lambda: len(gate.table.flows()) == 1, "it waits")
    gate.stop(TARGET)
    assert client.answer()[0] == 503
    assert gate.said(1) == ["stopped"]
    assert upstream.visits == []


def test_a_client_that_goes_away_meanwhile_withdraws_the_question(gate: Gate) -> None:
    client = gate.client()
    client.ask(PATH + "never")
    until(lambda: len(gate.table.flows()) == 1, "it waits")
    client.close()
    assert gate.said(1) == ["client"]
    until(lambda: gate.table.flows() == [], "it is struck off")


def test_DEC_6_steps_are_held_by_stops_of_their_own_and_by_restrict(gate: Gate) -> None:
    client = gate.client()

    def held() -> bytes:
        client.ask(PATH + "held")
        return client.answer()[2]

    assert held() == b"None "
    gate.word(f"{TARGET}/tools", Level.KILL)
    assert held() == b"None tools"
    gate.word(f"{TARGET}/writes", Level.RESTRICT)
    assert held() == b"None tools,writes"
    gate.word(f"{TARGET}/tools", None)
    assert held() == b"None writes"
    gate.word(TARGET, Level.RESTRICT)
    assert held() == b"1 sessions,writes"
    gate.word(TARGET, None)
    gate.word(f"{TARGET}/writes", None)
    assert held() == b"None "
