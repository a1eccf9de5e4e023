"""SQLite, closed on real file systems: what holds whom, and what a hostile writer tries."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from database_writer import Writer
from needs import needs, needs_program
from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.data.sqlite.files import freeze, holds_open_descriptors
from offswitch.actuators.hands.data.sqlite.hand import Sqlite
from offswitch.actuators.hands.data.sqlite.section import SqliteSection

pytestmark = pytest.mark.usefixtures("as_root")


class Ground:
    """A folder with a database, somebody who writes it, and hands that close it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "prices.db"
        self.closing = contextlib.ExitStack()
        self.made: list[Sqlite] = []

    def make(self, mode: str = "delete") -> Writer:
        writer = self.writer()
        writer.execute("PRAGMA busy_timeout=20")
        writer.execute(f"PRAGMA journal_mode={mode}")
        writer.execute("CREATE TABLE prices (n)")
        writer.execute("INSERT INTO prices VALUES (1)")
        return writer

    def writer(self) -> Writer:
        writer = Writer(self.path)
        self.closing.callback(writer.close)
        return writer

    def hand(self, part: Role = Role.ACT, **more: object) -> Sqlite:
        keys = {"name": "prices", "target": "shop/agent", "kind": "sqlite", "path": str(self.path)}
        made = Sqlite(SqliteSection.model_validate({**keys, **more}), Context(part))
        self.made.append(made)
        made.prepare()
        return made

    def opened(self, flags: int = os.O_RDWR) -> int:
        """Open the file as somebody who goes past SQLite does."""
        fd = os.open(self.path, flags)
        self.closing.callback(os.close, fd)
        return fd

    def close(self) -> None:
        for hand in self.made:
            hand.close()
        self.closing.close()
        thaw(self.folder)


def thaw(folder: Path) -> None:
    """Let files be removed."""
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError), path.open("rb") as file:
                freeze(file.fileno(), value=False)


@contextlib.contextmanager
def grounds(below: str | None) -> Iterator[Ground]:
    folder = Path(tempfile.mkdtemp(prefix="offswitch-sqlite-", dir=below))
    ground = Ground(folder)
    try:
        yield ground
    finally:
        ground.close()
        shutil.rmtree(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Ground]:
    """Give one on a file system that can hold who has a file open."""
    needs_program("chattr")
    with grounds(str(tmp_path)) as ground:
        fd = os.open(ground.folder, os.O_RDONLY)
        good = holds_open_descriptors(fd)
        os.close(fd)
        needs(good, "temporary files on ext4")
        yield ground


@pytest.fixture
def memory() -> Iterator[Ground]:
    """Give one on a file system that cannot."""
    with grounds("/dev/shm") as ground:
        yield ground


def proven(hand: Sqlite) -> Readiness:
    readiness = hand.arm()
    assert readiness.state is Ready.READY, readiness
    return readiness


def refusal(writer: Writer) -> str:
    with pytest.raises(AssertionError) as error:
        writer.execute("INSERT INTO prices VALUES (2)")
    return str(error.value)


def rows_in(path: Path) -> list[int]:
    """Count what a copy of the files holds, as whoever gets the rights back would find it."""
    with tempfile.TemporaryDirectory() as folder:
        for each in path.parent.glob(f"{path.name}*"):
            shutil.copyfile(each, f"{folder}/{each.name}")
        with contextlib.closing(sqlite3.connect(f"{folder}/{path.name}")) as db:
            return [n for (n,) in db.execute("SELECT n FROM prices")]


@pytest.mark.parametrize("mode", ["delete", "wal", "truncate"])
def test_VER_2_on_ext4_who_has_it_open_writes_no_more_and_that_is_seen(
    disk: Ground, mode: str
) -> None:
    writer = disk.make(mode)
    act, look = disk.hand(), disk.hand(Role.LOOK)
    proven(act)
    proven(look)
    raw = disk.opened()
    assert look.look().stands is False
    assert act.trip("kill").detail == "no rights left, immutable"
    sight = look.look()
    assert sight.stands is True, sight
    assert "error" in refusal(writer) or "locked" in refusal(writer)
    with pytest.raises(PermissionError):
        os.pwrite(raw, b"spoilt", 5000)
    assert rows_in(disk.path) == [1]
    assert act.trip("kill").detail == "no rights left, immutable", "once more does no harm"
    assert look.look().stands is True


