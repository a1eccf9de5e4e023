"""Both ends of a gateway in one process and one loop: a server that streams, clients that read.

    with Streams() as both:
        lane = both.lane("haproxy")             # an upstream's port of its own for each gateway
        ...                                     # start the gateway in front of `lane.upstream`
        lane.open(port, 1000)                   # so many clients begin a stream each
        both.run(0.4, lane)                     # its streams flow for so long, the others wait
        lane.tokens                             # how many came through

One loop holds both ends, so that nothing but the gateway stands between a token and its reader:
no second process has to be woken before it is seen. While streams flow it does not sleep, so the
gateway is not charged with waking it, as it would not be across a network. It sends no bursts:
streams have nothing to do with each other, so five of a thousand get their token in each tenth of
a millisecond. A token is one event of a chat completion in one chunk; it bears one `~`, so that
reading is counting. What it costs is said by the kernel: how long the gateway's threads ran.
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

__all__ = ["ANSWER", "CHUNKS", "MARK", "Lane", "Streams", "small_request", "stream_request"]

MARK = b"~"
TURNS = 200
"""A stream gets a token once in so many turns of a tenth of a millisecond: 50 a second."""
_TURN_NS = 100_000
_MS_TURNS = 10
_EVENT = (
    b'data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1767225600,'
    b'"model":"m-7","choices":[{"index":0,"delta":{"content":" to~%02d"},'
    b'"logprobs":null,"finish_reason":null}]}\n\n'
)
CHUNKS = tuple(b"%x\r\n%s\r\n" % (len(_EVENT) - 2, _EVENT % number) for number in range(100))
"""What a stream says, again and again: the same a hundred times over is taken for a fault."""
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LAST = (
    b'data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1767225600,'
    b'"model":"m-7","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
_ANSWER_BODY = json.dumps(
    {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1767225600,
        "model": "m-7",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is open until six~."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_ANSWER_BODY),
    _ANSWER_BODY,
)
_ANSWERS = 4
"""Tokens of a short answer that is asked for as a stream."""
_SHORT_STREAM = b"%s%s%x\r\n%s\r\n0\r\n\r\n" % (
    _STREAM_HEAD,
    b"".join(CHUNKS[:_ANSWERS]),
    len(_LAST),
    _LAST,
)
_AT_ONCE = 256
"""Events that are taken before the next tokens are due."""
_MS = 1_000_000
_SIP, _LITTLE = 512, 2048
"""Bytes that a slow client reads in a millisecond, and that its socket keeps for it (doubled)."""
_RESET = struct.pack("ii", 1, 0)


def _request(path: str, body: dict[str, object]) -> bytes:
    text = json.dumps(body).encode()
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n"
        f"authorization: Bearer sk-bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\n\r\n"
    ).encode() + text


def stream_request(path: str = "/v1/chat/completions") -> bytes:
    """Ask for a chat completion as a stream that does not end."""
    said = [{"role": "user", "content": "How long is the shop open today, and is there parking?"}]
    return _request(path, {"model": "m-7", "messages": said, "stream": True})


def small_request(path: str = "/v1/chat/completions") -> bytes:
    """Ask for a whole short answer."""
    said = [{"role": "user", "content": "How long is the shop open today, and is there parking?"}]
    return _request(path, {"model": "m-7", "messages": said, "max_tokens": 16})


@dataclass(slots=True)
class Lane:
    """One gateway's clients and what its upstream serves them with."""

    name: str
    both: Streams
    listener: socket.socket
    request: bytes = field(default_factory=stream_request)
    turns: list[list[Callable[[bytes], int]]] = field(default_factory=list)
    """The streams of the upstream, as their `send`, by the turn in which they are due."""
    tokens: int = 0
    """Tokens that clients have read."""
    answers: int = 0
    """Whole answers that clients have read."""
    missed: int = 0
    """Tokens that could not be sent: the gateway took no more."""
    clients: dict[int, socket.socket] = field(default_factory=dict)
    upstreams: dict[int, socket.socket] = field(default_factory=dict)
    serving: set[int] = field(default_factory=set)
    """Those of the upstream's connections that a stream flows on."""
    last_token_ns: int = 0
    """When a client last read a token, in a stop."""
    tails: dict[int, bytearray] = field(default_factory=dict)
    """What each client has read since the order, in a stop."""
    ended_ns: dict[int, int] = field(default_factory=dict)
    """When each client saw the end of its connection, or its reset."""
    last_byte_ns: dict[int, int] = field(default_factory=dict)
    """When each client last read anything, in a stop."""
    closed_ns: dict[int, int] = field(default_factory=dict)
    """When each upstream connection was seen to be closed."""
    probes: list[int] = field(default_factory=list)
    """When each new request reached the upstream, in a stop."""
    slow: set[int] = field(default_factory=set)
    """Clients that do not read but when `read_slowly` does it for them."""
    asking: dict[int, bytes] = field(default_factory=dict)
    """Clients that ask again once they are answered, and what."""

    @property
    def upstream(self) -> int:
        """The port that the gateway forwards to."""
        return int(self.listener.getsockname()[1])

    @property
    def flowing(self) -> int:
        """How many streams the upstream serves."""
        return sum(map(len, self.turns))

    def connect(self, port: int, *, slow: bool = False) -> socket.socket:
        """Open one client's connection; a slow one takes little before it is read."""
        sock = socket.socket()
        if slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
            self.slow.add(sock.fileno())
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.clients[sock.fileno()] = sock
        self.both.adopt(sock, self, server=False)
        return sock

    def open(self, port: int, count: int, slow: int = 0, patience_s: float = 20.0) -> None:
        """Begin so many streams, and wait until the upstream serves them all.

        `slow` of their clients read only when `read_slowly` does it for them.
        """
        wanted = self.flowing + count
        for number in range(count):
            self.connect(port, slow=number < slow).send(self.request)
            if number % 50 == 49:
                self.both.run(0.001)
        end = time.monotonic() + patience_s
        while self.flowing < wanted:
            self.both.run(0.02)
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {self.flowing} of {wanted} streams flow")

    def ask(self, port: int, count: int, request: bytes) -> None:
        """Let so many clients ask, each again as soon as it is answered."""
        for _ in range(count):
            sock = self.connect(port)
            self.asking[sock.fileno()] = request
            sock.send(request)

    def read_slowly(self) -> None:
        """Let each of the slow clients read a little."""
        for fd in self.slow:
            if fd not in self.ended_ns:
                self.both.read(fd, _SIP)

    def close(self) -> None:
        """End all connections of both sides."""
        for socks, server in ((self.clients, False), (self.upstreams, True)):
            for sock in list(socks.values()):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.both.drop(sock, server=server)
            socks.clear()
        self.turns.clear()
        self.serving.clear()
        self.asking.clear()
        self.slow.clear()

    def forget(self) -> None:
        """Begin to note what a stop does: times, tails, probes."""
        self.tails.clear()
        self.ended_ns.clear()
        self.last_byte_ns.clear()
        self.closed_ns.clear()
        self.probes.clear()
        self.last_token_ns = 0


