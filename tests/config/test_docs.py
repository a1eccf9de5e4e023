"""The pages on watching are true: their configuration is accepted, and they name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from offswitch.config.load import installed_kinds, parse

DOCS = Path(__file__).parents[2] / "docs"
RULES = (DOCS / "rules.md").read_text()
PAGES = "\n".join((DOCS / f"{name}.md").read_text() for name in ("rules", "sensors", "detectors"))


def test_the_configuration_on_the_page_is_accepted() -> None:
    [block] = [text for text in re.findall(r"```toml\n(.*?)```", RULES, re.DOTALL) if "[[" in text]
    config = parse(block.encode(), "docs/rules.md", installed_kinds())
    assert [rule.name for rule in config.rule] == ["mass-write"]


def test_every_key_and_every_series_is_documented() -> None:
    kinds = installed_kinds()
    words = set(re.findall(r"`\.?([a-z_]+)`", PAGES))
    for plugin in [*kinds.sensors.values(), *kinds.detectors.values()]:
        assert plugin.kind in words | {"logs"}, plugin.kind
        for key in plugin.cls.Settings.model_fields:
            assert re.search(rf"`[^`]*\b{key}\b[^`]*`|\b{key} = ", PAGES), (plugin.kind, key)
    for plugin in kinds.sensors.values():
        for series in plugin.cls.Settings.SERIES:
            assert re.search(rf"`[^`]*\b{series}\b[^`]*`", PAGES), (plugin.kind, series)
