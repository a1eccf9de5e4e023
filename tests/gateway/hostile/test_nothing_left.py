"""Whatever clients and servers do to each other through a gateway, nothing of it is left behind.

Each round is a request that somebody breaks off somewhere; afterwards the worker has the sockets
that it had before, no flow in its table, no memory that grows, and it serves.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable

from gate import Client, Gate, upstream_at
from gateway.hostile.test_websockets import ASK, opening
from installation import until
from offswitch.gateway.plan.front import Limits
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level
from scale import runs
from scripted_upstream import ScriptedUpstream, Visit

TARGET = "shop/eu/checkout"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 16\r\n\r\n"
ASKED = (
    HEAD + b'{"stream": true}',
    HEAD.replace(b"v1/chat/completions", b"file") + b'{"stream": true}',
    HEAD.replace(b"content-length: 16", b"transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    HEAD.replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"),
    b"GET /file HTTP/1.1\r\nhost: g\r\n\r\n" * 5,
    b"HEAD /file HTTP/1.0\r\n\r\n",
    b"JUNK\r\n\r\n",
    ASK + b"\x81\x80abcd",
)


def reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def files(gate: Gate) -> int:
    return len(os.listdir(f"/proc/{gate.process.pid}/fd"))


def script_of(dice: random.Random) -> Callable[[Visit], None]:
    """Give a server that ends its answers in some way or other."""

    def script(visit: Visit) -> None:
        how = dice.randrange(9)
        if b"upgrade" in visit.headers:
            opening(visit)
            visit.send(b"\x81\x03abc\x81"[: dice.randrange(1, 7)])
        elif how < 3:
            visit.answer(b"x" * dice.randrange(100_000))
            return
        elif how < 6:
            visit.begin()
            for number in range(dice.randrange(4)):
                visit.event(f"<{number}>")
            if how == 3:
                visit.finish()
                return
        elif how == 6:
            visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nnot"[: dice.randrange(50)])
        elif how == 7:
            visit.send(b"\x00 no answer\r\n\r\n")
        if dice.random() < 0.5:
            reset(visit.sock)
        visit.end()
        if dice.random() < 0.3:
            visit.sock.close()

    return script


def one_round(gate: Gate, dice: random.Random) -> None:
    """Ask for something, and break it off somewhere."""
    with contextlib.suppress(OSError):
        client = Client(gate.port)
        data = dice.choice(ASKED)
        with client.sock:
            client.sock.settimeout(0.02)
            client.send(data if dice.random() < 0.7 else data[: dice.randrange(len(data))])
            if dice.random() < 0.7:
                client.sock.recv(dice.choice((10, 1000, 1_000_000)))
            if dice.random() < 0.2:
                client.sock.shutdown(socket.SHUT_WR)
            if dice.random() < 0.4:
                reset(client.sock)


def test_SEC_4_nothing_is_left_of_whatever_was_broken_off(
    gate_of: Callable[..., Gate], own_upstream: ScriptedUpstream
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    dice = random.Random(seed)
    limits = Limits(header_s=1, body_s=1, idle_s=1, connect_s=1)
    gate = gate_of(Route(TARGET, upstream_at(own_upstream.port)), limits=limits)
    own_upstream.script = script_of(random.Random(seed + 1))
    for _ in range(20):
        one_round(gate, dice)
    memory = gate.memory
    until(lambda: not gate.table.flows(), "the first ones are over")
    for number in range(runs(6000)):
        one_round(gate, dice)
        if number % 50 == 25:
            gate.stop(TARGET, dice.choice((Level.KILL, Level.FREEZE, Level.DRAIN, Level.RESTRICT)))
        if number % 50 == 35:
            gate.release(TARGET)
    gate.release(TARGET)
    until(lambda: not gate.table.flows(), f"no flow is left (seed {seed})")
    until(lambda: files(gate) < 24, f"no socket is left (seed {seed}): {files(gate)}", 15)
    assert gate.memory - memory < 8 << 20, f"seed {seed}"
    own_upstream.script = lambda visit: visit.answer(b"well")
    start = time.monotonic()
    client = gate.client()
    client.ask()
    assert client.answer()[2] == b"well", f"seed {seed}"
    assert time.monotonic() - start < 2
