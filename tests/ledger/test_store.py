"""The writer: all or nothing, and nothing in memory believed after a failure."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from offswitch.clock import SystemClock
from offswitch.control.journal import Ring
from offswitch.errors import Corrupt, OffswitchError, Storage
from offswitch.ledger.checkpoint import open_checkpoint
from offswitch.ledger.key import SigningKey
from offswitch.ledger.recorder import Recorder
from offswitch.ledger.seal import SealedEntry
from offswitch.ledger.store import Position, Store
from offswitch.ledger.tree import Frontier, leaf_hash
from offswitch.ledger.verifier import Verdict
from recordings import INSTALLATION, Home, Recording, entry, payload

RING = b"r" * 16
ORIGIN = f"offswitch/{INSTALLATION}"
GOLDEN = Path(__file__).parent / "golden"


def test_a_commit_gives_indexes_and_a_signed_head(home: Home) -> None:
    opened = home.open()
    made = [entry(number) for number in range(5)]
    assert opened.store.commit(made[:3], Position(RING, 3)) == range(3)
    assert opened.store.commit(made[3:], Position(RING, 5)) == range(3, 5)
    frontier = Frontier()
    for each in made:
        frontier.append(leaf_hash(each.body))
    head = open_checkpoint(opened.store.note, home.vkey)
    assert (head.size, head.root) == (5, frontier.root())
    opened.store.close()
    again = home.open().store
    assert (again.size, again.note, again.position) == (5, opened.store.note, Position(RING, 5))


def test_rows_are_final_to_the_byte(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key and salts that are known, a ledger has but one form."""
    monkeypatch.setattr("offswitch.ledger.seal.os.urandom", lambda size: bytes(range(size)))
    os.mkdir(home.paths.folder)
    Path(home.paths.key).write_text(SigningKey(ORIGIN, bytes(range(32))).text())
    store = home.open().store
    store.commit([entry(0)], Position(RING, 1))
    store.commit([entry(number) for number in range(1, 256)], Position(RING, 300))
    store.close()
    connection = sqlite3.connect(home.paths.database)
    rows = connection.execute("SELECT * FROM entries WHERE idx IN (0, 1, 255)").fetchall()
    rows += connection.execute("SELECT * FROM nodes").fetchall()
    layout = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
    versions = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    ]
    connection.close()
    told = [*(str(row) for row in rows), str(versions), *(text for (text,) in layout)]
    assert "\n".join(told) + "\n" == (GOLDEN / "rows.txt").read_text()


def test_the_place_in_every_journal_is_known(home: Home) -> None:
    store = home.open().store
    assert store.position_in(RING) == 0
    store.commit([entry(1)], Position(RING, 7))
    store.commit([entry(2)], Position(b"s" * 16, 2))
    assert (store.position_in(b"s" * 16), store.position_in(RING)) == (2, 7)
    assert store.position_in(b"t" * 16) == 0


@pytest.mark.parametrize("count", [1, 300])
def test_a_commit_that_fails_enters_nothing_and_the_next_one_goes_on(
    home: Home, count: int
) -> None:
    store = home.open().store
    store.commit([entry(0)], Position(RING, 1))
    note = store.note
    intruder = sqlite3.connect(home.paths.database, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    batch = [entry(number) for number in range(1, count + 1)]
    for _ in range(2):
        with pytest.raises(Storage, match="locked"):
            store.commit(batch, Position(RING, 2))
    intruder.execute("ROLLBACK")
    intruder.close()
    assert (store.size, store.note) == (1, note)
    assert store.commit(batch, Position(RING, 2)) == range(1, count + 1)
    store.close()
    assert home.verify().verdict is Verdict.UNWITNESSED


def test_after_a_failure_the_tree_is_derived_from_the_disk_and_not_from_memory(home: Home) -> None:
    store = home.open().store
    store.commit([entry(0), entry(1)], Position(RING, 1))
    intruder = sqlite3.connect(home.paths.database, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Storage):
        store.commit([entry(2)], Position(RING, 2))
    intruder.execute("UPDATE entries SET leaf = zeroblob(32) WHERE idx = 0")
    intruder.execute("COMMIT")
    intruder.close()
    with pytest.raises(Corrupt, match="not what was signed"):
        store.commit([entry(2)], Position(RING, 2))


def test_what_is_no_ledger_of_ours_is_not_written(home: Home, tmp_path: Path) -> None:
    home.fill(3)
    home.change("PRAGMA user_version=99")
    with pytest.raises(Corrupt, match="format 99"):
        home.open()
    other = Home(tmp_path / "other")
    other.open().store.close()
    Path(other.paths.database).write_bytes(b"this is no database" * 100)
    with pytest.raises(Corrupt, match="not a database"):
        other.open()


def test_another_installations_ledger_is_not_written(home: Home) -> None:
    home.fill(3)
    (home.folder / "installation").write_text("f" * 32 + "\n")
    with pytest.raises(Corrupt, match="is the key of offswitch/"):
        home.open()
    (home.folder / "installation").write_text("no id\n")
    with pytest.raises(Corrupt, match="no installation id"):
        home.open()
    (home.folder / "installation").unlink()
    with pytest.raises(Storage, match="installation"):
        home.open()


def test_a_commit_that_was_said_to_fail_and_did_not_is_not_repeated(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed sync at the wrong moment can look like: it is on disk all the same."""
    commit, failures = Store.commit, [0, 0]

    def lying(store: Store, entries: list[SealedEntry], position: Position) -> range:
        done = commit(store, entries, position)
        if failures:
            failures.pop()
            raise Storage("the disk lost its tongue")
        return done

    monkeypatch.setattr(Store, "commit", lying)
    reader, recording.wake = os.pipe()
    recorder = Recorder(recording.place, Ring.open(recording.ring_path), reader, SystemClock())
    assert recorder.wait_for_lock() is not None
    for number in range(3):
        recording.append(number)
        recorder._again_us = 0
        recorder._record()
    assert failures == []
    orders = [body for body in recording.bodies() if body["kind"] == "order"]
    assert [int(body["digest"], 16) for body in orders] == [0, 1, 2]
    assert recording.verify().verdict is Verdict.UNWITNESSED


def test_it_keeps_trying_without_end_and_without_haste(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(store: Store, entries: list[SealedEntry], position: Position) -> range:
        raise Storage("the disk is full")

    reader, recording.wake = os.pipe()
    recorder = Recorder(recording.place, Ring.open(recording.ring_path), reader, SystemClock())
    assert recorder.wait_for_lock() is not None
    recording.append(0)
    monkeypatch.setattr(Store, "commit", refusing)
    pauses = []
    for _ in range(12):
        recorder._again_us = 0
        recorder._record()
        pauses.append(recorder._pause_s)
    assert pauses[0] < 0.1
    assert pauses == sorted(pauses)
    assert pauses[-1] == pauses[-2] == 5.0
    monkeypatch.undo()
    recorder._again_us = 0
    recorder._record()
    assert recording.bodies()[-1]["digest"] == payload(0)["public"]["digest"]


def test_errors_say_what_to_do_next(home: Home) -> None:
    home.fill(2)
    home.change("DELETE FROM entries WHERE idx = 1")
    with pytest.raises(OffswitchError) as caught:
        home.open()
    assert "verify" in caught.value.hint or "evidence" in caught.value.hint
