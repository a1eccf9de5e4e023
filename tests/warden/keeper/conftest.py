"""A stage for every test of the keeper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper_stage import KeeperStage, keeper_stage
from needs import needs_root


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[KeeperStage]:
    """Real cgroups, a real keeper, and an understudy of the warden that can be killed."""
    needs_root()
    with keeper_stage(tmp_path) as stage:
        yield stage
