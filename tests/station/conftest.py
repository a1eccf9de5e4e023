"""One house and one browser for a module's tests, where they do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from house import House, chromium, house
from scripted_world import World
from visits import Visits


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house that the module's tests share."""
    with house(tmp_path_factory.mktemp("house")) as one:
        yield one


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """Give a house of the test's own."""
    with house(tmp_path) as one:
        yield one


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give a real Chromium for all tests of this process."""
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give a house on a world that does what a test says."""
    one = World()
    try:
        one.house.start()
        yield one
    finally:
        one.close()


@pytest.fixture
def visits(
    world: World,
    browser: Any,  # noqa: ANN401
) -> Iterator[Visits]:
    """Give the people at that world's console."""
    one = Visits(world.house, browser)
    yield one
    one.close()
