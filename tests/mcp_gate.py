"""A gateway in front of a real MCP server, and the server's own record of what happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bare_steward import bare_stewards
from gate import Gate, upstream_at
from offswitch.gateway.plan.route import Api, Route
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.tools.book import CallBook, CallRow, read_book
from offswitch.gateway.tools.cancel import Cancels
from offswitch.gateway.tools.leave import DeskLeaves
from offswitch.gateway.tools.steward import McpSteward

TARGET = "shop/agent"
SERVER = Path(__file__).with_name("tool_server.py")


class CarriedMcp(McpSteward):
    """A steward that can be handed to another process, and opens its book there."""

    def __init__(self, calls: str, desk: str) -> None:
        self.paths = (calls, desk)
        super().__init__(None, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self.paths


def _opened(calls: str, desk: str) -> McpSteward:
    return McpSteward(CallBook.take(calls), DeskLeaves(desk), Cancels())


class McpGate:
    """One of each: server, gateway, book."""

    def __init__(self, folder: Path, port: int, route: Route) -> None:
        self.calls = str(folder / "calls")
        by_api = {**bare_stewards().by_api, Api.MCP: CarriedMcp(self.calls, f"{folder}/watch")}
        self.gate = Gate([route], folder, stewards=Stewards(by_api))
        self.url = f"http://127.0.0.1:{self.gate.port}/mcp"
        self._record = folder / "record"
        self.server_port = port
        self.open: list[HTTPConnection] = []
        """What is closed at the end."""

    @property
    def book(self) -> list[CallRow]:
        return read_book(self.calls)[0]

    def record(self, what: str) -> set[str]:
        """Give the keys of the calls that began, or were done, as the server wrote them down."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return {line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")}


@contextmanager
def mcp_gate(folder: Path, **declared: Any) -> Iterator[McpGate]:  # noqa: ANN401 - of a route
    """Serve, with what the route declares."""
    server = subprocess.Popen(
        [sys.executable, "-I", str(SERVER), str(folder / "record"), "--http"],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        route = Route(TARGET, upstream_at(port), api=Api.MCP, ask="ada", **declared)
        one = McpGate(folder, port, route)
        try:
            yield one
        finally:
            for each in one.open:
                each.close()
            one.gate.close()
    finally:
        server.kill()
        server.communicate()
