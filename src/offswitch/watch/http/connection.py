"""One connection of a listener: HTTP/1.1 by h11, no thread, nothing that waits.

    head (16 KiB, 5 s) ─► a door that knows the sender ─► body (8 MiB, 10 s) ─► take ─► answer

Bytes are read as they come and at most a quarter of a megabyte a turn; what is too long, too
slow or no HTTP is answered where that is possible, and hung up on. An answer is short, so that
it fits in the kernel's buffer; a sender that does not even take that is hung up on. After a
refusal what the sender still sends is thrown away for a second, since it would else never see
the answer (RFC 9112, 9.6).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from offswitch.watch.http.exchange import Answer, Door, Head, Request, plain
from offswitch.watch.http.inflate import CODINGS, TooMuch, Unreadable, inflate

__all__ = ["MOST_BODY", "Connection"]

MOST_BODY = 8 << 20
"""Bytes of a body, as sent and unpacked."""
_MOST_HEAD = 16 << 10
_CHUNK = 64 << 10
_CHUNKS_A_TURN = 4
_HEAD_US = 5_000_000
_BODY_US = 10_000_000
_IDLE_US = 300_000_000
_LINGER_US = 1_000_000
_UNKNOWN = 401


class Connection:
    """One sender."""

    __slots__ = ("_body", "_door", "_h11", "_head", "_sock", "_state", "due_us", "ended", "known")

    def __init__(self, sock: socket.socket, now_us: int) -> None:
        """Serve an accepted socket."""
        import h11  # noqa: PLC0415 - imported by whoever listens, not by every command

        sock.setblocking(False)
        self._sock = sock
        self._h11: Any = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD)
        self._head: Head | None = None
        self._door: Door | None = None
        self._body = bytearray()
        self._state = "reading"
        self.due_us = now_us + _HEAD_US
        """When it is hung up on, if nothing more comes."""
        self.known = False
        """Whether it has once shown that it may speak."""
        self.ended = False

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    @property
    def idle(self) -> bool:
        """Whether it is between two requests."""
        return self._head is None and self._state == "reading"

    def turn(self, doors: Sequence[Door], now_us: int) -> None:
        """Take in what has come; `ended` says whether it is over."""
        for _ in range(_CHUNKS_A_TURN):
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if self._state == "lingering":
                if not data:
                    self.close()
                    return
                continue
            self._feed(data, doors, now_us)
            if self.ended or not data:
                self.close()
                return
            if len(data) < _CHUNK:
                return

    def age(self, now_us: int) -> None:
        """Hang up on who is too slow."""
        if now_us < self.due_us:
            return
        if self._head is not None and self._state == "reading":
            self._refuse(408, "the body took too long", now_us)
        self.close()

    def close(self) -> None:
        """Hang up; may be called twice."""
        self.ended = True
        self._sock.close()

    def _feed(self, data: bytes, doors: Sequence[Door], now_us: int) -> None:
        import h11  # noqa: PLC0415

        try:
            self._h11.receive_data(data)
            while self._state == "reading":
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    if event is h11.NEED_DATA and self._h11.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if isinstance(event, h11.Request):
                    self._begin(event, doors, now_us)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MOST_BODY:
                        self._refuse(413, f"more than {MOST_BODY} bytes", now_us)
                elif isinstance(event, h11.EndOfMessage):
                    self._finish(now_us)
                else:
                    self.ended = True
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, "this is no HTTP/1.1 request", now_us)

    def _begin(self, event: Any, doors: Sequence[Door], now_us: int) -> None:  # noqa: ANN401 - h11's
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = event.target.decode("latin-1").partition("?")[0]
        head = self._head = Head(event.method.decode("latin-1"), path, headers)
        self._body.clear()
        self.due_us = now_us + _BODY_US
        serving = [door for door in doors if path in door.paths]
        if not serving:
            self._refuse(404, "nothing is served here", now_us)
            return
        self._door = next((door for door in serving if door.knows(head)), None)
        if self._door is None:
            for door in serving:
                door.refused += 1
            self._door = serving[0]
            self._refuse(_UNKNOWN, "who are you? bring the sensor's token", now_us)
            return
        self.known = True
        length = headers.get("content-length", "0")
        if head.method not in self._door.methods:
            self._refuse(405, "only POST is served here", now_us)
        elif headers.get("content-encoding", "").strip().lower() not in CODINGS:
            self._refuse(415, "of the content codings gzip and deflate are read", now_us)
        elif not length.isdecimal() or int(length[:20]) > MOST_BODY:
            self._refuse(413, f"more than {MOST_BODY} bytes", now_us)

    def _finish(self, now_us: int) -> None:
        head, door = self._head, self._door
        assert head is not None  # noqa: S101 - h11 gives the request first
        assert door is not None  # noqa: S101 - else it was refused
        raw = bytes(self._body)
        self._body.clear()
        coding = head.headers.get("content-encoding", "").strip().lower()
        try:
            answer = door.take(Request(head, inflate(raw, coding, MOST_BODY), raw))
        except TooMuch:
            door.broken += 1
            answer = door.explain(head, 413, f"more than {MOST_BODY} bytes when unpacked")
        except Unreadable:
            door.broken += 1
            answer = door.explain(head, 400, f"this is not {coding}")
        except Exception as error:  # noqa: BLE001 - a request's edge: a defect of ours, and told
            door.broken += 1
            door.defect = f"a request was too much for us: {error!r}"[:300]
            answer = door.explain(head, 500, "that is a defect of ours")
        self._answer(answer, now_us)
        if not self.ended and self._state == "reading":
            self._h11.start_next_cycle()
            self._head = self._door = None
            self.due_us = now_us + _IDLE_US

    def _refuse(self, status: int, why: str, now_us: int) -> None:
        """Answer with an error, and read no more of what is sent."""
        import h11  # noqa: PLC0415

        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.ended = True
            return
        door = self._door
        if door is not None and status != _UNKNOWN:
            door.broken += 1
        explain = plain if door is None else door.explain
        self._state = "lingering"
        self._answer(explain(self._head, status, why), now_us)
        self._body.clear()
        self.due_us = now_us + _LINGER_US
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def _answer(self, answer: Answer, now_us: int) -> None:
        import h11  # noqa: PLC0415

        headers = {"content-type": answer.kind, "content-length": str(len(answer.body))}
        headers.update(answer.headers)
        if answer.status == _UNKNOWN:
            headers["www-authenticate"] = 'Basic realm="offswitch", Bearer'
        if self._state == "lingering" or self._h11.their_state is h11.MUST_CLOSE:
            headers["connection"] = "close"
        said = h11.Response(status_code=answer.status, headers=list(headers.items()))
        self._send(said, h11.Data(data=answer.body), h11.EndOfMessage())
        if self._h11.our_state is h11.MUST_CLOSE and self._state == "reading":
            self._state, self.due_us = "lingering", now_us + _LINGER_US
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.ended = True

    def _send(self, *events: Any) -> None:  # noqa: ANN401 - h11's
        data = b"".join(self._h11.send(event) or b"" for event in events)
        try:
            sent = self._sock.send(data, socket.MSG_NOSIGNAL)
        except OSError:
            sent = -1
        if sent != len(data):
            self.ended = True
