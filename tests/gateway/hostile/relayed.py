"""An answer's way through the gateway without any socket: bytes in, bytes out, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from offswitch.gateway.exchange import Head, Reply
from offswitch.gateway.wire.answer import Answer
from offswitch.gateway.wire.passage import Passage
from offswitch.gateway.wire.strict import Begun
from offswitch.gateway.wire.upstream import UpstreamConnection

__all__ = ["Relayed", "relay"]


class _Connection:
    even = False


@dataclass
class Relayed:
    """What became of an answer."""

    status: int = 0
    sent: bytes = b""
    """What the client got."""
    body: bytes = b""
    """What those who look on saw."""
    how: str = "unfinished"
    """`whole`, `faulty`, `switched`, or `unfinished`: more must come."""
    keep: bool = False
    """Whether the upstream's connection is used again."""
    closing: bool = False
    """Whether the client's connection ends with it."""
    faults: list[str] = field(default_factory=list)

    def answering(self, answer: Answer) -> None:
        self.status = answer.status

    def answered(self, *, keep: bool) -> None:
        assert self.how == "unfinished"
        self.how = "whole"
        self.keep = keep

    def replied(self, reply: Reply, *, keep: bool) -> None:
        raise AssertionError

    def faulty(self, text: str) -> None:
        self.how = "faulty"
        self.faults.append(text)

    def switching(self, answer: Answer, rest: bytes) -> None:
        self.how = "switched"

    # --- as a tap, and as the client's outlet ---

    def head(self, status: int) -> None:
        assert status == self.status

    def data(self, chunk: bytes) -> None:
        self.body += chunk

    def end(self, how: str) -> None:
        raise AssertionError

    def send(self, data: bytes) -> None:
        self.sent += data


def relay(
    data: bytes, *, method: bytes = b"GET", minor: int = 1, step: int = 0, ends: bool = True
) -> Relayed:
    """Let `data` come from an upstream, in pieces of `step`; it `ends` the connection then."""
    told = Relayed()
    begun = Begun(Head(method, b"/", ()), 0, minor, minor > 0, expects=False, websocket=False)
    connection = cast(UpstreamConnection, _Connection())
    passage = Passage(connection, told, begun, told.send, None, told)
    step = step or max(1, len(data))
    for at in range(0, len(data), step):
        passage.take(data[at : at + step])
        if told.how != "unfinished":
            break
    else:
        if ends:
            passage.ended()
    told.closing = passage.closing
    return told
