"""A websocket through the gateway: opened as the server answers, carried opaque, ended in frames.

    client ── GET, upgrade ──► word, admit ──► upstream ── 101 ──► client
    client ── bytes ── word ──► upstream          upstream ── word ── whole frames ──► client

The word is tested for each piece, both ways. A stop aborts the upstream, then tells the client: an
error as a message where one may follow, and a close frame (1008: a policy forbids it). What
the pieces say is not read: what is held back of tools or sessions cannot be held back in here.
"""

from __future__ import annotations

from offswitch.gateway.exchange import Cause, Head, Reply, Why
from offswitch.gateway.wire import frames
from offswitch.gateway.wire.answer import Answer
from offswitch.gateway.wire.client import ClientConnection
from offswitch.gateway.wire.frames import Frames

__all__ = ["Websocket", "opens"]

_CODES = {
    Cause.STOPPED: frames.POLICY,
    Cause.NO_LEASE: frames.POLICY,
    Cause.RESTRICTED: frames.POLICY,
    Cause.NOT_ALLOWED: frames.POLICY,
    Cause.BUSY: frames.GOING_AWAY,
}
_ERROR = b'{"error":'
"""How an error begins in the APIs that have websockets; its event has a type, too."""


def opens(head: Head, answer: Answer) -> bool:
    """Tell whether a server's 101 answers this very request (RFC 6455, 4.1)."""
    said = [value for name, value in answer.headers if name == b"sec-websocket-accept"]
    return said == [frames.accepts(head.get(b"sec-websocket-key") or b"")]


class Websocket:
    """One that is open."""

    __slots__ = ("_client", "_frames")

    def __init__(self, client: ClientConnection, answer: Answer) -> None:
        """Tell the client that it is open."""
        self._client = client
        self._frames = Frames()
        parts = [b"HTTP/1.1 101 Switching Protocols\r\n"]
        parts += [b"%b: %b\r\n" % field for field in answer.headers if field[0] != b"content-type"]
        parts.append(b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        client.outlet.send(b"".join(parts))

    @property
    def closed(self) -> bool:
        """Whether the server has said that it is over."""
        return self._frames.closed

    def from_upstream(self, data: bytes) -> None:
        """Hand on what the server says, in whole frames; the word was tested."""
        data = self._frames.feed(data)
        if data:
            self._client.outlet.send(data)

    def last_words(self, why: Why, refusal: Reply) -> bytes | None:
        """Give the frames that end it; None: it stands within one, or has been ended."""
        if not self._frames.whole or self._frames.closed:
            return None
        reason = f"{why.cause}: {why.target}" if why.target else str(why.cause)
        ending = frames.close(_CODES.get(why.cause, frames.TROUBLE), reason)
        if self._frames.between and refusal.body.startswith(_ERROR):
            return frames.text(b'{"type": "error", ' + refusal.body[1:]) + ending
        return ending
