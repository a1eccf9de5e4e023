"""The spine's tests go through a real warden, from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation
from ssh_keys import sign, ssh_key

__all__ = ["installation", "people", "sign", "ssh_key"]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with its warden running."""
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with a group that may stop."""
    one = Installation(tmp_path, gid=4200)
    try:
        yield one.start()
    finally:
        one.close()
