"""Sensors and detectors of third parties: found by entry point, refused when they are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from offswitch.config.load import installed_kinds, parse, schema
from offswitch.errors import BadConfig
from offswitch.plugins import DETECTORS, SENSORS, installed

MINE = """\
from typing import Literal
from offswitch.config.section import DetectorSection
from offswitch.watch.detectors.contract import Verdict

class Section(DetectorSection):
    kind: Literal["parity"]
    odd: bool = True

class Parity:
    Settings = Section
    def __init__(self, settings):
        self.odd = settings.odd
    def update(self, mono_us, value):
        tripped = bool(int(value) % 2) == self.odd
        return Verdict(float(tripped) * 2, tripped, f"{value:g}")
    def rearm(self):
        pass
"""
RULE = """
[[rule]]
name = "r"
target = "a"
harm = "h"
time_to_harm = "1m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "parity", series = "processes.count", KEY }]
"""


def _install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str = MINE, name: str = "mine"
) -> None:
    (folder / f"{name}_plugin.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(folder))


def test_ours_are_registered_as_third_parties_would_be() -> None:
    assert {"logs", "processes", "sqlite"} <= set(installed(SENSORS))
    assert {"rate", "robust_range", "threshold"} <= set(installed(DETECTORS))
    assert {plugin.package for plugin in installed(SENSORS).values()} == {"offswitch"}


def test_a_detector_of_a_third_party_can_be_configured_and_its_keys_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch, "[offswitch.detectors]\nparity = mine_plugin:Parity\n")
    kinds = installed_kinds()
    assert kinds.detectors["parity"].package == "mine"
    config = parse(RULE.replace("KEY", "odd = false").encode(), "x.toml", kinds)
    detector = kinds.detectors["parity"].cls(config.rule[0].detectors[0])
    assert detector.update(0, 4.0).tripped
    with pytest.raises(BadConfig, match=r"x.toml:9: unknown key 'od'; did you mean 'odd'"):
        parse(RULE.replace("KEY", "od = 1").encode(), "x.toml", kinds)
    assert "parity" in str(schema(kinds))


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("x = mine_plugin:Gone", MINE, "cannot be loaded"),
        ("x = mine_plugin:Parity", "1 / 0", "ZeroDivisionError"),
        ("x = mine_plugin:Parity", "class Parity: pass", "has no Settings"),
        ("rate = mine_plugin:Parity", MINE, "two packages bring the kind rate"),
    ],
)
def test_a_plugin_that_is_broken_is_an_error_with_its_packages_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str, said: str
) -> None:
    name = f"p{abs(hash((entry, code))) % 10**8}"
    entry = entry.replace("mine_plugin", f"{name}_plugin")
    _install(tmp_path, monkeypatch, f"[offswitch.detectors]\n{entry}\n", code, name)
    with pytest.raises(BadConfig, match=said) as caught:
        installed(DETECTORS)
    assert name in f"{caught.value.message} {caught.value.hint}"


def test_a_plugin_that_does_not_say_its_kind_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = MINE.replace('    kind: Literal["parity"]\n', "")
    entry = "[offswitch.detectors]\nparity = vague_plugin:Parity\n"
    _install(tmp_path, monkeypatch, entry, code, name="vague")
    kinds = installed_kinds()
    assert "parity" in str(schema(kinds))
    [rule] = parse(RULE.replace("KEY", "odd = false").encode(), "x", kinds).rule
    assert rule.detectors[0].kind == "parity"
