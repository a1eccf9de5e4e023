"""Other readers of HTTP/1.1, asked for what they make of the same bytes: h11 and llhttp."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import httptools

from offswitch.gateway.wire.request import END, Requests
from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.strict import Begun

__all__ = ["Told", "by_h11", "by_llhttp", "by_us"]


@dataclass
class Told:
    """One request, as a reader told it."""

    method: bytes = b""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """As they are there: the hop-by-hop ones too, where the reader gives them."""
    body: bytes = b""
    whole: bool = False
    """Whether its end was seen."""


def by_us(data: bytes, step: int = 0, rules: Rules | None = None) -> tuple[list[Told], int]:
    """Give what we read of a connection's bytes, fed in pieces of `step`, and how that ended.

    That is 0 where no more bytes need to come, 1 where they do, else the status of a refusal.
    """
    parser = Requests(rules or Rules())
    told: list[Told] = []
    for at in range(0, len(data), step or max(1, len(data))):
        events = parser.feed(data[at : at + step] if step else data)
        while events:
            for event in events:
                if isinstance(event, Refusal):
                    return told, event.status
                if isinstance(event, Begun):
                    head = event.head
                    told.append(Told(head.method, head.target, list(head.headers)))
                elif event is END:
                    told[-1].whole = True
                else:
                    assert isinstance(event, bytes)
                    told[-1].body += event
            events = parser.go_on()
    return told, int(not parser.idle)


def by_h11(data: bytes) -> list[Told]:
    """Give what h11 reads; it raises where it refuses."""
    told: list[Told] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            told.append(Told(event.method, event.target, list(event.headers)))
        elif isinstance(event, h11.Data):
            told[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            told[-1].whole = True
            length = [(b"content-length", b"0")]
            connection.send(h11.Response(status_code=200, headers=length))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return told
            connection.start_next_cycle()
        else:
            return told


class _Llhttp:
    def __init__(self) -> None:
        self.told: list[Told] = []

    def on_message_begin(self) -> None:
        self.told.append(Told())

    def on_url(self, url: bytes) -> None:
        self.told[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.told[-1].headers.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.told[-1].body += body

    def on_message_complete(self) -> None:
        self.told[-1].whole = True


def by_llhttp(data: bytes) -> list[Told]:
    """Give what llhttp reads; it raises where it refuses."""
    reader = _Llhttp()
    parser = httptools.HttpRequestParser(reader)
    parser.feed_data(data)
    return reader.told
