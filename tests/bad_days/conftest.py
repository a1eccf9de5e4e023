"""The bad days go through a real installation, from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with its warden running."""
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()
