"""`offswitch ledger …`, as people and scripts call it."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from offswitch.cli.app import main
from offswitch.ledger.checkpoint import open_checkpoint
from offswitch.ledger.proof import root_of_inclusion
from offswitch.ledger.seal import seal
from offswitch.ledger.store import Position
from recordings import Home, entry, payload

COUNT = 300


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


class Cli:
    """The command line, in this process; parsing, output and exit code are the real ones."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Answer:
        self._capsys.readouterr()
        code = main(["ledger", *words])
        told = self._capsys.readouterr()
        return Answer(code, told.out, told.err)


@pytest.fixture
def ledger(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Home:
    home.fill(COUNT, batch=30)
    monkeypatch.setenv("OFFSWITCH_HOME", str(home.folder))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path / "run"))
    return home


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def add(ledger: Home, public: dict[str, Any], sealed: dict[str, Any]) -> None:
    opened = ledger.open()
    made = seal({**payload(9)["public"], **public}, sealed, "journal")
    opened.store.commit([made], Position())
    opened.pin.write_head(opened.store.note)
    opened.store.close()


# --- verify -----------------------------------------------------------------------


def test_verify_with_the_pin_alone_is_not_witnessed(ledger: Home, cli: Cli) -> None:
    answer = cli("verify", "--json")
    assert answer.code == 6
    assert answer.json == {"verdict": "unwitnessed", "entries": COUNT, "where": None}
    assert "the pin lies on the machine that it checks" in answer.err
    assert "nobody outside vouches" in cli("verify").out


