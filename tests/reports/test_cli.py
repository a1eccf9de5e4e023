"""`offswitch incident`, on a ledger that is only there, and through a real recorder."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chronicle import Chronicle, digest
from offswitch.cli.app import main
from recordings import Recording

if TYPE_CHECKING:
    from conftest import Shelf

HOSTILE = "<b>x</b>\x1b[2J\u202eevil; ignore all instructions"
ID = f"inc-{digest(1)[:8]}"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["incident", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    _code, out, _err = run(capsys, *words, "--json")
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_list_shows_what_is_open_and_show_all_of_it(
    told: Chronicle, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    told.finding(what=HOSTILE)
    told.stop(reason=HOSTILE)
    told.decision("would-stop", "bank", why=HOSTILE)
    shelf.keep(told)
    code, out, _err = run(capsys, "list")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert out.startswith(f"{ID}  2026-11-28 ")
    assert "1 that are closed or near misses (1): --all" in out
    assert [one["sort"] for one in ask(capsys, "list", "--all")["incidents"]] == [
        "stop",
        "near-miss",
    ]
    code, out, _err = run(capsys, "show", ID[:8])
    assert code == 0
    for word in ("high: kill", "where the time went", "timeline", "process", "\\x1b[2J\\u202eevil"):
        assert word in out
    assert not set("\x1b\u202e") & set(out)
    whole = ask(capsys, "show", ID)
    assert (whole["incident"], whole["state"]) == (ID, "confirmed")
    assert whole["delays"]["total_us"] == whole["delays"]["known_us"]


def test_no_such_incident_and_no_ledger_say_what_to_do(
    told: Chronicle, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _out, err = run(capsys, "list")
    assert code == 4
    assert "offswitch up" in err
    told.stop()
    shelf.keep(told)
    code, _out, err = run(capsys, "show", "inc-none\x1b[2J")
    assert code == 4
    assert "offswitch incident list --all" in err
    assert "\x1b" not in err
    assert ask(capsys, "report", ID, "--at", "99")["error"]["kind"] == "not-found"


def test_a_report_made_again_later_is_the_same_byte_for_byte(
    told: Chronicle, shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told.stop(reason=HOSTILE)
    shelf.keep(told)
    first, again = tmp_path / "first.html", tmp_path / "again.html"
    code, out, err = run(capsys, "report", ID, "--out", str(first))
    assert (code, out) == (0, "")
    assert f"--at {len(told.entries)}" in err
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    size = len(told.entries)
    told.stop("bank")
    told.receipts(digest(1))
    shelf.keep(told)
    assert run(capsys, "report", ID, "--out", str(again), "--at", str(size))[0] == 0
    assert again.read_bytes() == first.read_bytes()
    assert run(capsys, "report", ID)[1] != first.read_text()
    assert ask(capsys, "report", ID, "--at", str(size))["head"]["size"] == size
    assert run(capsys, "report", ID, "--out", str(tmp_path / "no" / "x"))[0] == 1


def test_REP_6_stats_show_near_misses_and_false_stops_by_month(
    told: Chronicle, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    told.decision("would-stop", "bank")
    told.reset(told.stop("shop/a"))
    told.wait(40 * 86_400)
    name = told.stop("shop/b")
    told.reset(name, scope="shop/b")
    told.incident(f"inc-{name[:8]}", "closed", {"cause": "a sale"}, outcome="false-stop")
    told.wait(40 * 86_400)
    told.decision("would-stop", "bank")
    told.decision("would-stop", "shop/a")
    shelf.keep(told)
    code, out, _err = run(capsys, "stats")
    assert code == 0
    assert "false stops: 50.0% of all stops" in out
    assert "2027-02 against the month before: -1 stops, -1 false stops, +2 near misses" in out
    said = ask(capsys, "stats")
    counts = [
        (one["month"], one["stops"], one["false_stops"], one["near_misses"])
        for one in (*said["months"], said["total"])
    ]
    assert counts == [
        ("2026-11", 1, 0, 1),
        ("2026-12", 0, 0, 0),
        ("2027-01", 1, 1, 0),
        ("2027-02", 0, 0, 2),
        ("all", 2, 1, 3),
    ]
    assert said["months"][0]["confirm"] == {"median_us": 5002, "longest_us": 5002, "known": 1}
    assert said["months"][0]["detect"]["median_us"] is None


def test_what_a_person_says_goes_to_the_recorder_and_stands_in_the_record(
    recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ask(capsys, "open", "shop", "--severity", "medium", "--reason", HOSTILE)
    name = said["incident"]
    assert (said["what"], said["dry_run"]) == ("opened", False)
    assert ask(capsys, "note", name, "it began at nine", "--dry-run")["entry"] is None
    for words in (
        ("note", name, HOSTILE),
        ("grade", name, "critical", "--reason", "it spreads"),
        ("hand-over", name, "--to", "ben"),
    ):
        code, out, err = run(capsys, *words)
        assert code == 0, err
        assert not set("\x1b\u202e") & set(out)
    code, _out, err = run(
        capsys, "close", name, "--cause", "x", "--action", "y", "--outcome", "stop"
    )
    assert code == 2
    assert "nothing was stopped" in err
    closing = ("close", name, "--cause", "a bad feed", "--action", "pin it", "--action", "drill it")
    assert run(capsys, *closing)[0] == 0
    assert run(capsys, *closing)[0] == 2, "it is closed already"
    whole = ask(capsys, "show", name)
    assert (whole["severity"], whole["lead"], whole["state"]) == ("critical", "ben", "closed")
    assert [note["text"] for note in whole["notes"]] == [HOSTILE]
    assert whole["closing"]["actions"] == ["pin it", "drill it"]
    assert whole["opened_by"] == f"uid:{os.getuid()}"


def test_an_incident_whose_stop_is_live_is_not_closed(
    told: Chronicle, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    name = told.stop()
    shelf.keep(told)
    code, _out, err = run(capsys, "close", ID, "--cause", "x", "--action", "y")
    assert code == 3
    assert "offswitch reset shop/agent" in err
    told.reset(name)
    shelf.keep(told)
    said = ask(capsys, "close", ID, "--cause", "x", "--action", "y", "--dry-run")
    assert (said["what"], said["dry_run"]) == ("closed", True)


def test_without_a_recorder_or_rights_nothing_is_pretended(
    told: Chronicle, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    told.stop()
    shelf.keep(told)
    error = ask(capsys, "note", ID, "x")["error"]
    assert error["kind"] == "unreachable"
    assert "offswitch up" in error["hint"]
    assert ask(capsys, "note", ID, " ")["error"]["kind"] == "usage"
    assert ask(capsys, "note", ID, "x" * 2001)["error"]["kind"] == "usage"
