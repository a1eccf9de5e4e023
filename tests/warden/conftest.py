"""A stage for every test of a cell, and of who looks at one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stage import Stage, raised


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Real cells, actuators, sweeper and observer."""
    with raised() as stage:
        yield stage
