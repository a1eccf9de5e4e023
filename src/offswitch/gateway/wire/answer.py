"""The head of an answer: read into values, what is between two hops left out, and written anew.

The body passes unchanged. Its framing does too, unless the client knows no chunks, or the answer
ends with the upstream's connection: then it is put in chunks, so that the client can tell an end
from a break.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from offswitch.gateway.exchange import Reply
from offswitch.gateway.wire.bodies import Body, Chunked, Counted, UntilClose
from offswitch.gateway.wire.rules import Refusal
from offswitch.gateway.wire.strict import fields

__all__ = ["MOST_HEAD", "Answer", "read_answer", "reply_head"]

MOST_HEAD = 64 << 10
"""Bytes of an answer's head."""
_MOST_FIELDS = 200
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_TEXT = bytes([*range(0x20, 0x7F), 0x09, *range(0x80, 0x100)])
_LENGTH = re.compile(rb"[0-9]{1,15}")
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_READ = _HOP | {b"content-length", b"content-type", b"content-encoding"}
_NO_BODY = frozenset({204, 304})


@dataclass(slots=True)
class Answer:
    """An answer has begun: its head is there. Not frozen, which takes longer than all the rest."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case; length and coding are in `body`, and what is hop-by-hop is left out."""
    body: Body
    keep: bool
    """Whether the upstream will take another request on this connection."""
    length: int | None
    """What Content-Length says, though there may be no body (HEAD)."""
    bodiless: bool
    """There is no body whatever the headers say."""
    events: bool
    """It is a stream of events that can be read."""

    def head(self, *, chunked: bool, counted: bool, close: bool) -> bytes:
        """Write it anew."""
        parts = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)]
        parts += [b"%b: %b\r\n" % field for field in self.headers]
        if chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        elif counted and self.length is not None:
            parts.append(b"content-length: %d\r\n" % self.length)
        parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        return b"".join(parts)


def read_answer(data: bytes, method: bytes) -> Answer:
    """Read a head: all before its empty line, without it. Raises `Refusal`, a 502."""
    lines = data.split(b"\r\n")
    status_line = _STATUS.fullmatch(lines[0])
    if not status_line or len(data.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        raise Refusal(502, "the answer is not HTTP/1.1")
    minor, code, reason = status_line.groups()
    status = int(code)
    kept = []
    seen: dict[bytes, bytes] = {}
    try:
        for field in fields(lines[1:], _MOST_FIELDS):
            name, value = field
            if name in _READ:
                seen[name] = seen[name] + b"," + value if name in seen else value
                if name in _HOP or name == b"content-length":
                    continue
            kept.append(field)
    except Refusal as refusal:
        raise Refusal(502, refusal.text) from None
    options = _options(seen.get(b"connection", b""))
    if options - {b"close", b"keep-alive"}:
        kept = [field for field in kept if field[0] not in options]
    length = _length(seen.get(b"content-length"))
    bodiless = method == b"HEAD" or status in _NO_BODY or status < HTTPStatus.OK
    if minor == b"0" and b"transfer-encoding" in seen:
        raise Refusal(502, "the answer's framing can be read in two ways")
    body = _body(seen.get(b"transfer-encoding"), length)
    if bodiless:
        body = Counted(0)
    keep = b"close" not in options if minor == b"1" else b"keep-alive" in options
    kind = seen.get(b"content-type", b"").partition(b";")[0].strip().lower()
    encoding = seen.get(b"content-encoding", b"identity").lower()
    return Answer(
        status,
        reason or b"",
        kept,
        body,
        keep and not isinstance(body, UntilClose),
        length,
        bodiless,
        kind == b"text/event-stream" and encoding == b"identity" and not bodiless,
    )


def _options(value: bytes) -> frozenset[bytes]:
    if not value:
        return frozenset()
    return frozenset(part.strip(b" \t") for part in value.lower().split(b","))


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    first, *others = (part.strip(b" \t") for part in value.split(b","))
    if not _LENGTH.fullmatch(first) or any(each != first for each in others):
        raise Refusal(502, "the answer's Content-Length is not one plain number")
    return int(first)


def _body(coding: bytes | None, length: int | None) -> Body:
    """Say how the body is framed, where that can be said in one way only (RFC 9112, 6.3)."""
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise Refusal(502, "the answer's framing can be read in two ways")
        return Chunked()
    return UntilClose() if length is None else Counted(length)


def reply_head(reply: Reply, *, close: bool) -> bytes:
    """Write the head of an answer of our own."""
    try:
        reason = HTTPStatus(reply.status).phrase.encode()
    except ValueError:
        reason = b""
    parts = [b"HTTP/1.1 %d %b\r\n" % (reply.status, reason)]
    parts += [b"%b: %b\r\n" % field for field in reply.headers]
    if reply.status not in _NO_BODY:
        parts.append(b"content-length: %d\r\n" % len(reply.body))
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(parts)
