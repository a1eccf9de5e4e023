"""What the tests of reports share: a story to be told, and a real ledger that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chronicle import Chronicle
from offswitch.ledger.seal import seal
from offswitch.ledger.store import Position
from recordings import Home, Recording


class Shelf:
    """A ledger on disk, and the command line that reads it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self._size = 0

    def keep(self, told: Chronicle) -> None:
        """Enter what was told since the last time, as a recorder would."""
        fresh = [seal(one.public, one.sealed, "journal") for one in told.entries[self._size :]]
        opened = self.home.open()
        opened.store.commit(fresh, Position(b"r" * 16, len(told.entries)))
        opened.pin.write_head(opened.store.note)
        opened.store.close()
        self._size = len(told.entries)


@pytest.fixture
def told() -> Chronicle:
    """Give a story that has not begun."""
    return Chronicle()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Give an installation of which only the ledger is there."""
    folder = tmp_path / "home"
    monkeypatch.setenv("OFFSWITCH_HOME", str(folder))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path / "run"))
    return Shelf(folder)


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """Give an installation with a real recorder, which the command line means."""
    made = Recording(tmp_path)
    monkeypatch.setenv("OFFSWITCH_HOME", made.place.home)
    monkeypatch.setenv("OFFSWITCH_RUN", made.place.run)
    made.start()
    with made.conversation():
        yield made
    made.close()
