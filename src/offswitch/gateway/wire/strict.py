"""A request's head, read strictly: what two readers could read in two ways is refused.

Smuggling lives where the one in front and the one behind disagree on what a request is. So there
is one grammar here, RFC 9112 without anything that it merely tolerates, and nothing of the client's
own bytes goes on: the head is read into values and written anew (`emit`). Refused, with a reason:

    lines that end in a bare CR or LF, folded lines, blanks around a name, control characters
    Content-Length with Transfer-Encoding, either of them twice, any length but plain digits,
    any coding but `chunked`, codings or bodies where none belong (HTTP/1.0; GET, HEAD, OPTIONS)
    no Host, two, or one that is not the target's; dot segments, empty segments, encoded slashes
    two keys that differ, names that another server would take for one of those (`content_length`)

The grammar is ours rather than llhttp's, which is lenient in several of these and costs twice as
much for each head. That both llhttp and h11 read what we take as we do is what the tests show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from offswitch.gateway.exchange import Head
from offswitch.gateway.wire.rules import Refusal, Rules

__all__ = ["CHUNKED", "Begun", "fields", "read_head"]

CHUNKED = -1
"""The framing of a body whose length is told piece by piece; else its length in bytes."""

_DIGITS = b"0123456789"
_ALPHA = bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B))
_TOKEN = b"!#$%&'*+-.^_`|~" + _DIGITS + _ALPHA
_TEXT = bytes([*range(0x20, 0x7F), 0x09, *range(0x80, 0x100)])
_UNRESERVED = b"-._~" + _DIGITS + _ALPHA
_PATH = _UNRESERVED + b"!$&'()*+,=:@/%"
_QUERY = _PATH + b"?;[]|"
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^#]*)")
_HALF_ENCODED = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NEEDLESS = re.compile(rb"%(?:[46][1-9A-F]|[57][0-9A]|3[0-9]|2[DE]|5F|7E)", re.IGNORECASE)
_NEVER = re.compile(rb"%(?:[01].|7F|25|5C|3B)", re.IGNORECASE)
_WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_METHODS = {
    name: name for name in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
}
_BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_LISTS = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"forwarded"})
_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # What a client says of where it came from is hearsay.
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
_USUAL = (
    *("Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Authorization"),
    *("Connection", "Content-Length", "Content-Type", "Cookie", "Expect", "Origin", "Referer"),
    *("Transfer-Encoding", "X-Api-Key", "X-Request-Id", "Anthropic-Version", "Mcp-Session-Id"),
    *("X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS", "X-Stainless-Arch"),
    *("X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Async"),
    *("x-stainless-retry-count", "x-stainless-read-timeout", "Mcp-Protocol-Version"),
)
_NAMES = {form.encode(): name.lower().encode() for name in _USUAL for form in (name, name.lower())}
"""Names as they usually come: known good, and what they are in lower case."""


_MOST_SEEN, _LONGEST_SEEN = 1024, 128
_SECRET = frozenset(
    {
        *(b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"proxy-authorization"),
        *(
            b"cookie",
            b"set-cookie",
            b"mcp-session-id",
            b"sec-websocket-key",
            b"sec-websocket-accept",
        ),
    }
)
"""What is not kept for longer than a request takes."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A request has begun: its head is there."""

    head: Head
    framing: int
    """`CHUNKED`, or the length of the body in bytes; 0: none."""
    minor: int
    """Of HTTP/1.x: 0 or 1. A client of 1.0 knows no chunks."""
    keep: bool
    """Whether more requests may come on this connection; in HTTP/1.0 none do."""
    expects: bool
    """Whether it waits for `100 Continue` before it sends the body."""
    websocket: bool
    """Whether it asks for a websocket, rightly."""


def fields(lines: list[bytes], most: int) -> list[tuple[bytes, bytes]]:
    """Read field lines (no ends of lines in them); names in lower case, values stripped."""
    if len(lines) > most:
        raise Refusal(431, f"more than {most} header fields")
    return [_seen(line) or _field(line) for line in lines]


