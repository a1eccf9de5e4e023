"""What can be held back of a route one by one, with a real warden: entered by a stop, left by a
reset, and no process is started for either (DEC-6).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import Client
from gateway_stand import Stand
from installation import Installation
from model_answers import Script, Tool
from model_requests import GOES_ON, HELLO, body, tool
from model_server import serving
from needs import needs_root

TARGET = "shop/steps"
CHAT = "/steps/v1/chat/completions"
ROUTE = f"""
[[gateway.route]]
target = "{TARGET}"
path = "/steps/"
steps = ["writes", "tools", "sessions", "model"]
restrict = ["tools", "sessions"]
tools = {{ writes = ["send"] }}
fallback = {{ model = "small" }}
"""


class Shop:
    """One route with four steps."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.client = Client(stand.port)
        stand.clients.append(self.client)

    def asks(self, messages: list[dict[str, str]]) -> dict[str, Any] | int:
        """Give what the server was asked; else the status of the refusal."""
        self.client.ask(CHAT, body(messages=messages, tools=[tool("look"), tool("send")]))
        status, _, _ = self.client.answer()
        return dict(json.loads(self.stand.upstream.visits[-1].body)) if status == 200 else status

    def state(self) -> tuple[str, ...]:
        """Say in words what may be done just now."""
        said = self.asks(GOES_ON)
        if isinstance(said, int):
            return ("nothing",)
        names = [each["function"]["name"] for each in said.get("tools", [])]
        begins = () if isinstance(self.asks(HELLO), int) else ("begin",)
        return (str(said["model"]), *names, *begins)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    needs_root()
    one = Installation(tmp_path)
    one.start()
    stand = Stand(one)
    stand.upstream.script = serving(Script(tools=[Tool("look")]))
    stand.configure(ROUTE)
    try:
        yield Shop(stand.start())
    finally:
        stand.close()
        one.close()


def test_DEC_6_four_states_are_entered_by_a_stop_and_left_by_its_reset(shop: Shop) -> None:
    installation = shop.stand.installation
    before = shop.stand.worker_pids()
    whole = ("m-7", "look", "send", "begin")
    held = {
        "writes": ("m-7", "look", "begin"),
        "tools": ("m-7", "begin"),
        "sessions": ("m-7", "look", "send"),
        "model": ("small", "look", "send", "begin"),
    }
    assert shop.state() == whole
    for step, state in held.items():
        answer = installation.stop(f"{TARGET}/{step}")
        assert answer["confirmed"] is True, answer
        assert shop.state() == state, step
        assert installation.reset(f"{TARGET}/{step}")["state"] == "done"
        assert shop.state() == whole, step
    for step in ("model", "writes", "sessions"):
        installation.stop(f"{TARGET}/{step}")
    assert shop.state() == ("small", "look")
    installation.reset(f"{TARGET}/writes")
    assert shop.state() == ("small", "look", "send")
    for step in ("model", "sessions"):
        installation.reset(f"{TARGET}/{step}")
    assert shop.state() == whole
    assert shop.stand.worker_pids() == before


def test_DEC_6_restrict_holds_back_what_the_route_says_and_the_steps_that_it_covers(
    shop: Shop,
) -> None:
    """A path covers all below it, so a stop of the target is one of its declared steps too."""
    installation = shop.stand.installation
    installation.stop(TARGET, level="restrict")
    assert shop.state() == ("small",)
    installation.reset(TARGET)
    assert shop.state() == ("m-7", "look", "send", "begin")
    installation.stop(TARGET)
    assert shop.state() == ("nothing",)