def test_a_proof_changes_nothing(disk: Ground) -> None:
    writer, act = disk.make("wal"), disk.hand()
    before = os.stat(disk.path)
    for _ in range(3):
        proven(act)
    after = os.stat(disk.path)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert sorted(os.listdir(disk.folder)) == ["prices.db", "prices.db-shm", "prices.db-wal"]
    writer.execute("INSERT INTO prices VALUES (2)")


def test_VER_2_where_immutable_holds_nobody_it_is_degraded_and_says_so(memory: Ground) -> None:
    memory.make()
    readiness = memory.hand().arm()
    assert readiness.state is Ready.DEGRADED
    assert "who has it open goes on writing" in readiness.detail


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_VER_2_without_it_SQLites_locks_hold_every_SQLite_and_a_lease_tells_of_others(
    memory: Ground, mode: str
) -> None:
    writer = memory.make(mode)
    act, look = memory.hand(), memory.hand(Role.LOOK)
    raw = os.open(memory.path, os.O_RDWR)
    act.arm()
    act.trip("kill")
    assert "locked" in refusal(writer)
    os.pwrite(raw, b"spoilt", 5000)
    sight = look.look()
    assert (sight.stands, "somebody has it open for writing" in sight.detail) == (False, True)
    writer.close()
    assert look.look().stands is False, "there is another one yet"
    os.close(raw)
    assert look.look().stands is True


def test_VER_2_a_mapping_counts_as_a_writer(memory: Ground) -> None:
    memory.make().close()
    act, look = memory.hand(), memory.hand(Role.LOOK)
    raw = os.open(memory.path, os.O_RDWR)
    with mmap.mmap(raw, 4096) as mapping:
        os.close(raw)
        act.trip("kill")
        mapping[200] = 1
        assert look.look().stands is False
    assert look.look().stands is True


def test_ACT_9_what_was_under_way_is_told_and_undone_by_SQLite(disk: Ground) -> None:
    writer, act = disk.make(), disk.hand()
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    for n in range(3000):
        writer.execute("INSERT INTO prices VALUES (?)", (n,))
    acted = act.trip("kill")
    assert acted.happened == (
        "a transaction was under way",
        "a transaction was broken off: SQLite undoes it at the next opening",
    )
    assert rows_in(disk.path) == [1]


def test_a_log_that_is_made_afterwards_cannot_be(disk: Ground) -> None:
    """One who has opened the database, and not yet written, would begin a log of its own."""
    disk.make("wal").close()
    raw = disk.opened()
    disk.hand().trip("kill")
    names = sorted(each.name for each in disk.folder.iterdir())
    assert names == ["prices.db", "prices.db-journal", "prices.db-wal"]
    with pytest.raises(PermissionError):
        disk.folder.joinpath("prices.db-wal").unlink()
    with pytest.raises(PermissionError):
        os.pwrite(raw, b"x", 0)


def test_RST_8_nothing_is_given_back_and_the_record_has_the_commands(disk: Ground) -> None:
    disk.make("wal").close()
    os.chown(disk.path, 1234, 1235)
    disk.path.chmod(0o640)
    act, look = disk.hand(), disk.hand(Role.LOOK)
    acted = act.trip("kill")
    act.trip("kill")
    assert act.release().reissue == acted.reissue
    assert look.look().stands is True, "a reset gives nothing back"
    new = disk.hand()
    assert new.trip("kill").reissue == (), "who came up under a stop knows nothing of before"
    new.release()
    for line in acted.reissue:
        subprocess.run(["sh", "-ec", line], check=True)
    there = disk.path.stat()
    assert (there.st_uid, there.st_gid, there.st_mode & 0o777) == (1234, 1235, 0o640)
    assert os.listdir(disk.folder) == ["prices.db"]
    disk.writer().execute("INSERT INTO prices VALUES (2)")
    assert look.look().stands is False


def test_VER_3_a_right_that_is_given_back_is_seen(disk: Ground) -> None:
    disk.make().close()
    act, look = disk.hand(), disk.hand(Role.LOOK)
    act.trip("kill")
    assert look.look().stands
    thaw(disk.folder)
    assert look.look().stands, "nobody has it open for writing"
    disk.path.chmod(0o600)
    assert look.look().stands is False


