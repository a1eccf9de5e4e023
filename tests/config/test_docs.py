"""The page on rules is true: its configuration is accepted, and it names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from offswitch.config.load import installed_kinds, parse

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()


def test_the_configuration_on_the_page_is_accepted() -> None:
    [block] = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[[" in text]
    config = parse(block.encode(), "docs/rules.md", installed_kinds())
    assert [rule.name for rule in config.rule] == ["mass-write"]


def test_every_key_and_every_series_is_documented() -> None:
    kinds = installed_kinds()
    words = set(re.findall(r"`\.?([a-z_]+)`", PAGE))
    for plugin in [*kinds.sensors.values(), *kinds.detectors.values()]:
        assert plugin.kind in words | {"logs"}, plugin.kind
        for key in plugin.cls.Settings.model_fields:
            assert re.search(rf"`[^`]*\b{key}\b[^`]*`|\b{key} = ", PAGE), (plugin.kind, key)
    for plugin in kinds.sensors.values():
        for series in plugin.cls.Settings.SERIES:
            assert re.search(rf"`[^`]*\b{series}\b[^`]*`", PAGE), (plugin.kind, series)
