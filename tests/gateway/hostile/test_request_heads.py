"""What is no request here: the published ways to smuggle one, each with a clear answer (SEC-4)."""

from __future__ import annotations

import pytest

from offswitch.gateway.wire.request import END, Event, Requests
from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.strict import CHUNKED, Begun

GOOD = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


def events(data: bytes, rules: Rules | None = None) -> list[Event]:
    """Give what one feed and all pipelined requests behind it give, pieces of bodies joined."""
    parser = Requests(rules or Rules())
    found: list[Event] = []
    more = parser.feed(data)
    while more:
        for event in more:
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
        more = parser.go_on()
    return found


def begun(data: bytes, rules: Rules | None = None) -> Begun:
    first = events(data, rules)[0]
    assert isinstance(first, Begun), first
    return first


def refusal(data: bytes, rules: Rules | None = None) -> int:
    last = events(data, rules)[-1]
    assert isinstance(last, Refusal), last
    return last.status


REFUSED = {
    "CL.TE": (400, GOOD + b"Content-Length: 6\r\n" + TE + b"\r\n0\r\n\r\nG"),
    "TE.CL": (400, GOOD + TE + b"Content-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n"),
    "TE twice": (400, GOOD + TE + TE + b"\r\n0\r\n\r\n"),
    "TE.TE, cow": (400, GOOD + TE + b"Transfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
    "xchunked": (501, GOOD + b"Transfer-Encoding: xchunked\r\n\r\n"),
    "identity": (501, GOOD + b"Transfer-Encoding: identity\r\n\r\n"),
    "chunked, identity": (501, GOOD + b"Transfer-Encoding: chunked, identity\r\n\r\n"),
    "gzip, chunked": (501, GOOD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunked with another case": (501, GOOD + b"Transfer-Encoding: Chunked\r\n\r\n"),
    "quoted coding": (501, GOOD + b'Transfer-Encoding: "chunked"\r\n\r\n'),
    "coding behind VT": (400, GOOD + b"Transfer-Encoding: \x0bchunked\r\n\r\n"),
    "coding behind NUL": (400, GOOD + b"Transfer-Encoding: \x00chunked\r\n\r\n"),
    "coding on a folded line": (400, GOOD + b"Transfer-Encoding:\r\n chunked\r\n\r\n"),
    "blank before the colon": (400, GOOD + b"Transfer-Encoding : chunked\r\n\r\n"),
    "tab before the colon": (400, GOOD + b"Transfer-Encoding\t: chunked\r\n\r\n"),
    "blank before the name": (400, b"POST / HTTP/1.1\r\n Host: a\r\n\r\n"),
    "folded header": (400, GOOD + b"X: a\r\n b\r\n\r\n"),
    "coding behind a bare LF": (400, GOOD + b"X: a\nTransfer-Encoding: chunked\r\n\r\n"),
    "coding behind a bare CR": (400, GOOD + b"X: a\rTransfer-Encoding: chunked\r\n\r\n"),
    "all lines end in LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "an underscore for a hyphen": (400, GOOD + b"Transfer_Encoding: chunked\r\n\r\n"),
    "a length with an underscore": (400, GOOD + b"Content_Length: 3\r\n\r\n"),
    "coding in HTTP/1.0": (400, b"POST / HTTP/1.0\r\n" + TE + b"\r\n0\r\n\r\n"),
    "no colon": (400, GOOD + b"Transfer-Encoding\r\n\r\n"),
    "empty name": (400, GOOD + b": chunked\r\n\r\n"),
    "two lengths": (400, GOOD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "two equal lengths": (400, GOOD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a list of lengths": (400, GOOD + b"Content-Length: 3, 3\r\n\r\nabc"),
    "+3": (400, GOOD + b"Content-Length: +3\r\n\r\nabc"),
    "-1": (400, GOOD + b"Content-Length: -1\r\n\r\n"),
    "3 3": (400, GOOD + b"Content-Length: 3 3\r\n\r\nabc"),
    "0x3": (400, GOOD + b"Content-Length: 0x3\r\n\r\nabc"),
    "03": (400, GOOD + b"Content-Length: 03\r\n\r\nabc"),
    "3.0": (400, GOOD + b"Content-Length: 3.0\r\n\r\nabc"),
    "1_0": (400, GOOD + b"Content-Length: 1_0\r\n\r\nabc"),
    "a length of other digits": (400, GOOD + "Content-Length: ٣\r\n\r\n".encode()),
    "a length beyond all bounds": (400, GOOD + b"Content-Length: 18446744073709551617\r\n\r\n"),
    "no length": (400, GOOD + b"Content-Length:\r\n\r\n"),
    "GET with a body": (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET "),
    "GET with chunks": (400, b"GET / HTTP/1.1\r\nHost: a\r\n" + TE + b"\r\n0\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "a Host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "a Host with a user": (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "an empty Host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "another host than Host": (400, b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a user in the target": (400, b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another scheme": (400, b"GET file://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a name as target": (400, b"GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "OPTIONS *": (400, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (405, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "TRACE": (405, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an unknown method": (501, b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method in lower case": (501, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two blanks": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a tab for a blank": (400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a blank at the end": (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    "HTTP/2's preface": (501, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http/1.1": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "an empty line first": (400, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01"),
    "dot segments": (400, b"GET /v1/../admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a dot segment at the end": (400, b"GET /v1/.. HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a single dot": (400, b"GET /./v1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an empty segment": (400, b"GET //v1/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an encoded dot": (400, b"GET /v1/%2e%2e/admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    "half an encoded dot": (400, b"GET /v1/.%2E/admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an encoded slash": (400, b"GET /v1%2fx HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an encoded letter": (400, b"GET /v1/chat/completion%73 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "encoded twice": (400, b"GET /v1/%252e HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an encoded NUL": (400, b"GET /v1/%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an encoded backslash": (400, b"GET /v1/%5c.. HTTP/1.1\r\nHost: a\r\n\r\n"),
    "half an encoding": (400, b"GET /v1/%4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "dot segments in a model": (400, b"GET /v1/models/a%2F..%2F..%2Fx HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a parameter in the path": (400, b"GET /v1;a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a backslash": (400, b"GET /v1\\x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a fragment": (400, b"GET /v1#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "other letters in the path": (400, "GET /v1/ä HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    "an unknown upgrade": (501, GOOD + b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n"),
    "a websocket by POST": (400, GOOD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "another expectation": (417, GOOD + b"Expect: 200-ok\r\n\r\n"),
    "Connection names Host": (400, GOOD + b"Connection: close, Host\r\n\r\n"),
    "Connection names the key": (400, GOOD + b"Connection: authorization\r\n\r\n"),
    "Connection names the length": (400, GOOD + b"Connection: content-length\r\n\r\n"),
    "two keys": (400, GOOD + b"Authorization: Bearer a\r\nX-Api-Key: b\r\n\r\n"),
    "two authorizations": (400, GOOD + b"Authorization: Bearer a\r\n" * 2 + b"\r\n"),
    "a name that is not ASCII": (400, GOOD + "Ünsinn: 1\r\n\r\n".encode()),
    "DEL in a value": (400, GOOD + b"X: a\x7fb\r\n\r\n"),
    "too many fields": (431, GOOD + b"X: a\r\n" * 200 + b"\r\n"),
    "too long a head": (431, GOOD + b"X: " + b"a" * (70 << 10)),
    "too long a target": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_SEC_4_what_can_be_read_in_two_ways_is_refused(case: str) -> None:
    status, data = REFUSED[case]
    assert refusal(data) == status


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhel\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\t;x\r\nhello\r\n0\r\n\r\n",
        b"5;x=\ny\r\nhello\r\n0\r\n\r\n",
        b"5;x\ry\r\nhello\r\n0\r\n\r\n",
        b"5;\x00\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b";x\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"5;" + b"x" * 2000,
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 20000,
    ],
    ids=lambda body: repr(bytes(body[:24])),
)
def test_SEC_4_a_chunk_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    assert refusal(GOOD + TE + b"\r\n" + body) == 400


def test_chunks_are_put_together_without_extensions_and_trailers() -> None:
    chunks = b'5\r\nhello\r\n00A;a=b;c="d"\r\n, offswitc\r\n1\r\nh\r\n0;x\r\nTrailer: x\r\n\r\n'
    head, body, end = events(GOOD + TE + b"\r\n" + chunks)
    assert isinstance(head, Begun)
    assert head.framing == CHUNKED
    assert body == b"hello, offswitch"
    assert end is END


def test_what_is_between_two_hops_goes_no_further() -> None:
    named = b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
    hearsay = b"X-Forwarded-For: 10.0.0.1\r\nForwarded: for=x\r\nX-Real-IP: y\r\n"
    head = begun(GOOD + named + hearsay + b"X-Stays: a\r\n\r\n").head
    assert head.headers == [(b"host", b"a"), (b"x-stays", b"a")]


def test_an_address_of_the_host_itself_is_read_as_its_path() -> None:
    head = begun(b"GET http://A:80/v1/x?y=1 HTTP/1.1\r\nHost: a:80\r\n\r\n").head
    assert head.target == b"/v1/x?y=1"


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False),
    ],
)
def test_who_wants_to_stay_is_told(head: bytes, *, keep: bool) -> None:
    assert begun(head).keep is keep


def test_a_websocket_is_told_and_http_2_in_clear_is_declined() -> None:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: WebSocket\r\n"
    assert begun(ask + key + b"Sec-WebSocket-Version: 13\r\n\r\n").websocket
    assert refusal(ask + key + b"Sec-WebSocket-Version: 8\r\n\r\n") == 426
    assert refusal(ask + b"Sec-WebSocket-Version: 13\r\n\r\n") == 400
    java = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    declined = begun(GOOD + java)
    assert not declined.websocket
    assert declined.head.headers == [(b"host", b"a")]


def test_who_waits_for_leave_to_send_is_told() -> None:
    assert begun(GOOD + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n").expects
    assert not begun(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects


def test_ACT_1_a_path_fits_the_same_routes_encoded_or_not() -> None:
    asks = b"GET /v1/a%20b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert begun(asks, Rules(paths=(b"/", b"/v1/", b"/v1/chat/completions"))).head
    assert refusal(asks, Rules(paths=(b"/v1/a b",))) == 400
    assert refusal(asks.replace(b"a%20b", b"a%3Ab"), Rules(paths=(b"/v1/a:b",))) == 400
    model = b"GET /v1/models/org%2Fname HTTP/1.1\r\nHost: a\r\n\r\n"
    assert begun(model).head.target == b"/v1/models/org%2Fname"
    assert begun(model, Rules(paths=(b"/v1/models/", b"/v1/chat/completions"))).head
    assert refusal(model, Rules(paths=(b"/v1/models/org/",))) == 400


def test_ACT_1_what_a_route_looks_at_is_there_once() -> None:
    rules = Rules(once=Rules().once | {b"x-tenant"})
    assert refusal(GOOD + b"X-Tenant: a\r\nX-Tenant: b\r\n\r\n", rules) == 400
    assert refusal(GOOD + b"X_Tenant: a\r\n\r\n", rules) == 400
    assert refusal(GOOD + b"Connection: x-tenant\r\nX-Tenant: a\r\n\r\n", rules) == 400


def test_pipelined_requests_come_one_by_one() -> None:
    parser = Requests(Rules())
    one = GOOD + b"Content-Length: 2\r\n\r\nab"
    first = parser.feed(one + one.replace(b"ab", b"cd") + GOOD)
    assert first[1:] == [b"ab", END]
    assert parser.waiting
    assert parser.feed(b"\r\n") == []
    assert parser.go_on()[1:] == [b"cd", END]
    assert parser.go_on()[1:] == [END]
    assert parser.go_on() == []
    assert parser.idle


def test_after_a_refusal_nothing_comes_any_more() -> None:
    parser = Requests(Rules())
    (refused,) = parser.feed(b"GET /../ HTTP/1.1\r\nHost: a\r\n\r\n" + GOOD + b"\r\n")
    assert isinstance(refused, Refusal)
    assert parser.feed(GOOD + b"\r\n") == []
    assert parser.go_on() == []
