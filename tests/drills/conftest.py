"""Drills go through a real warden, from outside: one for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, until
from needs import needs_root
from scripted import Scripted, scripted


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    needs_root()
    one = Installation(tmp_path_factory.mktemp("shared"))
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def shared(_shared: Installation) -> Iterator[Installation]:
    """Give the one that all tests share; what a test latched is reset after it."""
    yield _shared
    if _shared.status()["latched"]:
        _shared.reset("/")
    until(lambda: not _shared.status()["latched"], "nothing is latched for the next test")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with its warden running, for this test alone."""
    needs_root()
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Scripted]:
    """Give one whose actuators can be told to say "done" and do nothing; not started yet."""
    yield from scripted(tmp_path, "lying_warden")
