"""What the tests of the guard share."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.written_page import WrittenPage


@pytest.fixture
def page(tmp_path: Path) -> WrittenPage:
    return WrittenPage(tmp_path / "page")
