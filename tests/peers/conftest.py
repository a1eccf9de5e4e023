"""A real gateway with the stewards of model APIs, in front of a scripted model server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import Gate, upstream_at
from offswitch.gateway.api.pick import model_stewards
from offswitch.gateway.plan.route import Route
from offswitch.gateway.stewards import Stewards
from offswitch.model.level import Level
from peers.environment import in_peer
from scripted_upstream import ScriptedUpstream

TARGET = "shop/eu/checkout"
HERE = Path(__file__).parent


class Shop:
    """A client's way to a model server, by a gateway or straight."""

    def __init__(self, gate: Gate, upstream: ScriptedUpstream) -> None:
        self.gate = gate
        self.upstream = upstream

    def stop(self, level: Level = Level.KILL, target: str = TARGET) -> float:
        """Stop, and say when."""
        self.gate.stop(target, level)
        return time.monotonic()

    def calls(self, peer: str, *names: str, straight: bool = False) -> dict[str, Any]:
        """Make calls with a real client."""
        port = self.upstream.port if straight else self.gate.port
        base = f"http://127.0.0.1:{port}" + ("/v1" if peer == "openai" else "")
        said = in_peer(peer, (HERE / f"{peer}_calls.py").read_text(), base, *names)
        return dict(said)

    def stopped_midway(self, peer: str, name: str) -> tuple[dict[str, Any], float]:
        """Make one call, stop while it is in flight, and say how long the client took to know."""
        told: dict[str, Any] = {}
        caller = threading.Thread(target=lambda: told.update(self.calls(peer, name)))
        caller.start()
        self.upstream.visit(seconds=30)
        time.sleep(0.1)  # some of the answer is on its way
        at = self.stop()
        caller.join(60)
        return told[name], told[name]["ended"] - at


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


@pytest.fixture
def shop_of(tmp_path: Path, upstream: ScriptedUpstream) -> Iterator[Callable[..., Shop]]:
    """Make one target's way, its route declared as told."""
    gates: list[Gate] = []

    def make(**declared: Any) -> Shop:  # noqa: ANN401 - a route's own
        route = Route(TARGET, upstream_at(upstream.port), ask="the duty desk", **declared)
        gates.append(Gate([route], tmp_path, stewards=Stewards(model_stewards())))
        return Shop(gates[-1], upstream)

    yield make
    for each in gates:
        each.close()


@pytest.fixture
def shop(shop_of: Callable[..., Shop]) -> Shop:
    return shop_of()
