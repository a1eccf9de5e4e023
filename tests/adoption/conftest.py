"""What the tests of adoption share: a warden of the module's, and cgroups that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adopted_ground import Ground
from installation import Installation
from needs import needs_root


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path_factory.mktemp("adoption"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation of a test's own."""
    needs_root()
    made = Installation(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def ground(as_root: None) -> Iterator[Ground]:
    made = Ground()
    try:
        yield made
    finally:
        made.close()
