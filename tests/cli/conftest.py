"""What the tests of the command line share: an installation with a warden, one a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation
from needs import needs_root


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path_factory.mktemp("cli"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation of a test's own: one that may be left hanging or dead."""
    needs_root()
    made = Installation(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()