_SEEN: dict[bytes, tuple[bytes, bytes]] = {}
"""Lines that were read before, and what they say: most clients and servers repeat themselves."""
_seen = _SEEN.get


def _field(line: bytes) -> tuple[bytes, bytes]:
    """Read a line for the first time."""
    name, colon, value = line.partition(b":")
    lower = _NAMES.get(name)
    if lower is None:
        if not name or name.translate(None, _TOKEN):
            raise Refusal(400, "a header's name is empty, folded or has a blank in it")
        lower = name.lower()
    if not colon:
        raise Refusal(400, "a header line has no colon")
    field = (lower, value.strip(b" \t"))
    if len(line) <= _LONGEST_SEEN and lower not in _SECRET:
        if len(_SEEN) >= _MOST_SEEN:
            _SEEN.clear()  # somebody says ever new things: begin anew
        _SEEN[line] = field
    return field


def read_head(data: bytes, rules: Rules) -> Begun:
    """Read a head: all before its empty line, without it. Raises `Refusal`."""
    lines = data.split(b"\r\n")
    if len(data.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        raise Refusal(400, "control characters, or a line that does not end in CR LF")
    parts = lines[0].split(b" ")
    if len(parts) != 3:  # noqa: PLR2004 - method, target, version
        raise Refusal(400, "the request line is not METHOD, target, version")
    method, minor = _method(parts[0]), _minor(parts[2])
    kept: list[tuple[bytes, bytes]] = []
    seen: dict[bytes, bytes] = {}
    once = rules.once
    for field in fields(lines[1:], rules.fields):
        name, value = field
        if name in _HOP or name in once:
            if name not in seen:
                seen[name] = value
            elif name in _LISTS:
                seen[name] += b"," + value
            elif name in once:
                raise Refusal(400, f"{name.decode()} is there more than once")
            if name in _HOP:
                continue
        elif b"_" in name:
            _look_alike(name, once)
        kept.append(field)
    target = _target(parts[1], seen.get(b"host"), minor, rules)
    if b"x-api-key" in seen:
        _one_key(seen)
    options: frozenset[bytes] = frozenset()
    if b"connection" in seen:
        options = _connection(seen[b"connection"], once)
        kept = [field for field in kept if field[0] not in options]
    return Begun(
        Head(method, target, kept),
        _framing(method, minor, seen),
        minor,
        minor == 1 and b"close" not in options,
        b"expect" in seen and _expects(seen[b"expect"], minor),
        b"upgrade" in options and _websocket(method, minor, seen),
    )


def _method(name: bytes) -> bytes:
    known = _METHODS.get(name)
    if known is not None:
        return known
    if not name or name.translate(None, _TOKEN):
        raise Refusal(400, "the request line is not METHOD, target, version")
    if name in {b"CONNECT", b"TRACE"}:
        allow = (b"allow", b", ".join(_METHODS))
        raise Refusal(405, f"{name.decode()} is not served", allow)
    raise Refusal(501, "a method that is not known here")


def _minor(version: bytes) -> int:
    if version == b"HTTP/1.1":
        return 1
    if version == b"HTTP/1.0":
        return 0
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        raise Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    raise Refusal(400, "the request line is not METHOD, target, version")


def _target(target: bytes, host: bytes | None, minor: int, rules: Rules) -> bytes:
    """Give the target in origin form, after a look at whether it means what it says."""
    if len(target) > rules.target:
        raise Refusal(414, f"a target of more than {rules.target} bytes")
    if host is None:
        if minor:
            raise Refusal(400, "there is no Host")
    elif not _HOST.fullmatch(host):
        raise Refusal(400, "Host is not a name or address with a port")
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if not absolute or host is None or absolute[1].lower() != host.lower():
            raise Refusal(400, "the target is neither a path nor an address of the Host named")
        target = absolute[2]
    path, _, query = target.partition(b"?")
    if path.translate(None, _PATH) or query.translate(None, _QUERY):
        raise Refusal(400, "the target has characters that belong percent-encoded, or a fragment")
    if b"%" in path:
        path = _decoded(path, rules)
    if b"//" in path:
        raise Refusal(400, "the path has an empty segment")
    if b"/." in path and not {b".", b".."}.isdisjoint(path.split(b"/")):
        raise Refusal(400, "the path has dot segments")
    return target


def _decoded(path: bytes, rules: Rules) -> bytes:
    """Give a percent-encoded path as a server behind may read it; refuse what would mislead us."""
    if _HALF_ENCODED.search(path) or _NEVER.search(path):
        raise Refusal(400, "the path encodes a control character, backslash, semicolon or percent")
    if _NEEDLESS.search(path):
        raise Refusal(400, "the path encodes what needs no encoding")
    slash = path.lower().find(b"%2f")
    if slash >= 0 and b"/models/" not in path[:slash]:
        raise Refusal(400, "the path encodes a slash where no model is named")
    decoded = unquote_to_bytes(path)
    if any(path.startswith(each) != decoded.startswith(each) for each in rules.paths):
        raise Refusal(400, "the path is percent-encoded where it decides the route")
    return decoded


def _framing(method: bytes, minor: int, seen: dict[bytes, bytes]) -> int:
    """Say how long the body is, where that can be said in one way only (RFC 9112, 6.3)."""
    coding, length = seen.get(b"transfer-encoding"), seen.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise Refusal(400, "both Content-Length and Transfer-Encoding")
        if not minor:
            raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
        if coding != b"chunked":
            raise Refusal(501, "a Transfer-Encoding that is not exactly: chunked")
        framing = CHUNKED
    elif length is None:
        return 0
    elif not _LENGTH.fullmatch(length):
        raise Refusal(400, "Content-Length is not a plain number")
    else:
        framing = int(length)
    if framing and method in _BODILESS:
        raise Refusal(400, f"a body with {method.decode()}")
    return framing


def _connection(value: bytes, once: frozenset[bytes]) -> frozenset[bytes]:
    """Give what Connection names, in lower case: options, and headers to leave out."""
    options = frozenset(filter(None, (part.strip(b" \t") for part in value.lower().split(b","))))
    for option in options:
        if option.translate(None, _TOKEN):
            raise Refusal(400, "Connection is not a list of names")
        if option in once and option not in {b"upgrade", b"expect"}:
            raise Refusal(400, "Connection names a header that must not be left out")
    return options


def _expects(value: bytes, minor: int) -> bool:
    if value.lower() != b"100-continue":
        raise Refusal(417, "an expectation that is not 100-continue")
    return minor == 1


def _websocket(method: bytes, minor: int, seen: dict[bytes, bytes]) -> bool:
    """Tell whether a websocket is asked for; HTTP/2 in clear is an offer that may be declined."""
    wanted = seen.get(b"upgrade", b"").lower()
    if wanted in {b"h2c", b""}:
        return False
    if wanted != b"websocket":
        raise Refusal(501, "an upgrade to something that is not a websocket")
    if method != b"GET" or not minor:
        raise Refusal(400, "a websocket is asked for with GET and HTTP/1.1")
    if seen.get(b"sec-websocket-version") != b"13":
        raise Refusal(426, "a websocket of version 13", (b"sec-websocket-version", b"13"))
    if not _WEBSOCKET_KEY.fullmatch(seen.get(b"sec-websocket-key", b"")):
        raise Refusal(400, "a websocket without its key")
    return True


def _one_key(seen: dict[bytes, bytes]) -> None:
    """Refuse two keys that differ: whose request it is must be the same for us and upstream."""
    scheme, _, key = seen.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and key.strip() != seen[b"x-api-key"]:
        raise Refusal(400, "Authorization and x-api-key show two keys")


def _look_alike(name: bytes, once: frozenset[bytes]) -> None:
    """Refuse names that servers of the CGI kind take for another."""
    read = name.replace(b"_", b"-")
    if read in once or read in _HOP:
        raise Refusal(400, "a header's name with an underscore, too like another")
