"""The spool: a name is a stop, whatever bears it, and nothing in it is ever opened (SR-11)."""

from __future__ import annotations

import os
import resource
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from needs import needs_root
from offswitch.control.place import Place
from offswitch.errors import Refused, Storage, Usage
from offswitch.model.level import Level
from offswitch.warden.door import spool


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "run").mkdir()
    place = Place(str(tmp_path / "home"), str(tmp_path / "run"))
    spool.prepare(place, os.getegid())
    return place


def lay(place: Place, *names: str) -> None:
    for name in names:
        os.close(os.open(f"{place.spool}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def pending(place: Place) -> list[spool.Spooled]:
    with closing(spool.Scan(place)) as scan:
        return scan.take()


def texts(place: Place) -> set[str | None]:
    return {spooled.scope_text for spooled in pending(place)}


def test_ACT_12_a_plain_file_is_a_stop_and_its_name_the_scope(place: Place) -> None:
    lay(place, "shop%2Feu", "all", "tenant=acme", "a%2fb")
    stops = {spooled.scope_text: spooled.stop("0" * 32) for spooled in pending(place)}
    assert {text: stop.scope.text for text, stop in stops.items()} == {
        "shop/eu": "shop/eu",
        "all": "/",
        "tenant=acme": "tenant=acme",
        "a/b": "a/b",
    }
    for stop in stops.values():
        assert (stop.level, stop.channel) == (Level.KILL, "spool")
        assert stop.by == f"uid:{os.geteuid()}"
        assert abs(stop.time_us - time.time_ns() // 1000) < 60_000_000


def test_a_name_that_is_no_scope_is_no_stop(place: Place) -> None:
    lay(place, "no scope", "..x..%2F..", "a=b c", "shop%2F%2Feu")
    os.close(os.open(os.fsencode(place.spool) + b"/\xff\xfe", os.O_CREAT, 0o600))
    found = pending(place)
    assert len(found) == 5
    for spooled in found:
        with pytest.raises(Usage):
            spooled.stop("0" * 32)
        spool.consume(spooled)
    assert os.listdir(place.spool) == []


def test_what_bears_the_name_is_never_opened(place: Place, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    os.mkfifo(f"{place.spool}/fifo")
    os.symlink(precious, f"{place.spool}/link")
    os.symlink("/nowhere/at/all", f"{place.spool}/dangling")
    os.mkdir(f"{place.spool}/folder")
    os.mkdir(f"{place.spool}/full")
    Path(place.spool, "full", "something").touch()
    os.mknod(f"{place.spool}/socket", stat.S_IFSOCK | 0o600)
    found = pending(place)
    assert {spooled.scope_text for spooled in found} == {
        "fifo",
        "link",
        "dangling",
        "folder",
        "full",
        "socket",
    }
    for spooled in found:
        spool.consume(spooled)
        spool.consume(spooled)
    assert pending(place) == [], "each was obeyed once, the full folder too"
    [left] = os.listdir(place.spool)
    assert left.startswith("~taken-")
    assert precious.read_text() == "kept"


def test_a_name_is_told_apart_from_the_next_of_the_same_name(place: Place) -> None:
    lay(place, "all")
    [first] = pending(place)
    assert pending(place) == [first], "the same file is the same stop, however often read"
    spool.consume(first)
    time.sleep(0.01)
    lay(place, "all")
    [second] = pending(place)
    assert second.stop("0" * 32).digest != first.stop("0" * 32).digest


def test_a_pass_is_bounded_and_the_next_goes_on_from_there(place: Place) -> None:
    """Also where nothing is taken away, as the keeper does it; what comes meanwhile is next."""
    lay(place, *(f"t{number}" for number in range(1000)))
    scan = spool.Scan(place)
    seen: list[str | None] = []
    passes = 0
    while scan.due_ns() is not None:
        if passes == 2:
            lay(place, "late")
            scan.came()
        found = scan.take()
        assert len(found) <= 256
        seen += [spooled.scope_text for spooled in found]
        passes += 1
    assert {f"t{number}" for number in range(1000)} | {"late"} == set(seen)
    assert passes >= 8
    scan.close()


def test_a_folder_that_cannot_be_opened_now_is_opened_later(place: Place) -> None:
    lay(place, "a")
    scan = spool.Scan(place)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert scan.take() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert scan.due_ns() is not None
    assert [spooled.scope_text for spooled in scan.take()] == ["a"]
    assert scan.due_ns() is None
    scan.close()


def test_SR_11_the_spool_is_its_owners_and_the_group_may_only_add(place: Place) -> None:
    needs_root()
    os.chmod(Path(place.run).parent.parent.parent, 0o711)
    spool.prepare(place, 47_111)
    info = os.stat(place.spool)
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (0, 47_111, 0o1730)
    lay(place, "roots")
    os.chmod(place.run, 0o711)
    folder = os.open(place.spool, os.O_PATH)
    pid = os.fork()
    if pid == 0:
        tried = 0
        try:
            os.setgroups([47_111])
            os.setresgid(47_112, 47_112, 47_112)
            os.setresuid(47_113, 47_113, 47_113)
            os.close(os.open("mine", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            tried += 1
            for forbidden in (
                lambda: os.listdir(f"/proc/self/fd/{folder}"),
                lambda: os.unlink("roots", dir_fd=folder),
                lambda: os.rename("roots", "x", src_dir_fd=folder, dst_dir_fd=folder),
            ):
                try:
                    forbidden()
                except PermissionError:
                    tried += 1
        finally:
            os._exit(tried)
    os.close(folder)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    by = {spooled.scope_text: spooled.by for spooled in pending(place)}
    assert by == {"roots": "uid:0", "mine": "uid:47113"}


def test_a_spool_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    needs_root()
    run = tmp_path / "run"
    run.mkdir()
    place = Place(str(tmp_path / "home"), str(run))
    os.symlink(tmp_path, place.spool)
    with pytest.raises(Refused, match="no folder of ours"):
        spool.prepare(place, 0)
    os.unlink(place.spool)
    os.mkdir(place.spool)
    os.chown(place.spool, 47_111, -1)
    with pytest.raises(Refused, match="not ours"):
        spool.prepare(place, 0)


def test_a_run_folder_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "home"), str(tmp_path / "gone"))
    with pytest.raises(Storage, match="gone/stop"):
        spool.prepare(place, os.getegid())
    with pytest.raises(Storage, match="watched"):
        spool.Scan(place)