def test_VER_3_a_database_that_is_written_by_root_does_not_stand(disk: Ground) -> None:
    disk.make().close()
    act, look = disk.hand(), disk.hand(Role.LOOK)
    act.trip("kill")
    assert look.look().stands
    thaw(disk.folder)
    fd = os.open(disk.path, os.O_RDWR)
    os.pwrite(fd, b"spoilt", 5000)
    os.close(fd)
    other = Sqlite(look.settings, Context(Role.LOOK, remembered=look.memory))
    disk.made.append(other)
    for each in (look, other):
        sight = each.look()
        assert (sight.stands, sight.detail) == (False, "it was changed since it was cut")


def test_a_database_that_was_written_anew_is_followed_and_both_are_cut(disk: Ground) -> None:
    disk.make().close()
    act = disk.hand()
    proven(act)
    old = disk.opened()
    fresh = disk.folder / "fresh"
    shutil.copyfile(disk.path, fresh)
    fresh.rename(disk.path)
    new = disk.opened()
    act.trip("kill")
    for fd in (old, new):
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    look = disk.hand(Role.LOOK)
    assert look.look().stands is True


@pytest.mark.parametrize("how", ["link", "second name", "pipe", "other file"])
def test_SR_1_what_is_put_in_its_place_is_not_cut(disk: Ground, how: str) -> None:
    """Else a target could have us close somebody else's file."""
    disk.make().close()
    act, look = disk.hand(), disk.hand(Role.LOOK)
    victim = disk.folder / "victim"
    victim.write_text("somebody else's" * 100)
    mode = victim.stat().st_mode
    disk.path.rename(disk.folder / "moved.db")
    match how:
        case "link":
            disk.path.symlink_to(victim)
        case "second name":
            disk.path.hardlink_to(victim)
        case "pipe":
            os.mkfifo(disk.path)
        case _:
            shutil.copyfile(victim, disk.path)
            victim = disk.path
            mode = victim.stat().st_mode
    with pytest.raises(Trouble):
        act.arm()
    acted = act.trip("kill")
    assert victim.stat().st_mode == mode
    assert "prices.db: it " in acted.detail
    assert (disk.folder / "moved.db").stat().st_mode & 0o777 == 0, "the real one is cut"
    with contextlib.suppress(Trouble):
        assert look.look().stands is not True


@pytest.mark.parametrize("how", ["link", "second name", "folder"])
def test_SR_1_what_is_put_in_place_of_its_log_is_set_aside_unharmed(disk: Ground, how: str) -> None:
    """A log that is a link would lie elsewhere, open to all; its file may be somebody else's."""
    disk.make().close()
    victim, log = disk.folder / "victim", disk.folder / "prices.db-wal"
    victim.write_text("somebody else's")
    match how:
        case "link":
            log.symlink_to(victim)
        case "second name":
            log.hardlink_to(victim)
        case _:
            (log / "full").mkdir(parents=True)
    act, look = disk.hand(), disk.hand(Role.LOOK)
    detail = act.trip("kill").detail
    assert "prices.db-wal: it " in detail
    assert "set aside as prices.db-wal.aside-" in detail
    assert victim.stat().st_mode & 0o777 != 0
    assert log.is_file()
    assert log.stat().st_mode & 0o777 == 0
    assert look.look().stands is True


def test_the_folder_goes_with_it_where_that_is_said(disk: Ground) -> None:
    disk.make().close()
    act, look = disk.hand(folder=True), disk.hand(Role.LOOK)
    acted = act.trip("kill")
    assert disk.folder.stat().st_mode & 0o777 == 0
    assert look.look().stands is True
    assert any(line.endswith(str(disk.folder)) for line in acted.reissue)


def test_a_database_that_is_not_there_is_a_trouble(disk: Ground) -> None:
    with pytest.raises(Trouble, match="No such file"):
        disk.hand()
    disk.make().close()
    act, look = disk.hand(), disk.hand(Role.LOOK)
    disk.path.unlink()
    with pytest.raises(Trouble, match="is gone"):
        act.arm()
    assert look.look().stands is None


def test_what_it_holds_and_rests_on_is_told(disk: Ground) -> None:
    disk.make("wal")
    act = disk.hand()
    assert len(act.holds()) == 3
    assert act.holds()[0].startswith(f"{disk.path}: user 0, rights 06")
    assert act.route().needs == (str(disk.path),)


@pytest.mark.parametrize("path", ["prices.db", "/srv/../etc/passwd", "/srv/", "/a\nb"])
def test_a_path_that_is_not_spelt_plainly_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        SqliteSection.model_validate(
            {"name": "prices", "target": "shop", "kind": "sqlite", "path": path}
        )