def test_verify_with_a_brought_key_and_a_kept_head_is_verified(
    ledger: Home, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, head = tmp_path / "key", tmp_path / "kept"
    key.write_text(ledger.pin.key() or "")
    head.write_text(cli("head").out)
    ledger.fill(5, first=COUNT)
    answer = cli("verify", "--key", str(key), "--head", str(head), "--json")
    assert (answer.code, answer.json["verdict"]) == (0, "verified")
    assert "the last 5 entries came after the head" in answer.err
    for given in (str(key), key.read_text()):
        monkeypatch.setenv("OFFSWITCH_LEDGER_KEY", given)
        assert cli("verify", "--head", str(head)).code == 0
        assert cli("verify").code == 6


def test_the_pin_named_by_hand_is_still_the_pin(
    ledger: Home, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "looks-brought"
    link.symlink_to(ledger.pin.key_path)
    kept = tmp_path / "kept"
    kept.write_text(cli("head").out)
    assert cli("verify", "--key", str(link), "--head", str(kept)).code == 6
    key = tmp_path / "key"
    key.write_text(ledger.pin.key() or "")
    assert cli("verify", "--key", str(key), "--head", ledger.pin.head_path).code == 6
    monkeypatch.setenv("OFFSWITCH_LEDGER_KEY", ledger.pin.key_path)
    assert cli("verify", "--head", str(kept)).code == 6


def test_verify_says_where_it_is_corrupt(ledger: Home, cli: Cli) -> None:
    ledger.change("UPDATE entries SET body = x'00' WHERE idx = 17")
    answer = cli("verify", "--json")
    assert (answer.code, answer.json["verdict"]) == (1, "corrupt")
    assert answer.json["where"] == "entry 17 was changed"
    assert cli("verify").out == "CORRUPT: entry 17 was changed\n"


def test_verify_without_a_key_or_a_ledger_cannot_tell(
    ledger: Home, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.rmtree(ledger.folder / "pin")
    answer = cli("verify", "--json")
    assert answer.code == 7
    assert answer.json == {"verdict": "cannot-tell", "entries": 0, "where": None}
    assert "no key" in answer.err
    monkeypatch.setenv("OFFSWITCH_HOME", str(tmp_path / "nowhere"))
    assert cli("verify").code == 7


def test_a_wrong_key_is_corrupt_and_an_unreadable_one_is_a_wrong_call(
    ledger: Home, cli: Cli, tmp_path: Path
) -> None:
    other = Home(tmp_path / "other")
    other.open().store.close()
    assert cli("verify", "--key", other.pin.key_path).code == 1
    for given in (str(tmp_path / "missing"), __file__):
        answer = cli("verify", "--key", given, "--json")
        assert (answer.code, answer.json["error"]["kind"]) == (2, "usage")


# --- show -------------------------------------------------------------------------


def test_show_gives_the_latest_entries_with_their_sealed_values(ledger: Home, cli: Cli) -> None:
    answer = cli("show", "--last", "2", "--json").json
    assert answer["size"] == COUNT
    assert [each["index"] for each in answer["entries"]] == [COUNT - 2, COUNT - 1]
    last = answer["entries"][-1]
    assert last["intact"] is True
    assert last["public"]["digest"] == f"{COUNT - 1:064x}"
    assert "sealed" not in last["public"]
    assert last["sealed"]["by"] == "uid:1000"
    text = cli("show", "--last", "2").out
    assert "running → stopping" in text
    assert "by: uid:1000" in text
    assert len(cli("show", "--all", "--json").json["entries"]) == COUNT
    assert "entry 7\n" in cli("show", "7").out


def test_show_filters_by_kind_and_target(ledger: Home, cli: Cli) -> None:
    add(ledger, {"kind": "exit", "target": "shop/us", "scope": "x"}, {})
    found = cli("show", "--kind", "exit", "--json").json["entries"]
    assert [each["index"] for each in found] == [COUNT]
    found = cli("show", "--target", "shop/us", "--json").json["entries"]
    assert [each["index"] for each in found] == [COUNT]
    assert cli("show", "--kind", "lease", "--json").json["entries"] == []
    assert cli("show", "--kind", "nonsense").code == 2


def test_what_a_hostile_target_wrote_cannot_move_the_cursor(ledger: Home, cli: Cli) -> None:
    hostile = "\x1b[2J\x1b[1;1Hall is well\r\n\u202e\x07\x9b2K"
    add(
        ledger,
        {"kind": "note", "what": hostile, "detail": hostile, f"key{hostile}": hostile},
        {"reason": hostile, "argv": [hostile]},
    )
    for words in (("show", "--last", "1"), ("show", str(COUNT)), ("show", "--last", "1", "--json")):
        shown = cli(*words).out
        assert "all is well" in shown
        for bad in ("\x1b", "\r", "\u202e", "\x07", "\x9b"):
            assert bad not in shown, words
    assert cli("show", "--last", "1", "--json").json["entries"][0]["public"]["what"] == hostile


def test_show_marks_what_has_not_its_own_hash_any_more(ledger: Home, cli: Cli) -> None:
    ledger.change(
        """UPDATE entries SET sealed =
        CAST(replace(CAST(sealed AS TEXT), 'uid:1000', 'uid:7') AS BLOB) WHERE idx = 42""",
        "UPDATE entries SET body = x'ff' WHERE idx = 43",
    )
    for index in (42, 43):
        assert cli("show", str(index), "--json").json["entries"][0]["intact"] is False
        assert "DAMAGED" in cli("show", str(index)).out


def test_show_of_an_entry_that_is_not_there_says_which_are(ledger: Home, cli: Cli) -> None:
    answer = cli("show", str(COUNT), "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (4, "not-found")
    assert f"0 to {COUNT - 1}" in answer.json["error"]["hint"]


def test_without_a_ledger_each_command_says_so(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OFFSWITCH_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path / "run"))
    for words in (["show"], ["head"], ["proof", "1"], ["export", str(tmp_path / "out")]):
        answer = cli(*words, "--json")
        assert (answer.code, answer.json["error"]["kind"]) == (4, "not-found")


# --- head, proof, export ----------------------------------------------------------


def test_head_prints_just_what_was_signed(ledger: Home, cli: Cli) -> None:
    note = cli("head").out.encode()
    assert note == ledger.pin.head()
    head = open_checkpoint(note, ledger.vkey)
    answer = cli("head", "--json").json
    assert answer == {
        "origin": ledger.vkey.name,
        "size": COUNT,
        "root": head.root.hex(),
        "checkpoint": note.decode(),
    }


def test_proof_of_an_entry_is_a_tlog_proof_that_leads_to_the_signed_root(
    ledger: Home, cli: Cli
) -> None:
    for index in (0, 255, COUNT - 1):
        text = cli("proof", str(index)).out
        proof, _, note = text.partition("\n\n")
        lines = proof.split("\n")
        assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {index}"]
        head = open_checkpoint(note.encode(), ledger.vkey)
        leaf = sha256(b"\x00" + _body(ledger, index)).digest()
        hashes = [base64.b64decode(line) for line in lines[2:]]
        assert root_of_inclusion(leaf, index, COUNT, hashes) == head.root
        answer = cli("proof", str(index), "--json").json
        assert answer["leaf"] == leaf.hex()
        assert [bytes.fromhex(item) for item in answer["proof"]] == hashes


def _body(ledger: Home, index: int) -> bytes:
    connection = sqlite3.connect(ledger.paths.database)
    body: bytes = connection.execute(f"SELECT body FROM entries WHERE idx={index}").fetchone()[0]
    connection.close()
    return body


def test_no_proof_is_given_of_what_was_changed(ledger: Home, cli: Cli) -> None:
    forged = entry(5)
    ledger.change(("UPDATE entries SET body = ? WHERE idx = 9", (forged.body,)))
    answer = cli("proof", "9", "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (1, "corrupt")


def test_proof_since_a_head_shows_that_the_ledger_goes_on_from_it(
    ledger: Home, cli: Cli, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(cli("head").out)
    ledger.fill(11, first=COUNT)
    answer = cli("proof", "--since", str(kept), "--json").json
    assert (answer["first"], answer["size"]) == (COUNT, COUNT + 11)
    assert answer["proof"]
    other = Home(tmp_path / "other")
    other.fill(3)
    for bad in (other.pin.head_path, __file__, str(tmp_path / "missing")):
        assert cli("proof", "--since", bad).code in {1, 2}
    assert cli("proof").code == 2
    assert cli("proof", "1", "--since", str(kept)).code == 2


def test_export_goes_on_with_itself_and_with_nothing_else(
    ledger: Home, cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    first = cli("export", str(folder), "--json").json
    assert first["entries"] == COUNT
    full = folder / "tile" / "entries" / "000"
    stamp = full.stat().st_mtime_ns
    ledger.fill(300, first=COUNT)
    second = cli("export", str(folder), "--json").json
    assert second["entries"] == COUNT + 300
    assert full.stat().st_mtime_ns == stamp
    assert (folder / "checkpoint").read_bytes() == ledger.pin.head()
    assert b"uid:1000" not in b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )
    other = Home(tmp_path / "other")
    other.fill(3)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "checkpoint").write_bytes(other.pin.head() or b"")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("x")
    for bad in ("mixed", "used"):
        answer = cli("export", str(tmp_path / bad), "--json")
        assert (answer.code, answer.json["error"]["kind"]) == (5, "refused")


def test_the_command_itself_ends_with_the_promised_code(ledger: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offswitch", "ledger", "verify", "--json"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (6, "unwitnessed")
