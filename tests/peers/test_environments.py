"""The environments of real peers are pinned, and made as they are pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peers.environment import in_peer

LOCKS = sorted(Path(__file__).parent.glob("*.lock"))
BURNT = {"litellm": ("1.82.7", "1.82.8")}
"""Releases with malware in them."""


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)", text, re.MULTILINE)
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert not [name for name, version in pins if version in BURNT.get(name, ())]


@pytest.mark.peers
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_an_environment_holds_what_its_lock_pins(lock: Path) -> None:
    pairs = "[[d.name.lower().replace('_', '-'), d.version] for d in m.distributions()]"
    there = in_peer(lock.stem, f"import json, importlib.metadata as m; print(json.dumps({pairs}))")
    pins = dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)", lock.read_text(), re.MULTILINE))
    assert all(pins[name] == version for name, version in there)
    assert len(there) > len(pins) / 2  # some are for other machines
