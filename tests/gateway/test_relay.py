"""What passes through the gateway arrives as it was sent, both ways."""

from __future__ import annotations

import pytest

from gate import Gate
from scripted_upstream import ScriptedUpstream, Visit


def test_a_small_answer_arrives_and_the_connection_serves_the_next(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    for number in range(3):
        client.ask(body=b'{"n": %d}' % number)
        status, headers, body = client.answer()
        assert (status, body) == (200, b'{"ok": true}')
        assert headers[b"content-type"] == b"application/json"
        assert upstream.visits[number].body == b'{"n": %d}' % number
    assert upstream.visits[0].sock is upstream.visits[2].sock, "one connection behind, too"


def test_a_stream_arrives_chunk_by_chunk(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        for number in range(200):
            visit.event(f"token {number}")
        visit.finish()

    upstream.script = script
    client = gate.client()
    for _ in range(2):
        client.ask()
        status, headers, body = client.answer()
        assert (status, headers[b"content-type"]) == (200, b"text/event-stream")
        assert body == b"".join(b"data: token %d\n\n" % number for number in range(200))


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
@pytest.mark.parametrize("how", ["counted", "chunked"])
def test_a_body_of_any_size_arrives(
    gate: Gate, upstream: ScriptedUpstream, size: int, how: str
) -> None:
    whole = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    def script(visit: Visit) -> None:
        if how == "chunked":
            visit.begin("application/octet-stream")
            for at in range(0, size, 50_000):
                visit.chunk(whole[at : at + 50_000])
            visit.finish()
        else:
            visit.answer(whole, "application/octet-stream")

    upstream.script = script
    client = gate.client()
    client.send(b"GET /file HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert client.answer()[2] == whole
