"""`offswitch detector list|score`: a recorded past in, what we would have said of it out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from offswitch.cli.app import main


def _score(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, *words: str
) -> tuple[int, list[str], str]:
    file = tmp_path / "series.csv"
    file.write_bytes(text.encode())
    code = main(["detector", "score", str(file), *words])
    done = capsys.readouterr()
    return code, done.out.splitlines(), done.err


def _rows(lines: list[str]) -> list[list[str]]:
    assert lines[0] == "time,score,alarm"
    return [line.split(",") for line in lines[1:]]


@pytest.mark.parametrize(
    "begin",
    ["", "timestamp,value\n", "\ufeffwhen;,how much,unit\r\n", '"time","value"\n\n'],
    ids=["no header", "header", "byte order mark", "blank lines"],
)
def test_a_header_is_left_out(
    begin: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = begin + "".join(f"2026-01-01 00:{number:02}:00,{number % 3}\n" for number in range(60))
    code, lines, _ = _score(capsys, tmp_path, text)
    assert code == 0
    assert [row[0] for row in _rows(lines)] == [f"2026-01-01 00:{n:02}:00" for n in range(60)]


def test_an_alarm_is_told_in_the_row_where_it_begins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    values = [*(number % 5 for number in range(300)), *([500] * 60)]
    text = "".join(f"{1_790_000_000 + 60 * number},{v}\n" for number, v in enumerate(values))
    code, lines, _ = _score(capsys, tmp_path, text)
    alarms = [number for number, row in enumerate(_rows(lines)) if row[2] == "1"]
    assert code == 0
    assert alarms == [300]
    assert float(_rows(lines)[300][1]) > 1


@pytest.mark.parametrize(
    "times",
    [
        [f"2026-03-01T00:00:{n:02}Z" for n in range(40)],
        [f"2026-03-01T01:00:{n:02}+01:00" for n in range(40)],
        [str(1772323200 + n) for n in range(40)],
        [f"{1772323200 + n}.0" for n in range(40)],
        [str((1772323200 + n) * 1000) for n in range(40)],
        [str((1772323200 + n) * 10**6) for n in range(40)],
        [str((1772323200 + n) * 10**9) for n in range(40)],
    ],
    ids=["utc", "zone", "s", "float", "ms", "us", "ns"],
)
def test_times_are_read_in_each_form(
    times: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # A rate in the last ten seconds tells whether a second was read as one.
    text = "".join(f"{moment},1\n" for moment in times)
    words = ("--kind", "rate", "--key", "above=1e3", "--key", "per=10s")
    code, lines, _ = _score(capsys, tmp_path, text, *words)
    assert code == 0
    assert [row[0] for row in _rows(lines)] == times
    assert float(_rows(lines)[-1][1]) == pytest.approx(0.01)


def test_a_gap_has_no_score_and_a_clock_set_back_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, lines, err = _score(capsys, tmp_path, "10,1\n11,\n12,nan\n5,2\n13,1,more\n")
    assert code == 0
    assert [row[1:] for row in _rows(lines)] == [
        ["0", "0"],
        ["", "0"],
        ["", "0"],
        *[["0", "0"]] * 2,
    ]
    assert "1 rows were earlier" in err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2\nyesterday,3\n", 2),
        ("t,v\n1,2\n2,much\n", 3),
        ("1,2\n2\n", 2),
        ("1,2\n1e400,2\n", 2),
        ("1,2\n\x1b[2J\n", 2),
        ("1,2\n3," + "4" * 5000 + "\n", 2),
    ],
)
def test_what_is_no_reading_is_told_with_its_line(
    text: str, line: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = _score(capsys, tmp_path, text)
    assert code == 2
    assert f"line {line} " in err
    assert "\x1b" not in err


def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["detector", "score", str(tmp_path / "none.csv")]) == 4
    assert main(["detector", "score", str(tmp_path)]) == 1
    assert _score(capsys, tmp_path, "1,2\n", "--kind", "oracle")[0] == 4
    assert _score(capsys, tmp_path, "1,2\n", "--kind", "tool_scope")[0] == 2
    assert _score(capsys, tmp_path, "1,2\n", "--key", "quiet")[0] == 2
    code, _, err = _score(capsys, tmp_path, "1,2\n", "--key", "quiet=-3")
    assert code == 2
    assert "quiet" in err


def test_a_row_is_judged_before_the_next_is_there() -> None:
    argv = [sys.executable, "-m", "offswitch", "detector", "score", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=os.environ) as running:
        assert running.stdin
        assert running.stdout
        assert running.stdout.readline() == "time,score,alarm\n"
        for number in range(5):
            running.stdin.write(f"{number},7\n")
            running.stdin.flush()
            assert running.stdout.readline() == f"{number},0,0\n"
        running.stdin.close()
        assert running.wait(20) == 0


def test_every_kind_is_listed_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detector", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["detectors"]
    kinds = {one["kind"]: one["about"] for one in told}
    assert {"novelty", "range_novelty", "season", "shape_memory", "threshold"} <= set(kinds)
    assert all(kinds.values())
    assert main(["detector", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(kinds)
