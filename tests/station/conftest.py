"""One house and one browser for a module's tests, where they do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from house import House, chromium, house
from oidc_provider import CLIENT, SECRET, OidcProvider
from scripted_world import World
from ssh_keys import ssh_key
from visits import Visits

__all__ = ["browser", "home", "own", "ssh_key", "visits", "world"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house that the module's tests share."""
    with house(tmp_path_factory.mktemp("house")) as one:
        yield one


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house that several modules share, which stop and sign in and break nothing."""
    with house(tmp_path_factory.mktemp("town")) as one:
        yield one


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    """Give somebody else who signs people in."""
    one = OidcProvider()
    yield one
    one.close()


@pytest.fixture(scope="session")
def sso(tmp_path_factory: pytest.TempPathFactory, provider: OidcProvider) -> Iterator[House]:
    """Give a house that lets a provider sign people in."""
    folder = tmp_path_factory.mktemp("sso")
    secret = Path(folder, "secret")
    secret.touch(0o600)
    secret.write_text(SECRET)
    config = (
        "[station]\n[station.sso]\n"
        f'issuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\nsecret_file = "{secret}"\n'
        'roles = { ops = "operator", audit = "auditor" }\n'
    )
    with house(folder, config, people={"root": ["operator", "admin"]}) as one:
        yield one


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """Give a house of the test's own."""
    with house(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Give a real Chromium for a module's tests; no longer, for its loop is this thread's."""
    with chromium() as one:
        yield one


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Give a house on a world that does what a test says; each test clears it before."""
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
