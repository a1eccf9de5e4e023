"""A program: one real worker of a gateway, in the place of the one that a supervisor forks.

    python -I one_worker.py SETUP        # a pickled `Setup`; descriptors are inherited

It serves until its control socket is closed. A line that comes there is a turn: words have changed;
or `drain SECONDS`, which is answered with `drained` or `cut`.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import socket
import sys
from dataclasses import dataclass, field

import uvloop

from offswitch.control.flows import FlowTable
from offswitch.gateway.plan.front import Front
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.wire.tls import server_context
from offswitch.gateway.words import Words
from offswitch.gateway.worker import Worker


@dataclass
class Setup:
    """What it is given."""

    front: Front
    slots: dict[str, int]
    page: int
    table: int
    """-1: none."""
    control: int
    listeners: list[int]
    stewards: Stewards
    path: list[str] = field(default_factory=list)


async def serve(setup: Setup) -> None:
    loop = asyncio.get_running_loop()
    table = None
    if setup.table >= 0:
        size = os.fstat(setup.table).st_size
        mapped = mmap.mmap(setup.table, size)
        table = FlowTable(mapped, (size - 4096) // 128)
    worker = Worker(
        setup.front,
        Words(setup.page),
        setup.slots,
        setup.stewards,
        table=table,
        context=server_context(setup.front),
    )
    await worker.listen([socket.socket(fileno=fd) for fd in setup.listeners])
    control = socket.socket(fileno=setup.control)
    control.setblocking(False)
    control.send(b"ready\n")
    while True:
        turns = await loop.sock_recv(control, 4096)
        if not turns:
            break
        if turns.startswith(b"drain"):
            drained = await worker.drain(float(turns.split()[1]))
            control.send(b"drained\n" if drained else b"cut\n")
            continue
        worker.changed(int(turns.split()[-1]))
    await worker.close()


if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["one_worker"] = sys.modules["__main__"]
    with open(sys.argv[1], "rb") as given:
        uvloop.run(serve(pickle.load(given)))
