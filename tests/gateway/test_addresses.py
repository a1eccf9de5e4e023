"""Two gateways at one address would share its clients, and a stop reach those of one alone."""

from __future__ import annotations

import pytest

from offswitch.config.load import installed_kinds, load
from offswitch.errors import BadConfig, Unsupported
from offswitch.gateway import kit
from offswitch.gateway.kit import Sockets
from offswitch.gateway.plan.given import Given, front_given

HOME = "/nowhere"
ONE = """
[[gateway]]
name = "{}"
listen = ["127.0.0.1:8100"]
upstream = "http://127.0.0.1:8000"
[[gateway.route]]
target = "shop/{}"
"""


def test_ACT_1_where_another_gateway_listens_none_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit, "_FREE_S", 0.1)
    given = Given(["127.0.0.1:0"], "http://127.0.0.1:9", "a/b", "one", "", "auto", 2)
    there = Sockets()
    workers = there.of(front_given(given, HOME))
    for [sock] in workers:
        sock.listen()
    port = workers[0][0].getsockname()[1]
    given = Given([f"127.0.0.1:{port}"], "http://127.0.0.1:9", "a/c", "two", "", "auto", 1)
    with pytest.raises(Unsupported, match="cannot listen"):
        Sockets().of(front_given(given, HOME))
    there.keep_only(())
    again = Sockets()
    assert again.of(front_given(given, HOME))
    again.keep_only(())


def test_ACT_1_two_gateways_at_one_address_are_refused(tmp_path: object) -> None:
    path = f"{tmp_path}/offswitch.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(ONE.format("a", "a") + ONE.format("b", "b"))
    with pytest.raises(BadConfig, match="listens on"):
        load(path, installed_kinds(), named=True)
