"""What people may lower, for how long, and who: HMI-6 and SR-12 without a process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offswitch.clock import SimulatedClock
from offswitch.decide.lowering import LONGEST_US, Lowered, What
from offswitch.decide.who import Who
from offswitch.errors import NotFound, Refused, Usage
from offswitch.watch.desk.lowered import LoweredBook

HOUR = 3_600_000_000


ROOT, ANN = Who(0), Who(1000)


def wanted(clock: SimulatedClock, who: Who = ROOT, lasts_us: int = HOUR, **more: object) -> Lowered:
    now, by = clock.wall_us(), who.text
    one = Lowered(What.BYPASS, "r", "", "ann", "a migration", "ben looks", by, now, now + lasts_us)
    return replace(one, **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> SimulatedClock:
    clock = SimulatedClock(1000)
    clock.jump(1_800_000_000_000_000)
    return clock


def test_HMI_6_what_is_lowered_returns_by_itself(tmp_path: Path, clock: SimulatedClock) -> None:
    book = LoweredBook(str(tmp_path), clock)
    one, waits = book.lower(wanted(clock), ROOT, owner=True)
    assert not waits
    clock.advance(HOUR - 1)
    assert book.returned() == []
    assert book.now() == [one]
    clock.advance(1)
    assert book.returned() == [one]
    assert book.now() == []
    assert book.returned() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"lasts_us": LONGEST_US + 1},
        {"lasts_us": 0},
        {"lasts_us": -5},
        {"owner": " "},
        {"reason": ""},
        {"measure": ""},
        {"measure": "x" * 501},
    ],
)
def test_HMI_6_eight_hours_at_most_with_owner_reason_and_measure(
    tmp_path: Path, clock: SimulatedClock, wrong: dict[str, object]
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    lasts = wrong.pop("lasts_us", HOUR)
    assert isinstance(lasts, int)
    with pytest.raises(Usage):
        book.lower(wanted(clock, lasts_us=lasts, **wrong), ROOT, owner=True)
    assert book.now() == []


def test_HMI_6_the_second_time_within_a_day_takes_a_second_person(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    book.lower(wanted(clock), ROOT, owner=True)
    clock.advance(HOUR)
    book.returned()
    clock.advance(20 * HOUR)
    _, waits = book.lower(wanted(clock), ROOT, owner=True)
    assert waits
    assert book.now() == []
    _, waits = book.lower(wanted(clock), ROOT, owner=True)
    assert waits, "the first one again is not the second"
    done, waits = book.lower(wanted(clock, ANN), ANN, owner=False)
    assert not waits
    assert (done.by, done.second) == ("uid:0", "uid:1000")
    assert book.now() == [done]
    with pytest.raises(Usage, match="already"):
        book.lower(wanted(clock), ROOT, owner=True)
    clock.advance(HOUR)
    book.returned()
    clock.advance(24 * HOUR)
    assert not book.lower(wanted(clock), ROOT, owner=True)[1], "after a day it is a first one again"


def test_HMI_6_a_second_person_comes_in_time_and_lowers_nothing_alone(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    with pytest.raises(Refused):
        book.lower(wanted(clock, ANN), ANN, owner=False)
    book.lower(wanted(clock), ROOT, owner=True)
    book.restore(What.BYPASS, "r")
    assert book.lower(wanted(clock), ROOT, owner=True)[1], "restored early counts, too"
    clock.advance(11 * 60_000_000)
    with pytest.raises(Refused):
        book.lower(wanted(clock, ANN), ANN, owner=False)
    with pytest.raises(NotFound):
        book.restore(What.BYPASS, "r")


def test_HMI_6_it_outlives_watch_and_no_clock_lengthens_it(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    one, _ = book.lower(wanted(clock, lasts_us=8 * HOUR), ROOT, owner=True)
    book.close()
    clock.advance(HOUR)
    again = LoweredBook(str(tmp_path), clock)
    assert again.now() == [one]
    clock.jump(-400 * HOUR)
    assert LoweredBook(str(tmp_path), clock).now() == [], "a clock set back ends it"
    clock.jump(400 * HOUR - 7 * HOUR)
    late = LoweredBook(str(tmp_path), clock)
    assert late.now() == [one]
    clock.advance(8 * HOUR)
    clock.jump(-8 * HOUR)
    assert late.returned() == [one], "eight hours are eight hours, whatever the wall says"


@pytest.mark.parametrize("bad", [b"{", b"[7]", b"[{}]", b'[{"what":"bypass"}]', b"\xff", b"null"])
def test_SR_12_a_file_that_cannot_be_read_lowers_nothing(
    tmp_path: Path, clock: SimulatedClock, bad: bytes
) -> None:
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "lowered.json").write_bytes(bad)
    (folder / "lowered.json").chmod(0o600)
    book = LoweredBook(str(tmp_path), clock)
    assert book.now() == []
    assert "cannot be read" in book.problem


def test_SR_12_a_file_that_others_can_write_or_a_row_beyond_eight_hours_lowers_nothing(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    book.lower(wanted(clock), ROOT, owner=True)
    book.close()
    file = tmp_path / "watch" / "lowered.json"
    assert LoweredBook(str(tmp_path), clock).now()
    file.chmod(0o666)
    assert LoweredBook(str(tmp_path), clock).now() == []
    file.chmod(0o600)
    until = wanted(clock).until_us
    file.write_text(file.read_text().replace(str(until), str(until + 8 * HOUR)))
    assert LoweredBook(str(tmp_path), clock).now() == []
    file.unlink()
    file.symlink_to("/dev/zero")
    assert LoweredBook(str(tmp_path), clock).now() == []


def test_SEC_5_where_two_people_reset_two_people_lower_even_the_first_time(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    assert book.lower(wanted(clock), ROOT, owner=True, two=True)[1]
    root_as_ada = Who(0, "ada")
    assert book.lower(wanted(clock), root_as_ada, owner=True, two=True)[1], "the same user"
    assert book.now() == []
    done, waits = book.lower(wanted(clock, ANN), ANN, owner=False, two=True)
    assert not waits
    assert book.now() == [done]


def test_what_was_lowered_before_persons_had_names_goes_on(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    book = LoweredBook(str(tmp_path), clock)
    one, _ = book.lower(wanted(clock), ROOT, owner=True)
    book.close()
    file = tmp_path / "watch" / "lowered.json"
    [row] = json.loads(file.read_text())
    del row["by"], row["second"]
    for second, named in ((None, ""), (1000, "uid:1000")):
        file.write_text(json.dumps([{**row, "uid": 0, "second": second}]))
        assert LoweredBook(str(tmp_path), clock).now() == [replace(one, second=named)]
    file.write_text(json.dumps([{**row, "uid": "0", "second": None}]))
    assert LoweredBook(str(tmp_path), clock).now() == [], "a row that is none lowers nothing"
