"""One real host with systemd for the tests of installing, in which Offswitch is installed.

Each test leaves it as it found it: installed, the service running, nothing latched.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from host import Host
from newcomer import Newcomer


def _booted() -> Iterator[Newcomer]:
    one = Newcomer(Host(state_on_disk=False))
    try:
        one.host.boot()
        yield one
    finally:
        one.end()


@pytest.fixture(scope="module")
def bare() -> Iterator[Newcomer]:
    """Give a booted host on which nothing of ours is; each test leaves it like that."""
    yield from _booted()


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """Give a host on which Offswitch is installed, with a member of the group and a stranger."""
    for one in _booted():
        one.sh("useradd --create-home ann; useradd --create-home bob")
        one.install()
        one.sh("usermod --append --groups offswitch ann")
        yield one
