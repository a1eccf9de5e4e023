"""A stage for every test of an escape, and one installation for all hostile programs of a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from hostile import acts_of
from installation import Installation
from stage import Stage, raised


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Real cells, actuators, sweeper and observer."""
    with raised() as stage:
        yield stage


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Give one warden for all programs: each is a target of its own."""
    one = Installation(tmp_path_factory.mktemp("escapes"))
    try:
        yield one.start()
    finally:
        one.close()
        shutil.rmtree(acts_of(one), ignore_errors=True)
