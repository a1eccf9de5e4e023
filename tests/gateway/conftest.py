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


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, ScriptedUpstream]]:
    """One gateway and one server for all tests of a module, which `afresh` makes as good as new."""
    server = ScriptedUpstream()
    gate = Gate([Route(TARGET, upstream_at(server.port))], tmp_path_factory.mktemp("gate"))
    yield gate, server
    gate.close()
    server.close()


@pytest.fixture
def upstream(standing: tuple[Gate, ScriptedUpstream]) -> ScriptedUpstream:
    """A server that does what `upstream.script` says; unless told, it answers with JSON."""
    standing[1].afresh()
    return standing[1]


@pytest.fixture
def gate(standing: tuple[Gate, ScriptedUpstream], upstream: ScriptedUpstream) -> Gate:
    """One target, one route for every path, one upstream."""
    standing[0].afresh()
    return standing[0]


@pytest.fixture
def own_upstream() -> Iterator[ScriptedUpstream]:
    """A server that a test may end."""
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