class Streams:
    """The loop, and all lanes."""

    def __init__(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._epoll = select.epoll()
        self._buffer = bytearray(1 << 18)
        self._view = memoryview(self._buffer)
        self._readers: dict[int, tuple[Callable[[memoryview, int], int], Lane]] = {}
        """Clients: how to read, and whose."""
        self._servers: dict[int, tuple[socket.socket, Lane, bytearray]] = {}
        self._listeners: dict[int, Lane] = {}
        self._turn = 0
        self._lanes: list[Lane] = []
        self.watching: Lane | None = None
        """The lane that is being stopped."""
        self.late_ms = 0
        """Milliseconds that this loop could not keep up with."""

    def __enter__(self) -> Self:
        """Nothing more is to be done."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """End everything."""
        for lane in self._lanes:
            lane.close()
            lane.listener.close()
        self._epoll.close()

    def lane(self, name: str) -> Lane:
        """Give a new lane, its upstream listening."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        lane = Lane(name, self, listener)
        self._lanes.append(lane)
        self._listeners[listener.fileno()] = lane
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return lane

    def adopt(self, sock: socket.socket, lane: Lane, *, server: bool) -> None:
        """Take a connection into the loop."""
        fd = sock.fileno()
        if server:
            self._servers[fd] = (sock, lane, bytearray())
        else:
            self._readers[fd] = (sock.recv_into, lane)
        # By edges: an ended connection is told once, and closing it, which takes its time while
        # others are being counted, can wait until the lane is closed.
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def drop(self, sock: socket.socket, *, server: bool) -> None:
        """Let a connection go."""
        fd = sock.fileno()
        if fd < 0:
            return
        (self._servers if server else self._readers).pop(fd, None)
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        sock.close()

    # --- the loop -------------------------------------------------------------------

    def run(
        self,
        seconds: float,
        lane: Lane | None = None,
        *,
        every_ms: Callable[[], None] | None = None,
    ) -> None:
        """Let the streams of `lane` flow for so long; everybody is read.

        `every_ms` is called once in each millisecond, for what else is to happen meanwhile.
        """
        now = time.monotonic_ns()
        end, due, turn = now + int(seconds * 1e9), now, 0
        while now < end:
            if now >= due:
                if lane is not None:
                    self._send(lane)
                turn += 1
                if every_ms is not None and turn % _MS_TURNS == 0:
                    every_ms()
                due += _TURN_NS
                if now - due > 20 * _MS:  # not caught up with: what is late is left out, and said
                    self.late_ms += (now - due) // _MS
                    due = now + _TURN_NS
            wait = 0 if lane is not None else min((end - now) / 1e9, 0.001)
            for fd, _event in self._epoll.poll(wait, _AT_ONCE):
                self._read(fd)
            now = time.monotonic_ns()

    def _send(self, lane: Lane) -> None:
        """Give the streams whose turn it is a token each."""
        self._turn += 1
        number, due = divmod(self._turn, TURNS)
        if not lane.turns:
            return
        turn, at, chunk = lane.turns[due], 0, CHUNKS[number % len(CHUNKS)]
        while at < len(turn):
            try:
                for send in turn[at:]:
                    send(chunk)
                    at += 1
            except BlockingIOError:
                lane.missed += 1
                at += 1
            except OSError:
                del turn[at]  # it was cut; reading says when

    def _read(self, fd: int) -> None:
        reader = self._readers.get(fd)
        if reader is None:
            self._serve(fd)
        elif fd not in reader[1].slow:
            self.read(fd)

    def read(self, fd: int, most: int = 0) -> None:
        """Let a client read; no more than `most` bytes, if there is a limit."""
        receive, lane = self._readers[fd]
        try:
            count = receive(self._view, most)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if count == 0:
            lane.ended_ns.setdefault(fd, time.monotonic_ns())
            return
        marks = self._buffer.count(MARK, 0, count)
        lane.tokens += marks
        if lane is self.watching:
            if marks:
                lane.last_token_ns = time.monotonic_ns()
            lane.last_byte_ns[fd] = time.monotonic_ns()
            lane.tails.setdefault(fd, bytearray()).extend(self._view[:count])
        again = lane.asking.get(fd)
        if again is not None and marks:
            lane.answers += 1
            lane.clients[fd].send(again)

    # --- the upstream ---------------------------------------------------------------

    def _serve(self, fd: int) -> None:
        listening = self._listeners.get(fd)
        if listening is not None:
            self._accept(listening)
            return
        found = self._servers.get(fd)
        if found is None:
            return  # it was dropped in this very round
        sock, lane, kept = found
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            lane.closed_ns.setdefault(fd, time.monotonic_ns())
            return
        kept += data
        while self._answer(sock, lane, kept):
            pass

    def _accept(self, lane: Lane) -> None:
        while True:
            try:
                sock, _peer = lane.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                raise
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            lane.upstreams[sock.fileno()] = sock
            self.adopt(sock, lane, server=True)

    def _answer(self, sock: socket.socket, lane: Lane, kept: bytearray) -> bool:
        """Answer the first request in `kept`, if it is complete."""
        head, found, _rest = kept.partition(b"\r\n\r\n")
        if not found:
            return False
        body, used = _body(bytes(head).lower(), kept, len(head) + 4)
        if body is None:
            return False
        del kept[:used]
        streamed = b'"stream": true' in body or b'"stream":true' in body
        if streamed and b'"max_tokens"' not in body:
            sock.send(_STREAM_HEAD)
            self._flow(sock, lane)
            return True
        if lane is self.watching:
            lane.probes.append(time.monotonic_ns())
        with contextlib.suppress(OSError):
            sock.send(_SHORT_STREAM if streamed else ANSWER)
        return True

    @staticmethod
    def _flow(sock: socket.socket, lane: Lane) -> None:
        """Serve one more stream, in the turn that serves the fewest."""
        if not lane.turns:
            lane.turns.extend([] for _ in range(TURNS))
        min(lane.turns, key=len).append(sock.send)
        lane.serving.add(sock.fileno())


def _body(head: bytes, kept: bytearray, start: int) -> tuple[bytes | None, int]:
    """Give the body of a request whose head is there, and where it ends; None: not all there."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            end = start + int(value)
            return (bytes(kept[start:end]), end) if len(kept) >= end else (None, 0)
        if name == b"transfer-encoding" and b"chunked" in value:
            end = kept.find(b"0\r\n\r\n", start)
            return (bytes(kept[start:end]), end + 5) if end >= 0 else (None, 0)
    return b"", start
