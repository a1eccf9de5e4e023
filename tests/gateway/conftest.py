"""A gateway in front of a scripted server: `gate` is one route, `gate_of` makes any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import Gate, upstream_at
from offswitch.gateway.plan.route import Route
from scripted_upstream import ScriptedUpstream

TARGET = "shop/eu/checkout"


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A server that does what `upstream.script` says; unless told, it answers with JSON."""
    server = ScriptedUpstream()
    yield server
    server.close()


@pytest.fixture
def gate_of(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Make gateways of any routes; they are ended with the test."""
    gates: list[Gate] = []

    def make(*routes: Route, **more: Any) -> Gate:  # noqa: ANN401 - Gate's own
        gates.append(Gate(routes, tmp_path, **more))
        return gates[-1]

    yield make
    for each in gates:
        each.close()


@pytest.fixture
def gate(gate_of: Callable[..., Gate], upstream: ScriptedUpstream) -> Gate:
    """One target, one route for every path, one upstream."""
    return gate_of(Route(TARGET, upstream_at(upstream.port)))
