"""User ids that nobody else has."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from offswitch.control.place import Place
from offswitch.errors import Busy
from offswitch.warden.cells import users
from stage import until


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose counter lies in a folder of the test."""
    monkeypatch.setattr(users, "_COUNTER", str(tmp_path / "counter"))
    return Place(str(tmp_path / "home"), str(tmp_path / "run"))


def test_ids_are_handed_out_once_and_counted_for_the_whole_machine(place: Place) -> None:
    other = Place(place.home, place.run + "-other")
    handed = [users.allot(each) for each in (place, other, place)]
    assert handed == [users.FIRST, users.FIRST + 1, users.FIRST + 2]
    assert all(users.is_allotted(uid) for uid in handed)


def test_an_id_that_a_process_has_is_not_handed_out(place: Place) -> None:
    pid = os.fork()
    if pid == 0:
        os.setresuid(0, 0, users.FIRST)  # as its saved id alone
        time.sleep(60)
    try:
        until(lambda: users.living_ids(users.FIRST) == [pid], "it has the id")
        assert users.allot(place) == users.FIRST + 1
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_an_id_that_somebody_owns_is_not_handed_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_named", lambda uid: uid == users.FIRST)
    monkeypatch.setattr(users, "_subordinate", lambda uid: uid == users.FIRST + 1)
    assert users.allot(place) == users.FIRST + 2


def test_the_ranges_of_subuid_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "subuid"
    table.write_text("alice:1900000000:65536\n# garbage\nbob:x:y\n::\n")
    real = open

    def opened(path: str, **options: str) -> object:
        return real(table if path.startswith("/etc/sub") else path, **options)

    monkeypatch.setattr("builtins.open", opened)
    assert users._subordinate(1_900_000_000)
    assert users._subordinate(1_900_065_535)
    assert not users._subordinate(1_900_065_536)


def test_another_boot_begins_anew_and_garbage_too(place: Place) -> None:
    counter = Path(users._COUNTER)
    for text in ("0123456789abcdef 1900000777\n", "garbage", "", "\0" * 64):
        counter.write_text(text)
        counter.chmod(0o600)
        assert users.allot(place) == users.FIRST


@pytest.mark.parametrize("what", ["writable", "a stranger's", "a link", "a folder", "linked twice"])
def test_a_counter_that_a_stranger_put_there_is_thrown_away(
    place: Place, tmp_path: Path, what: str
) -> None:
    counter, elsewhere = Path(users._COUNTER), tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    match what:
        case "writable":
            counter.write_text("x")
            counter.chmod(0o666)
        case "a stranger's":
            counter.write_text("x")
            os.chown(counter, 12345, 0)
        case "a link":
            counter.symlink_to(elsewhere)
        case "linked twice":
            counter.hardlink_to(elsewhere)
        case _:
            (counter / "full").mkdir(parents=True)
    assert users.allot(place) == users.FIRST
    assert elsewhere.read_text() == "precious"
    info = counter.stat()
    assert (info.st_uid, info.st_mode & 0o777, info.st_nlink) == (0, 0o600, 1)


def test_a_sweeper_at_work_is_not_one_of_whom_it_sweeps() -> None:
    pid = os.fork()
    if pid == 0:
        os.setresuid(users.SWEEPERS[0], users.LAST - 1, users.SWEEPERS[0])
        signal.pause()
    until(lambda: str(users.LAST - 1) in Path(f"/proc/{pid}/status").read_text(), "it has the id")
    assert users.living_ids(users.LAST - 1) == []
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_when_all_are_gone_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "LAST", users.FIRST)
    users.allot(place)
    with pytest.raises(Busy, match="no user id is left"):
        users.allot(place)


def test_our_own_ids_are_outside_of_what_is_handed_out() -> None:
    own = {*users.SWEEPERS, users.OBSERVER, users.RECORDER, users.WATCH}
    assert len(own) == len(users.SWEEPERS) + 3
    assert not any(users.is_allotted(uid) for uid in own)


def test_the_dead_that_nobody_has_reaped_do_not_live() -> None:
    pid = os.fork()
    if pid == 0:
        os.setresuid(users.LAST, users.LAST, users.LAST)
        signal.pause()
    until(lambda: users.living_ids(users.LAST) == [pid], "it lives")
    os.kill(pid, signal.SIGKILL)
    until(lambda: users.living_ids(users.LAST) == [], "it is dead")
    assert Path(f"/proc/{pid}").exists(), "a zombie"
    os.waitpid(pid, 0)
