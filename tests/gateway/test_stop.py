"""A stop ends what is in flight: upstream first, then the client, in words that it can read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from gate import Client, Gate, upstream_at
from installation import until
from offswitch.gateway.plan.front import Limits
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level
from scale import LONG
from scripted_upstream import ScriptedUpstream, Visit

TARGET = "shop/eu/checkout"
ENDING = b'data: {"error": "stopped"}\n\n'


def talker(every: float = 0.002) -> Callable[[Visit], None]:
    """Stream events until the gateway goes away."""

    def script(visit: Visit) -> None:
        visit.begin()
        while True:
            visit.event(f"token at {time.monotonic_ns()}")
            time.sleep(every)

    return script


def silent(visit: Visit) -> None:
    """Begin a stream, say one thing, and think."""
    visit.begin()
    visit.event("one")
    visit.gone(30)


def wordless(visit: Visit) -> None:
    """Take a request, and say nothing at all."""
    visit.gone(30)


def test_ACT_4_a_stream_is_cut_and_ends_in_its_apis_words(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = talker()
    client = gate.client()
    client.ask()
    client.until(b"token")
    turn = gate.stop(TARGET)
    body, how = client.rest()
    assert body.endswith(b"%x\r\n%b\r\n0\r\n\r\n" % (len(ENDING), ENDING))
    assert how == "closed"
    assert upstream.visit().gone() == "reset"
    gate.swept(turn)
    assert gate.table.flows() == []
    assert gate.table.cut(gate.slots[TARGET]) > 0


def test_ACT_4_a_chunk_that_comes_after_the_word_is_not_passed_on_though_nobody_was_woken(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    go = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("before")
        go.wait(10)
        visit.event("after")

    upstream.script = script
    client = gate.client()
    client.ask()
    client.until(b"before\n\n\r\n")
    gate.word(TARGET, Level.KILL)
    go.set()
    body, _ = client.rest()
    assert b"after" not in body
    assert body.endswith(b"0\r\n\r\n")


def test_ACT_4_a_silent_stream_is_cut_by_the_sweep(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = silent
    client = gate.client()
    client.ask()
    client.until(b"one\n\n\r\n")
    started = time.monotonic()
    turn = gate.stop(TARGET)
    body, how = client.rest()
    assert ENDING in body
    assert how == "closed"
    assert time.monotonic() - started < (0.5 if LONG else 5)
    assert upstream.visit().gone() == "reset"
    gate.swept(turn)


def test_a_request_whose_answer_has_not_begun_is_refused(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = wordless
    client = gate.client()
    client.ask()
    upstream.visit()
    gate.stop(TARGET)
    status, headers, body = client.answer()
    assert status == 503
    assert headers[b"x-should-retry"] == b"false"
    assert b'"level": "kill"' in body
    assert upstream.visit().gone() == "reset"


def test_ACT_4_what_is_new_is_refused_until_the_word_allows_it(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    gate.word(TARGET, Level.KILL)
    for _ in range(3):
        client.ask()
        assert client.answer()[0] == 503
    assert upstream.visits == []
    gate.release(TARGET)
    client.ask()
    assert client.answer()[0] == 200


@pytest.mark.parametrize("level", [Level.DRAIN, Level.FREEZE, Level.KILL, Level.POWEROFF])
def test_ACT_1_from_drain_on_nothing_new_begins(gate: Gate, level: Level) -> None:
    gate.word(TARGET, level)
    client = gate.client()
    client.ask()
    assert client.answer()[0] == 503


def test_ACT_1_at_drain_and_below_what_is_in_flight_may_end(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    go = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        go.wait(10)
        visit.event("two")
        visit.finish()

    upstream.script = script
    client = gate.client()
    client.ask()
    client.until(b"one\n\n\r\n")
    gate.swept(gate.stop(TARGET, Level.DRAIN))
    go.set()
    assert client.chunks() == [b"data: two\n\n"]


def test_ACT_1_a_frozen_stream_says_nothing_and_goes_on_where_it_was(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    count = iter(range(1_000_000))

    def script(visit: Visit) -> None:
        visit.begin()
        while next_one := next(count) + 1:
            visit.event(f"<{next_one}>")
            if next_one == 200:
                visit.finish()
                return
            time.sleep(0.001)

    upstream.script = script
    client = gate.client()
    client.ask()
    body = client.until(b"<20>\n\n\r\n")
    gate.swept(gate.stop(TARGET, Level.FREEZE))
    until(lambda: client.quiet() or not client.sock.recv_into(bytearray(0)), "it freezes")
    gate.release(TARGET)
    body += client.until(b"0\r\n\r\n")
    assert [body.count(b"<%d>" % number) for number in range(1, 201)] == [1] * 200


def test_ACT_1_a_frozen_stream_can_be_killed(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = talker()
    client = gate.client()
    client.ask()
    client.until(b"token")
    gate.swept(gate.stop(TARGET, Level.FREEZE))
    gate.stop(TARGET)
    assert client.rest()[0].endswith(b"0\r\n\r\n")
    assert upstream.visit().gone() == "reset"


def test_ACT_6_a_stale_lease_cuts_and_refuses(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = silent
    client = gate.client()
    client.ask()
    client.until(b"one\n\n\r\n")
    gate.page.renew(0.05)
    started = time.monotonic()
    body, _ = client.rest()
    assert b'"error": "no-lease"' in body
    assert time.monotonic() - started < 0.05 + (0.25 if LONG else 5)
    other = gate.client()
    other.ask()
    assert other.answer()[0] == 503
    gate.page.renew(60)
    upstream.script = lambda visit: visit.answer(b"{}")
    third = gate.client()
    third.ask()
    assert third.answer()[0] == 200


def test_DEC_5_only_streams_of_the_stopped_target_end(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream
) -> None:
    names = ("shop/a", "shop/b", "other")
    routes = [
        Route(name, upstream_at(upstream.port), path=f"/{number}/".encode())
        for number, name in enumerate(names)
    ]
    gate = gate_of(*routes)
    upstream.script = talker()
    clients: dict[str, Client] = {}
    for number, name in enumerate(names):
        clients[name] = gate.client()
        clients[name].ask(f"/{number}/chat")
        clients[name].until(b"token")
    turn = gate.stop("shop/a")
    assert clients["shop/a"].rest()[0].endswith(b"0\r\n\r\n")
    gate.swept(turn)
    for name in names[1:]:
        clients[name].got = b""
        clients[name].until(b"token")
    assert {flow.slot for flow in gate.table.flows()} == {gate.slots[name] for name in names[1:]}


def test_a_slow_readers_bytes_are_thrown_away(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        while True:
            visit.event("x" * 4000)

    upstream.script = script
    client = gate.client(receive=4096)
    client.ask()
    until(lambda: len(gate.table.flows()) == 1, "it streams")
    time.sleep(0.3)  # until everything between is full
    turn = gate.stop(TARGET)
    gate.swept(turn)
    until(lambda: gate.table.flows() == [], "its sockets are closed", 1)
    assert client.rest()[1] == "reset"
    assert len(client.got) < 400_000


def test_the_probe_tells_what_the_word_says(gate: Gate) -> None:
    client = gate.client()
    ask = b"GET /.offswitch/probe HTTP/1.1\r\nhost: x\r\nx-offswitch-target: %b\r\n\r\n"
    client.send(ask % TARGET.encode())
    assert client.answer()[::2] == (200, b"open\n")
    gate.word(TARGET, Level.KILL)
    client.send(ask % TARGET.encode())
    assert client.answer()[::2] == (503, b"latched\n")
    client.send(ask % b"nobody")
    assert client.answer()[0] == 404


def test_a_client_that_goes_away_ends_the_request_upstream(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = talker()
    client = gate.client()
    client.ask()
    client.until(b"token")
    client.close()
    assert upstream.visit().gone() == "reset"
    until(lambda: gate.table.flows() == [], "the flow is struck off")


def test_an_upstream_that_breaks_off_is_told_to_the_client(
    gate_of: Callable[..., Gate], own_upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        visit.end()

    upstream = own_upstream
    upstream.script = script
    gate = gate_of(Route(TARGET, upstream_at(upstream.port)), limits=Limits(connect_s=1))
    client = gate.client()
    client.ask()
    assert client.answer()[2] == b'data: one\n\ndata: {"error": "upstream"}\n\n'
    upstream.close()
    other = gate.client()
    other.ask()
    assert other.answer()[0] == 502


def test_what_only_ends_something_is_never_held_back(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    gate.word(TARGET, Level.KILL)
    client = gate.client()
    client.send(b"DELETE /v1/sessions/7 HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert client.answer()[0] == 200
    assert upstream.visit().line.startswith(b"DELETE")
    client.ask()
    assert client.answer()[0] == 503


def test_a_stop_ends_many_streams_and_each_well(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = talker(0.02)
    clients = [gate.client() for _ in range(100)]
    for client in clients:
        client.ask()
    for client in clients:
        client.until(b"token")
    before = gate.table.cut(gate.slots[TARGET])
    turn = gate.stop(TARGET)
    gate.swept(turn)
    assert gate.table.flows() == []
    for client in clients:
        body, how = client.rest()
        assert how == "closed"
        assert body.endswith(ENDING + b"\r\n0\r\n\r\n")
    assert {upstream.visit(number).gone() for number in range(100)} == {"reset"}
    assert gate.table.cut(gate.slots[TARGET]) - before == 100


def test_a_half_sent_head_and_what_was_sent_ahead_are_refused(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = silent
    half, ahead = gate.client(), gate.client()
    half.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: ga")
    ahead.ask()
    ahead.ask()
    ahead.until(b"one\n\n\r\n")
    gate.swept(gate.stop(TARGET))
    half.send(b"te\r\ncontent-length: 2\r\n\r\n{}")
    assert half.answer()[0] == 503
    body, _ = ahead.rest()
    assert body.endswith(ENDING + b"\r\n0\r\n\r\n"), "and nothing of a second answer"
    assert len(upstream.visits) == 1


def test_an_event_that_came_in_part_is_not_passed_on_in_part(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        visit.chunk(b"data: {begun")
        visit.send(b"40\r\ndata: of which only a part comes")
        visit.gone(30)

    upstream.script = script
    client = gate.client()
    client.ask()
    client.until(b"one\n\n\r\n")
    time.sleep(0.05)
    gate.stop(TARGET)
    assert client.chunks() == [ENDING]


def test_an_answer_that_is_no_stream_of_events_is_broken_off(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.begin("application/octet-stream")
        visit.chunk(b"x" * 100)
        visit.gone(30)

    upstream.script = script
    client = gate.client()
    client.ask()
    client.until(b"x" * 100)
    gate.stop(TARGET)
    body, how = client.rest()
    assert b"0\r\n\r\n" not in body, "nobody takes it for the whole"
    assert how == "reset"


def test_an_upload_is_cut_too(gate: Gate, upstream: ScriptedUpstream) -> None:
    client = gate.client()
    client.send(b"POST /upload HTTP/1.1\r\nhost: gate\r\ncontent-length: 1000000\r\n\r\n")
    client.send(b"x" * 1000)
    until(lambda: len(gate.table.flows()) == 1, "it goes on as it comes")
    gate.stop(TARGET)
    assert client.answer()[0] == 503
    until(lambda: gate.table.flows() == [], "it is struck off")


def test_SEC_4_a_thousand_stops_a_second_upset_nothing(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream
) -> None:
    names = ("a", "b")
    routes = [Route(name, upstream_at(upstream.port), path=f"/{name}/".encode()) for name in names]
    gate = gate_of(*routes)
    upstream.script = talker()
    client = gate.client()
    client.ask("/b/chat")
    client.until(b"token")
    for number in range(1000):
        gate.stop("a", Level.KILL if number % 2 else Level.FREEZE)
        if number % 100 == 99:
            time.sleep(0.01)
    gate.swept(gate.turn)
    client.got = b""
    client.until(b"token")
    refused = gate.client()
    refused.ask("/a/chat")
    assert refused.answer()[0] == 503


def test_ACT_1_an_upload_that_was_frozen_goes_on_where_it_was(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    client.send(b"POST /upload HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n")
    client.send(b"3\r\none\r\n")
    until(
        lambda: any(flow.upstream is not None for flow in gate.table.flows()),
        "it goes on as it comes",
    )
    gate.word(TARGET, Level.FREEZE)
    client.send(b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")
    time.sleep(0.15)
    assert upstream.visits == []
    gate.release(TARGET)
    assert client.answer()[0] == 200
    assert upstream.visit().body == b"onetwothree"
