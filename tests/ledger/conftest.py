"""A ledger of its own for each test, with or without a real recorder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings import Home, Recording


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give an installation's state folder, in which no ledger has begun."""
    return Home(tmp_path / "home")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """Give an installation whose recorder the test starts and ends."""
    made = Recording(tmp_path)
    yield made
    made.close()
