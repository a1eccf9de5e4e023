"""The page on the gateway is true: its configuration is accepted, and it names every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offswitch.config.gateway import (
    Gateway,
    GatewayEvidence,
    GatewayFallback,
    GatewayLimits,
    GatewayRoute,
    GatewayTls,
    GatewayTools,
)
from offswitch.config.load import installed_kinds, parse
from offswitch.config.section import Section

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()


def test_its_configuration_is_accepted() -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = parse(block.encode(), "docs/gateway.md", installed_kinds())
    assert [route.target for route in config.gateway[0].route] == [
        "shop/eu/checkout",
        "shop/eu/rest",
    ]


@pytest.mark.parametrize(
    "section",
    [
        Gateway,
        GatewayEvidence,
        GatewayFallback,
        GatewayLimits,
        GatewayRoute,
        GatewayTls,
        GatewayTools,
    ],
)
def test_it_names_every_key(section: type[Section]) -> None:
    for key in {*section.model_fields} - {"name", "route"}:
        assert re.search(rf"`[^`]*\b{key}\b[^`]*`", PAGE), key
