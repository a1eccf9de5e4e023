"""The verifier finds whatever was done to a ledger, and where; and alarms about nothing else."""

from __future__ import annotations

import ast
import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from needs import needs_root
from offswitch.errors import OffswitchError
from offswitch.ledger.checkpoint import Checkpoint
from offswitch.ledger.key import SigningKey
from offswitch.ledger.reader import reading
from offswitch.ledger.seal import seal
from offswitch.ledger.store import Position, Store
from offswitch.ledger.verifier import Head, Outcome, Verdict, verify
from recordings import Home, entry
from scale import runs

COUNT = 600
"""More than two full tiles, and a part of a third."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("filled"))
    home.fill(COUNT)
    return home


@pytest.fixture
def ledger(filled: Home, tmp_path: Path) -> Home:
    """A ledger of its own for a test that does something to it."""
    copy = Home(tmp_path / "copy")
    shutil.rmtree(copy.folder)
    shutil.copytree(filled.folder, copy.folder)
    return copy


def corrupt(outcome: Outcome) -> str:
    assert outcome.verdict is Verdict.CORRUPT, outcome
    assert outcome.where is not None
    return outcome.where


def flipped(good: bytes | int, rng: random.Random) -> bytes | int:
    if isinstance(good, int):
        return good ^ 1 << rng.randrange(40)
    bad = bytearray(good)
    bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    return bytes(bad)


# --- what it says when nothing is wrong -------------------------------------------


def test_a_ledger_that_nobody_touched_is_consistent_but_not_witnessed(filled: Home) -> None:
    outcome = filled.verify()
    assert (outcome.verdict, outcome.entries) == (Verdict.UNWITNESSED, COUNT)
    assert outcome.where is None
    assert any("bring the key" in note for note in outcome.notes)


def test_verified_takes_a_key_that_was_brought_and_a_head_that_was_kept(ledger: Home) -> None:
    kept = Head(ledger.pin.head() or b"", "kept", elsewhere=True)
    ledger.fill(40, first=COUNT)
    assert ledger.verify(kept).verdict is Verdict.UNWITNESSED
    assert ledger.verify(brought=True).verdict is Verdict.UNWITNESSED
    outcome = ledger.verify(kept, brought=True)
    assert (outcome.verdict, outcome.entries) == (Verdict.VERIFIED, COUNT + 40)
    assert any("the last 40 entries came after" in note for note in outcome.notes)


def test_without_a_key_a_ledger_or_a_usable_head_it_cannot_tell(filled: Home, home: Home) -> None:
    assert verify(filled.paths.database, None).verdict is Verdict.CANNOT_TELL
    missing = verify(home.paths.database, filled.vkey)
    assert missing.verdict is Verdict.CANNOT_TELL
    useless = Head(b"no head at all", "kept", elsewhere=True)
    outcome = filled.verify(useless, brought=True)
    assert outcome.verdict is Verdict.CANNOT_TELL
    assert "kept proves nothing" in outcome.notes[-1]


def test_an_empty_file_is_nothing_to_judge_unless_a_head_says_otherwise(ledger: Home) -> None:
    with open(ledger.paths.database, "wb"):
        pass
    assert ledger.verify().verdict is Verdict.CANNOT_TELL


def test_an_emptied_ledger_is_behind_its_pin(ledger: Home) -> None:
    ledger.change("DELETE FROM entries", "DELETE FROM nodes")
    assert "entry 0 is missing" in corrupt(ledger.verify())


def test_a_pin_that_a_crash_left_unreadable_vouches_for_nothing_and_alarms_nobody(
    ledger: Home,
) -> None:
    Path(ledger.pin.head_path).write_bytes(b"")
    outcome = ledger.verify()
    assert outcome.verdict is Verdict.UNWITNESSED
    assert any("pin/head is not used" in note for note in outcome.notes)


# --- what it finds ----------------------------------------------------------------


def test_REC_1_a_flipped_bit_is_found_with_its_place(ledger: Home, rng: random.Random) -> None:
    for column, index in [
        (column, rng.randrange(COUNT - 1))
        for column in ("body", "sealed", "leaf", "link", "checkpoint", "ring", "seq")
        for _ in range(runs(60))
    ]:
        connection = sqlite3.connect(ledger.paths.database, isolation_level=None)
        query = f"SELECT idx, {column} FROM entries WHERE idx >= ? AND {column} IS NOT NULL"
        place, good = connection.execute(query, (index,)).fetchone()
        change = f"UPDATE entries SET {column} = ? WHERE idx = ?"
        connection.execute(change, (flipped(good, rng), place))
        where = corrupt(ledger.verify())
        # Of what lies between two entries the second one tells.
        told = {"checkpoint": f"entry {place + 1} does not follow entry {place}"}
        told["link"] = told["ring"] = told["seq"] = f"entry {place} does not follow"
        if place == COUNT - 1:
            told["checkpoint"] = f"checkpoint of entry {place}"
        assert where.startswith(told.get(column, f"entry {place}")), (column, place, where)
        connection.execute(change, (good, place))
        connection.close()
    assert ledger.verify().verdict is Verdict.UNWITNESSED


def test_REC_1_any_changed_byte_of_the_file_is_found_or_was_none_of_the_record(
    ledger: Home, rng: random.Random
) -> None:
    path = Path(ledger.paths.database)
    good = path.read_bytes()
    before = ledger.bodies()
    for _ in range(runs(1000)):
        bad = bytearray(good)
        at = rng.randrange(len(bad))
        bad[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        outcome = ledger.verify()
        if outcome.verdict is Verdict.UNWITNESSED:
            assert ledger.bodies() == before, f"byte {at} changed the record unseen"
        else:
            assert outcome.verdict in {Verdict.CORRUPT, Verdict.CANNOT_TELL}


def test_REC_1_a_schema_that_is_no_text_is_damage_and_no_crash(ledger: Home) -> None:
    """SQLite quotes it in its complaint, which Python then cannot read."""
    path = Path(ledger.paths.database)
    good = path.read_bytes()
    begin = good.index(b"CREATE TABLE")
    seen = set()
    for at in range(begin, begin + 120, 2):
        path.write_bytes(good[:at] + b"\xec" + good[at + 1 :])
        outcome = ledger.verify()
        assert outcome.verdict in {Verdict.CORRUPT, Verdict.CANNOT_TELL}, (at, outcome)
        seen.add(outcome.where)
        with contextlib.suppress(OffswitchError), reading(str(ledger.folder)):
            pass  # an error of ours or none, and never another
    assert any("the schema is garbled" in str(where) for where in seen)


def test_REC_1_changed_text_is_found_with_its_place(ledger: Home) -> None:
    ledger.change(
        "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'kill', 'drain') AS BLOB) "
        "WHERE idx = 321"
    )
    assert corrupt(ledger.verify()) == "entry 321 was changed"


def test_REC_1_changed_text_with_its_own_new_hash_is_found_with_its_place(ledger: Home) -> None:
    forged = entry(9999)
    values = (forged.body, _leaf(forged.body), forged.sealed)
    ledger.change(("UPDATE entries SET body=?, leaf=?, sealed=? WHERE idx=321", values))
    assert corrupt(ledger.verify()).startswith("entry 322 does not follow entry 321")


def test_REC_1_a_deleted_entry_is_found_with_its_place(ledger: Home) -> None:
    ledger.change("DELETE FROM entries WHERE idx = 250")
    assert corrupt(ledger.verify()) == "entry 250 is missing"


def test_REC_1_a_deleted_entry_is_found_when_the_others_close_up(ledger: Home) -> None:
    ledger.change(
        "DELETE FROM entries WHERE idx = 250",
        "UPDATE entries SET idx = -idx WHERE idx > 250",
        "UPDATE entries SET idx = -idx - 1 WHERE idx < 0",
    )
    assert corrupt(ledger.verify()).startswith("entry 250 does not follow entry 249")


def test_REC_1_swapped_entries_are_found_with_their_place(ledger: Home) -> None:
    ledger.change(
        "UPDATE entries SET idx = -1 WHERE idx = 100",
        "UPDATE entries SET idx = 100 WHERE idx = 400",
        "UPDATE entries SET idx = 400 WHERE idx = -1",
    )
    assert corrupt(ledger.verify()).startswith("entry 100 does not follow entry 99")


def test_REC_1_an_inserted_entry_is_found_with_its_place(ledger: Home) -> None:
    forged = entry(7777)
    ledger.change(
        "UPDATE entries SET idx = -idx - 1 WHERE idx >= 77",
        "UPDATE entries SET idx = -idx WHERE idx < 0",
        (
            """INSERT INTO entries SELECT 77, link, ?, NULL, NULL, NULL, ?, ?
            FROM entries WHERE idx = 78""",
            (_leaf(forged.body), forged.sealed, forged.body),
        ),
    )
    assert corrupt(ledger.verify()).startswith("entry 78 does not follow entry 77")


def test_REC_1_an_appended_entry_is_found_with_its_place(ledger: Home) -> None:
    forged = entry(7777)
    ledger.change(
        (
            """INSERT INTO entries SELECT idx + 1, ?, ?, ring, seq, checkpoint, ?, ?
            FROM entries WHERE idx = 599""",
            (_next_link(ledger, 599), _leaf(forged.body), forged.sealed, forged.body),
        )
    )
    assert corrupt(ledger.verify()).startswith("checkpoint of entry 600: it is of 600 entries")


@pytest.mark.parametrize("left", [599, 595, 512, 300, 7, 1])
def test_REC_1_a_truncated_ledger_is_found_with_its_place(ledger: Home, left: int) -> None:
    ledger.change(f"DELETE FROM entries WHERE idx >= {left}")
    where = corrupt(ledger.verify())
    assert where == f"entry {left} is missing: pin/head has 600 entries, the ledger {left}"


def test_REC_1_a_restored_copy_is_behind_the_head_that_was_kept(ledger: Home) -> None:
    backup = ledger.folder.with_name("backup")
    shutil.copytree(ledger.folder, backup)
    ledger.fill(50, first=COUNT)
    kept = Head(ledger.pin.head() or b"", "kept", elsewhere=True)
    shutil.rmtree(ledger.folder)
    shutil.copytree(backup, ledger.folder)  # pin and all
    assert ledger.verify(brought=True).verdict is Verdict.UNWITNESSED
    where = corrupt(ledger.verify(kept, brought=True))
    assert where == "entry 600 is missing: kept has 650 entries, the ledger 600"


def test_REC_1_another_history_signed_with_the_stolen_key_is_found_by_a_kept_head(
    ledger: Home,
) -> None:
    kept = Head(ledger.pin.head() or b"", "kept", elsewhere=True)
    key = Path(ledger.paths.key).read_bytes()
    shutil.rmtree(ledger.folder / "ledger")
    shutil.rmtree(ledger.folder / "pin")
    (ledger.folder / "ledger").mkdir()
    Path(ledger.paths.key).write_bytes(key)
    ledger.fill(COUNT + 5, first=100_000)
    assert ledger.verify(brought=True).verdict is Verdict.UNWITNESSED  # the key alone is silent
    where = corrupt(ledger.verify(kept, brought=True))
    assert where == "entries 0 to 599: their tree is not the one of kept"


def test_a_rewritten_tail_with_all_hashes_redone_is_not_what_was_signed(ledger: Home) -> None:
    """Whoever redoes leaves, links and nodes still lacks the key."""
    forger = SigningKey(ledger.vkey.name, b"f" * 32)
    shutil.copy(ledger.paths.database, ledger.paths.database + ".good")
    rows = ledger.folder / "forged"
    forged = Home(rows)
    Path(forged.folder / "ledger").mkdir()
    Path(forged.paths.key).write_text(forger.text())
    forged.fill(COUNT, first=50_000)
    shutil.copy(forged.paths.database, ledger.paths.database)
    where = corrupt(verify(ledger.paths.database, ledger.vkey))
    assert where.startswith("checkpoint of entry 599: not signed by")


def test_a_tile_that_was_redone_is_found_by_its_node(ledger: Home) -> None:
    ledger.change("UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 1")
    where = corrupt(ledger.verify())
    assert where == "table nodes: node 1 of level 1 is not the root of entries 256 to 511"
    ledger.change("DELETE FROM nodes WHERE idx = 1")
    assert "node 1 of level 1" in corrupt(ledger.verify())


def test_a_node_that_belongs_nowhere_is_found(ledger: Home) -> None:
    ledger.change("INSERT INTO nodes VALUES (1, 2, zeroblob(32))")
    assert corrupt(ledger.verify()) == "table nodes: node 2 of level 1 belongs to no full tile"


def test_a_wrong_key_is_found_and_named(filled: Home) -> None:
    stranger = SigningKey(filled.vkey.name, b"s" * 32).verify_key
    outcome = verify(filled.paths.database, stranger, brought=True)
    assert corrupt(outcome).startswith("checkpoint of entry 599: not signed by")


def test_the_key_never_comes_from_the_ledger(ledger: Home) -> None:
    """A thief who signs anew with a key of his own, and plants it, convinces nobody."""
    thief = SigningKey(ledger.vkey.name, b"t" * 32)
    root = _root_of(ledger)
    note = thief.sign(Checkpoint(ledger.vkey.name, COUNT, root))
    true_key = ledger.vkey
    ledger.change(("UPDATE entries SET checkpoint = ? WHERE idx = 599", (note,)))
    Path(ledger.paths.key).write_text(thief.text())
    assert verify(ledger.paths.database, thief.verify_key).verdict is Verdict.UNWITNESSED
    outcome = verify(ledger.paths.database, true_key, brought=True)
    assert corrupt(outcome).startswith("checkpoint of entry 599: not signed by")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("CREATE TABLE more (x)", "table more: not one of ours"),
        ("DROP TABLE nodes", "table nodes: missing"),
        ("CREATE VIEW seen AS SELECT 1", "table seen: not one of ours"),
        (
            "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
            "table t: not one of ours",
        ),
    ],
)
def test_tables_that_are_not_ours_are_found(ledger: Home, change: str, where: str) -> None:
    ledger.change(change)
    assert corrupt(ledger.verify()) == where


def test_whatever_stands_in_the_cells_is_judged_and_crashes_nothing(
    filled: Home, tmp_path: Path, rng: random.Random
) -> None:
    """A thief may lay out the tables anew, so that they hold anything at all."""
    small = Home(tmp_path / "small")
    small.fill(40)
    small.change(
        "ALTER TABLE entries RENAME TO old",
        "CREATE TABLE entries (idx, link, leaf, ring, seq, checkpoint, sealed, body)",
        "INSERT INTO entries SELECT * FROM old",
        "DROP TABLE old",
    )
    assert small.verify().verdict is Verdict.UNWITNESSED
    good = Path(small.paths.database).read_bytes()
    columns = ["idx", "link", "leaf", "ring", "seq", "checkpoint", "sealed", "body"]
    odd: list[object] = [None, -1, 2**62, 0.5, "text", "\ud7ff", b"", b"\xff" * 40, "[" * 5000]
    odd += [b'{"sealed":7}', b"[]", b"by", b"\n", b"\xff x y", '{"kind":"erase","sealed":{}}']
    for _ in range(runs(2000)):
        column, index, value = rng.choice(columns), rng.randrange(40), rng.choice(odd)
        small.change((f"UPDATE entries SET {column} = ? WHERE idx = ?", (value, index)))
        if column == "body" and isinstance(value, bytes):
            small.change(("UPDATE entries SET leaf = ? WHERE idx = ?", (_leaf(value), index)))
        outcome = small.verify()
        # An empty blob in place of NULL in the midst of a commit says the same.
        same = value in {None, b""} and column in {"ring", "seq", "checkpoint"}
        assert outcome.verdict is Verdict.CORRUPT or same, (column, index, value, outcome)
        Path(small.paths.database).write_bytes(good)


# --- sealed values ----------------------------------------------------------------


def _sealed_line(ledger: Home, index: int) -> bytes:
    connection = sqlite3.connect(ledger.paths.database)
    query = "SELECT sealed FROM entries WHERE idx = ?"
    lines: bytes = connection.execute(query, (index,)).fetchone()[0]
    connection.close()
    return lines


def test_a_changed_sealed_value_is_found_with_its_place(ledger: Home) -> None:
    lines = _sealed_line(ledger, 300).replace(b"uid:1000", b"uid:1001")
    ledger.change(("UPDATE entries SET sealed = ? WHERE idx = 300", (lines,)))
    assert corrupt(ledger.verify()) == "entry 300: its sealed value 'by' was changed"


def test_a_removed_sealed_value_is_found_with_its_place(ledger: Home) -> None:
    lines = _sealed_line(ledger, 300).split(b"\n")[0]
    ledger.change(("UPDATE entries SET sealed = ? WHERE idx = 300", (lines,)))
    assert corrupt(ledger.verify()) == "entry 300: its sealed value 'reason' is missing"
    ledger.change("UPDATE entries SET sealed = x'' WHERE idx = 300")
    assert corrupt(ledger.verify()) == "entry 300: its sealed value 'by' is missing"


def test_an_added_sealed_value_is_found_with_its_place(ledger: Home) -> None:
    lines = _sealed_line(ledger, 300) + b'\nvery_new 00 "x"'
    ledger.change(("UPDATE entries SET sealed = ? WHERE idx = 300", (lines,)))
    assert "entry 300: a sealed value 'very_new'" in corrupt(ledger.verify())


def test_an_erased_value_keeps_every_proof_if_an_entry_says_so(ledger: Home) -> None:
    by, reason = _sealed_line(ledger, 300).split(b"\n")
    assert reason.startswith(b"reason ")
    erased = (b"\n".join([by, b"reason"]), 300)
    ledger.change(("UPDATE entries SET sealed = ? WHERE idx = ?", erased))
    assert corrupt(ledger.verify()) == "entry 300: its sealed value 'reason' is missing"
    opened = ledger.open()
    public = {"v": 1, "kind": "erase", "entry": 300, "field": "reason"}
    opened.store.commit([seal(public, {"by": "uid:0", "reason": "GDPR"}, "socket")], Position())
    opened.store.close()
    outcome = ledger.verify()
    assert outcome.verdict is Verdict.UNWITNESSED
    assert "1 sealed values were erased, each by an entry" in outcome.notes


# --- no false alarm ---------------------------------------------------------------


def test_REC_1_a_writer_at_work_raises_no_false_alarm(ledger: Home) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            opened, number = ledger.open(), COUNT
            while not done.is_set():
                batch = [entry(each) for each in range(number, number + 1 + number % 9)]
                opened.store.commit(batch, Position(b"r" * 16, number))
                opened.pin.write_head(opened.store.note)
                opened.store.tidy()
                number += len(batch)
                time.sleep(0.002)
            opened.store.close()
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    try:
        for _ in range(runs(400)):
            outcome = ledger.verify()
            assert outcome.verdict is Verdict.UNWITNESSED, outcome
            assert not any("not used" in note for note in outcome.notes)
            seen.append(outcome.entries)
    finally:
        done.set()
        writer.join()
    assert failures == []
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


_AS_ANOTHER_USER = """
import json, os, sys
from offswitch.ledger.checkpoint import VerifyKey
from offswitch.ledger.verifier import verify
os.setgid(65534)
os.setuid(65534)
outcome = verify(sys.argv[1], VerifyKey.parse(sys.argv[2]))
print(json.dumps([outcome.verdict.value, outcome.entries, outcome.notes]))
"""


@pytest.mark.parametrize("recorder", ["ended", "at work", "killed"])
def test_a_ledger_in_a_folder_that_cannot_be_written_is_checked_all_the_same(
    ledger: Home, recorder: str
) -> None:
    needs_root()
    # Other users must get through to it, so it may not lie below a private folder.
    place = Path(tempfile.mkdtemp(prefix="offswitch-test-", dir="/var/tmp"))
    try:
        store = Store.open(ledger.paths.database, SigningKey.load(ledger.paths.key))
        store.commit([entry(5)], Position())
        if recorder == "ended":
            store.close()
        shutil.copytree(ledger.paths.folder, place, dirs_exist_ok=True)
        if recorder == "at work":
            store.close()
            store = Store.open(str(place / "ledger.db"), SigningKey.load(ledger.paths.key))
        place.chmod(0o755)
        for path in place.iterdir():
            path.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER_USER, str(place / "ledger.db"), ledger.vkey.text()],
            capture_output=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[:2] == ["unwitnessed", COUNT + 1], done.stdout
        store.close()
    finally:
        shutil.rmtree(place)


# --- how it is built --------------------------------------------------------------


def test_the_verifier_imports_the_tree_and_the_signature_check_and_nothing_else_of_ours() -> None:
    code = (
        "import sys, offswitch.ledger.verifier;"
        "print(sorted(name for name in sys.modules if name.startswith('offswitch')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    assert ast.literal_eval(done.stdout.decode()) == [
        "offswitch",
        "offswitch.ledger",
        "offswitch.ledger.checkpoint",
        "offswitch.ledger.tree",
        "offswitch.ledger.verifier",
    ]


def _leaf(body: bytes) -> bytes:
    return sha256(b"\x00" + body).digest()


def _next_link(ledger: Home, index: int) -> bytes:
    connection = sqlite3.connect(ledger.paths.database)
    query = "SELECT leaf, checkpoint, ring, seq FROM entries WHERE idx = ?"
    leaf, note, ring, seq = connection.execute(query, (index,)).fetchone()
    connection.close()
    return sha256(leaf + note + ring + seq.to_bytes(8, "big")).digest()


def _root_of(ledger: Home) -> bytes:
    opened = ledger.open()
    root = opened.store.root_at(COUNT)
    opened.store.close()
    return root
