"""What the upstream gets to see of a request: ours, and what the client may say (SR-26)."""

from __future__ import annotations

from offswitch.gateway.exchange import Head
from offswitch.gateway.plan.route import EvidenceKind
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.wire.emit import emit
from offswitch.gateway.wire.strict import CHUNKED

KEYED = Upstream("models.example", 443, tls=True, prefix=b"/api", key=b"ours")
OPEN = Upstream("::1", 8000)
CHAT = Head(
    b"POST",
    b"/v1/chat/completions",
    [
        (b"host", b"gateway"),
        (b"authorization", b"Bearer theirs"),
        (b"accept-encoding", b"gzip"),
        (b"content-type", b"application/json"),
        (b"x-offswitch-target", b"a/b"),
    ],
)


def test_SR_26_the_upstream_sees_our_key_and_never_the_clients() -> None:
    written = emit(CHAT, KEYED, 3)
    assert b"theirs" not in written
    assert written.startswith(b"POST /api/v1/chat/completions HTTP/1.1\r\nhost: models.example\r\n")
    assert b"\r\nauthorization: Bearer ours\r\n" in written
    for name in (b"x-api-key", b"api-key", b"x-goog-api-key"):
        shown = Head(b"POST", b"/", [(b"anthropic-version", b"1"), (name, b"theirs")])
        assert b"\r\nx-api-key: ours\r\n" in emit(shown, KEYED, 0)
        assert b"theirs" not in emit(shown, KEYED, 0)


def test_without_a_key_of_ours_the_clients_goes_on() -> None:
    written = emit(CHAT, OPEN, 3)
    assert b"\r\nauthorization: Bearer theirs\r\n" in written
    assert b"\r\nhost: [::1]:8000\r\n" in written


def test_answers_are_asked_for_uncompressed_and_our_own_header_stays_here() -> None:
    written = emit(CHAT, OPEN, CHUNKED)
    assert b"gzip" not in written
    assert b"x-offswitch" not in written
    assert written.endswith(b"transfer-encoding: chunked\r\naccept-encoding: identity\r\n\r\n")


def test_what_a_steward_changed_takes_the_place_of_what_was_there() -> None:
    written = emit(CHAT, OPEN, 3, instead=[(b"content-type", b"text/x"), (b"x-new", b"1")])
    assert written.count(b"content-type") == 1
    assert b"\r\ncontent-type: text/x\r\nx-new: 1\r\n" in written


def test_a_websocket_is_asked_for_as_one() -> None:
    written = emit(Head(b"GET", b"/v1/realtime", []), OPEN, 0, websocket=True)
    assert written.endswith(b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n")
    assert b"content-length" not in written


def test_VER_6_a_header_by_which_a_server_would_write_on_for_nobody_stays_here() -> None:
    head = Head(b"POST", b"/", [(b"x-conversation-id", b"c-1"), (b"x-other", b"1")])
    withheld = EvidenceKind.LLAMA_CPP.withheld
    assert b"conversation" not in emit(head, OPEN, 0, without=withheld)
    assert b"\r\nx-other: 1\r\n" in emit(head, OPEN, 0, without=withheld)
    assert b"x-conversation-id: c-1" in emit(head, OPEN, 0, without=EvidenceKind.VLLM.withheld)
