"""A program: a real worker of a gateway that is attached to a real warden, and senses.

    python -I sensing_gate.py SETUP      # a pickled `Setup`; prints its port; ends with its stdin

What the supervisor does besides (rights, restarts) is left out here.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import sys
from dataclasses import dataclass

import uvloop

from offswitch.control.flows import FlowTable
from offswitch.control.gate import Attachment, Gate
from offswitch.control.place import Place
from offswitch.gateway.api.pick import model_stewards
from offswitch.gateway.evidence.found import Found
from offswitch.gateway.plan.front import Front, Listen
from offswitch.gateway.plan.route import Route
from offswitch.gateway.sense import Sense, prepared
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.words import Words
from offswitch.gateway.worker import Worker


@dataclass
class Setup:
    """What it is given."""

    home: str
    run: str
    routes: tuple[Route, ...]


async def serve(setup: Setup) -> None:
    loop = asyncio.get_running_loop()
    place = Place(setup.home, setup.run)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    front = Front("models", (Listen("127.0.0.1", port),), setup.routes)
    upstreams = {f"{route.upstream.host}:{route.upstream.port}" for route in setup.routes}
    table, fd = FlowTable.create(1024)
    said = Attachment("models", front.targets, [f"127.0.0.1:{port}"], [*upstreams], worker=0)
    gate = Gate(place.warden_socket, said, fd)
    ready = prepared(place, front.name, front.targets, 1)
    assert not ready.problems
    gate.attach()
    sense = Sense(ready.fds[0], ready.canaries)
    stewards = Stewards(model_stewards())
    worker = Worker(front, Words(gate.page), gate.slots, stewards, table=table, sense=sense)

    def told(target: str, server: str, found: Found) -> None:
        more = {"upstream": server, "found": found.standing.value, "text": found.text}
        gate.note("upstream", target=target, **more)

    worker.inquire(told)

    def hear() -> None:
        turn = gate.hear()
        if turn is not None:
            worker.changed(turn)

    await worker.listen([listener])
    loop.add_reader(gate.fileno(), hear)
    worker.changed(gate.turn)
    print(port, flush=True)
    ends = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ends.set)
    await ends.wait()


if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["sensing_gate"] = sys.modules["__main__"]
    with open(sys.argv[1], "rb") as given:
        uvloop.run(serve(pickle.load(given)))
