"""Files below a path: what is destroyed, what only looks so, and how it can be had again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.evidence import Evidence, read_changes
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.files.sensor import Files, FilesSection
from scale import runs

TOKEN = "ofs-canary-7Qd2vX9kLm4"
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]


class TestFilesSuite(SensorSuite):
    kind = "files"

    def keys(self, folder: str) -> dict[str, Any]:
        return {"path": f"{folder}/watched"}

    def source(self, folder: str) -> CellFacts | None:
        Path(folder, "watched").mkdir()
        Path(folder, "watched", "file").write_text("one\n")
        return None

    def stir(self, folder: str) -> None:
        os.unlink(f"{folder}/watched/file")


class Tree:
    """A folder that is watched, and what was told of it."""

    def __init__(self, folder: Path, way: str, **keys: object) -> None:
        self.root = folder / "work"
        self.root.mkdir(exist_ok=True)
        self.way = way
        self.folder = folder
        raw = {"name": "work", "target": "a", "kind": "files", "path": str(self.root), **keys}
        self.section = FilesSection.model_validate(raw)
        self.counts: Counter[str] = Counter()
        self.details: dict[str, str] = {}
        self.problems: list[str] = []
        self.cells: dict[str, CellFacts] = {}
        self.evidence = folder / "evidence.jsonl"

    def begin(self, memory: dict[str, str] | None = None) -> Tree:
        group = Files.prepare(self.section) if self.way == "fanotify" else None
        assert (group is not None) == (self.way == "fanotify")
        fd = os.open(self.evidence, os.O_RDWR | os.O_CREAT, 0o600)
        secrets = {"canaries": f"row: {TOKEN}"} if self.section.canaries else {}
        context = SensorContext(
            SystemClock(), self.cells, Evidence(fd), memory or {}, secrets, group
        )
        self.sensor = Files(self.section, context)
        self.begun = Counter(self.settle())
        """What was told while it began."""
        self.counts.clear()
        return self

    def settle(self) -> Counter[str]:
        """Look until there is nothing left to do; gives all that was told on the way."""
        self.details = {}
        self.problems = []
        told: Counter[str] = Counter()
        quiet = 0
        end = time.monotonic() + 10
        while quiet < 4 and time.monotonic() < end:
            glance = self.sensor.look()
            self.memory = dict(glance.memory) or getattr(self, "memory", {})
            if glance.problem:
                self.problems.append(glance.problem)
            for one in glance.samples:
                if one.value == one.value:
                    told[one.what] += int(one.value)
                self.details.update(one.detail)
            again = glance.again_us
            shadow = self.sensor._shadow
            done = (again is None or again >= 3_000) and not (shadow and shadow.counts)
            quiet = quiet + 1 if done else 0
            time.sleep(0.002)
        self.counts += told
        return told

    def told(self) -> dict[str, int]:
        """Settle, and give what is not nought."""
        return {what: count for what, count in self.settle().items() if count}

    def git(self, *words: str) -> None:
        subprocess.run([*GIT, "-C", str(self.root), *words], check=True, capture_output=True)

    def lines(self) -> list[tuple[str, str, str]]:
        """Give kind, path and command of the lines of the evidence file."""
        changes = [change for _time, change in read_changes(self.evidence.read_bytes())]
        return [(one.kind, str(one.key), str((one.before or ("",))[-1])) for one in changes]

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self.sensor.close()


@pytest.fixture(params=["fanotify", "inotify"])
def tree(tmp_path: Path, request: pytest.FixtureRequest, as_root: None) -> Iterator[Tree]:
    one = Tree(tmp_path, request.param)
    yield one
    one.close()


def test_each_way_to_destroy_a_file_is_told_apart_from_each_way_to_add(tree: Tree) -> None:
    (tree.root / "below" / "deep").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "below/e", "below/deep/f"):
        (tree.root / name).write_text(f"the content of {name}\n" * 9)
    tree.begin()
    assert tree.told() == {}
    (tree.root / "a").unlink()
    assert tree.told() == {"deleted": 1, "unrestorable": 1}
    assert str(tree.root / "a") in tree.details["deleted_1"]
    (tree.root / "b").write_text("")
    assert tree.told() == {"overwritten": 1, "unrestorable": 1}, "cut short"
    (tree.root / "c").write_text("something else, and longer than it was " * 99)
    assert tree.told()["overwritten"] == 1, "written anew, though it has grown"
    with open(tree.root / "d", "a", encoding="utf-8") as file:
        file.write("appended\n")
    assert tree.told() == {"modified": 1}
    (tree.root / "below" / "new").write_text("new")
    assert tree.told()["created"] == 1
    (tree.root / "below" / "e").rename(tree.root / "below" / "deep" / "e2")
    assert tree.told() == {"renamed": 1}
    assert f"mv -n -- {tree.root}/below/deep/e2 {tree.root}/below/e" in tree.details["renamed_1"]
    (tree.root / "d").rename(tree.root / "below" / "deep" / "f")
    assert tree.told() == {"renamed": 1, "overwritten": 1, "unrestorable": 1}
    shutil.rmtree(tree.root / "below")
    assert tree.told()["deleted"] == 3
    assert not tree.problems
    kinds = Counter(kind for kind, _path, _command in tree.lines())
    assert kinds == {"deleted": 4, "overwritten": 3, "renamed": 2}


def test_how_editors_save_is_one_overwritten_file_or_none(tree: Tree) -> None:
    for name in ("grown", "changed", "same"):
        (tree.root / name).write_text(f"{name}\n" * 5)
    tree.begin()
    for name, text in (("grown", "grown\n" * 8), ("changed", "another\n"), ("same", "same\n" * 5)):
        (tree.root / "save.tmp").write_text(text)
        (tree.root / "save.tmp").replace(tree.root / name)
        read = tree.told()
        read.pop("created", None)
        read.pop("modified", None)
        wanted = {"overwritten": 1, "unrestorable": 1} if name == "changed" else {}
        assert read == wanted, name
    (tree.root / "changed").unlink()
    (tree.root / "changed").write_text("removed and made anew\n")
    assert tree.told() == {"overwritten": 1, "unrestorable": 1, "modified": 1}


def test_folders_that_come_later_are_followed_and_those_that_leave_count_whole(tree: Tree) -> None:
    tree.begin()
    (tree.root / "new" / "deeper").mkdir(parents=True)
    for number in range(20):
        (tree.root / "new" / "deeper" / str(number)).write_text("x")
    assert tree.told()["created"] == 20
    (tree.root / "new" / "deeper" / "3").unlink()
    assert tree.told()["deleted"] == 1
    (tree.root / "new").rename(tree.root / "named")
    assert tree.told() == {"renamed": 1}
    (tree.root / "named" / "deeper" / "4").unlink()
    assert tree.told()["deleted"] == 1
    assert "named/deeper/4" in tree.details["deleted_1"]
    (tree.root / "named").rename(tree.folder / "outside")
    assert tree.told() == {"renamed": 18}
    if tree.way == "fanotify":
        assert f"mv -n -- {tree.folder}/outside {tree.root}/named" in tree.details["renamed_1"]
    (tree.folder / "outside" / "deeper" / "5").unlink()
    assert tree.told() == {}
    (tree.folder / "outside").rename(tree.root / "back")
    assert tree.told()["created"] == 17
    (tree.root / "back" / "deeper" / "6").unlink()
    assert tree.told()["deleted"] == 1


def test_what_git_has_can_be_had_again_by_the_command_that_is_told(tree: Tree) -> None:
    name = "it's a ; $(touch owned) \n name"
    (tree.root / "src").mkdir()
    (tree.root / "src" / name).write_text("precious\n")
    (tree.root / "packed").write_text("packed, and precious, too\n")
    (tree.root / "untracked").write_text("nobody has this\n")
    tree.git("init", "-q")
    tree.git("add", "packed", "src")
    tree.git("commit", "-qm", "one")
    tree.git("repack", "-adq")
    (tree.root / "src" / name).write_text("precious, and staged\n")
    tree.git("add", "src")
    tree.begin()
    shutil.rmtree(tree.root / "src")
    (tree.root / "packed").write_text("gone")
    (tree.root / "untracked").unlink()
    read = tree.told()
    assert (read["deleted"], read["overwritten"], read["unrestorable"]) == (2, 1, 1)
    assert "untracked" in tree.details["unrestorable_1"]
    shown = " ".join(tree.details.values())
    assert "cat-file blob" in shown
    assert "\n" not in shown
    for _kind, path, command in tree.lines():
        if not path.endswith("untracked"):
            subprocess.run(["sh", "-c", command], check=True, cwd=tree.folder)
    assert (tree.root / "src" / name).read_text() == "precious, and staged\n"
    assert (tree.root / "packed").read_text() == "packed, and precious, too\n"
    assert not list(tree.folder.rglob("owned"))
    tree.told()
    (tree.root / "packed").unlink()
    assert "unrestorable" not in tree.told()
    shutil.rmtree(tree.root / ".git")
    time.sleep(0.01)
    tree.sensor._checked_us = 0
    assert tree.told()["unrestorable"] == 3, "with the repository goes what it had"


def test_a_repository_cannot_make_us_believe_or_run_anything(tree: Tree) -> None:
    (tree.root / "loose").write_text("one\n")
    (tree.root / "packed").write_text("two\n")
    tree.git("init", "-q")
    tree.git("config", "core.fsmonitor", f"touch {tree.folder}/owned")
    tree.git("config", "core.hooksPath", str(tree.root))
    (tree.root / ".git" / "objects" / "pack").mkdir(exist_ok=True)
    for blob in (
        "5626abf0f72e58d7a153368ba57db4c673c0e171",
        "f719efd430d52bcfc8566a43b2eb655688d38871",
    ):
        (tree.root / ".git" / "objects" / blob[:2]).mkdir(exist_ok=True)
        (tree.root / ".git" / "objects" / blob[:2] / blob[2:]).write_bytes(b"no object at all")
    os.mkfifo(tree.root / ".git" / "objects" / "pack" / "x.idx")
    os.symlink("/dev/zero", tree.root / ".git" / "objects" / "pack" / "y.idx")
    (tree.root / ".git" / "objects" / "pack" / "z.idx").write_bytes(
        b"\xfftOc\0\0\0\2" + b"\xff" * 5000
    )
    for name in "xyz":
        (tree.root / ".git" / "objects" / "pack" / f"{name}.pack").write_bytes(b"")
    tree.begin()
    for name in ("loose", "packed"):
        (tree.root / name).unlink()
    assert tree.told() == {"deleted": 2, "unrestorable": 2}
    assert not (tree.folder / "owned").exists()


def test_what_a_snapshot_has_can_be_copied_from_it(tree: Tree) -> None:
    (tree.root / "src").mkdir()
    for name in ("same", "other"):
        (tree.root / "src" / name).write_text(name)
    shutil.copytree(tree.root, tree.folder / "snapshots" / "monday")
    (tree.folder / "snapshots" / "monday" / "src" / "other").write_text("OTHER")
    pattern = f"{tree.folder}/snapshots/*"
    tree.section = tree.section.model_copy(update={"snapshots": [pattern]})
    tree.begin()
    shutil.rmtree(tree.root / "src")
    read = tree.told()
    assert (read["deleted"], read["unrestorable"]) == (2, 1)
    [command] = [command for _kind, path, command in tree.lines() if path.endswith("same")]
    subprocess.run(["sh", "-c", command], check=True)
    assert (tree.root / "src" / "same").read_text() == "same"


def test_checkouts_builds_and_caches_are_no_loss_and_rm_is(tree: Tree) -> None:
    for number in range(60):
        (tree.root / f"file{number}").write_text(f"one {number}\n")
    (tree.root / "notes").mkdir()
    for number in range(30):
        (tree.root / "notes" / str(number)).write_text(f"never committed {number}")
    tree.git("init", "-q", "-b", "main")
    tree.git("add", "file*")
    tree.git("commit", "-qm", "one")
    tree.git("checkout", "-qb", "other")
    for number in range(40):
        (tree.root / f"file{number}").write_text(f"two {number}\n")
    for number in range(40, 60):
        (tree.root / f"file{number}").unlink()
    tree.git("commit", "-qam", "two")
    tree.git("checkout", "-q", "main")
    tree.begin()
    tree.git("checkout", "-q", "other")
    read = tree.told()
    assert (read["deleted"], read["overwritten"]) == (20, 40)
    assert "unrestorable" not in read, "git has it all"
    # A build: things that it made itself come and go, and whole trees that are ignored.
    for number in range(50):
        (tree.root / f"out{number}.o").write_text("object")
        (tree.root / f"out{number}.o").unlink()
        (tree.root / "node_modules" / f"pkg{number}").mkdir(parents=True)
        (tree.root / "node_modules" / f"pkg{number}" / "index.js").write_text("x")
    shutil.rmtree(tree.root / "node_modules")
    assert "unrestorable" not in tree.told()
    shutil.rmtree(tree.root / "notes")
    read = tree.told()
    assert (read["deleted"], read["unrestorable"]) == (30, 30)


@pytest.mark.parametrize("seed", range(runs(40)))
def test_whatever_happens_the_shadow_ends_as_the_truth(tree: Tree, seed: int) -> None:
    """Files and folders come, go and move, in and out, while it looks now and then."""
    chance = random.Random(seed)
    outside = tree.folder / "outside"
    outside.mkdir()
    for number in range(9):
        (tree.root / f"f{number}").write_text("x" * number)
    tree.begin()
    for _ in range(4):
        for _ in range(chance.randrange(1, 60)):
            with contextlib.suppress(OSError):
                _stir(tree.root, outside, chance)
            if chance.random() < 0.1:
                tree.sensor.look()
        tree.settle()
        assert not tree.problems
        shadow = tree.sensor._shadow
        assert shadow is not None
        known = {
            "/".join([*folder.parts(), name]): facts.size
            for folder in shadow.tree.root.below()
            for name, facts in folder.files.items()
        }
        real = {
            str(path.relative_to(tree.root)): path.stat().st_size
            for path in tree.root.rglob("*")
            if path.is_file()
        }
        assert known == real
        assert shadow.tree.files == len(real)


def _stir(root: Path, outside: Path, chance: random.Random) -> None:
    folders = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    name = f"n{chance.randrange(30)}"
    somewhere = chance.choice(folders)
    what = chance.randrange(10)
    if what == 0:
        (somewhere / f"d{name}").mkdir()
    elif what <= 3:
        with open(somewhere / name, "a", encoding="utf-8") as file:
            file.write("x" * chance.randrange(100))
    elif what == 4:
        chance.choice(files).write_text("y" * chance.randrange(100))
    elif what == 5:
        chance.choice(files).unlink()
    elif what == 6:
        chance.choice(files).replace(somewhere / name)
    elif what == 7 and len(folders) > 1:
        chance.choice(folders[1:]).rename(somewhere / f"d{name}")
    elif what == 8 and len(folders) > 1 and chance.random() < 0.3:
        shutil.rmtree(chance.choice(folders[1:]))
    elif len(folders) > 1 and chance.random() < 0.5:
        chance.choice(folders[1:]).rename(outside / f"o{chance.getrandbits(40)}")
    elif left := sorted(outside.iterdir()):
        chance.choice(left).rename(somewhere / f"d{name}")


def test_DET_2_a_canary_that_is_written_into_a_file_is_found_and_never_repeated(tree: Tree) -> None:
    (tree.root / "old").write_text(TOKEN)
    tree.section = tree.section.model_copy(update={"canaries": "/root/tokens"})
    tree.begin()
    assert tree.told() == {}, "what was there before is the past"
    (tree.root / "leak").write_text(f"<!-- {TOKEN[::-1]} -->")
    assert tree.told()["canary"] == 1
    assert str(tree.root / "leak") in tree.details["file"]
    with open(tree.root / "large", "wb") as file:
        file.write(bytes(3_000_000) + TOKEN.encode() + bytes(3_000_000))
    assert tree.told()["canary"] >= 1
    (tree.root / "other").write_text("nothing")
    assert "canary" not in tree.told()
    assert not any(TOKEN in text or TOKEN[::-1] in text for text in tree.details.values())


def test_names_that_are_hostile_are_shown_escaped(tree: Tree) -> None:
    names = [b"\x1b[2Jcleared", b"\xff\xfe", b"-rf", b"a" * 255, "\u202eevil".encode()]
    for name in names:
        (tree.root / os.fsdecode(name)).write_text("x")
    os.symlink("/etc", tree.root / "link")
    os.mkfifo(tree.root / "fifo")
    tree.begin()
    for name in names:
        (tree.root / os.fsdecode(name)).unlink()
    assert tree.told()["deleted"] == len(names)
    for text in tree.details.values():
        assert text.isprintable()
        text.encode("utf-8")
    assert len(tree.lines()) == len(names)


def test_a_path_may_be_a_link_when_it_begins_and_folders_may_lie_deep(tree: Tree) -> None:
    at = tree.root
    for _ in range(230):
        at /= "d"
    at.mkdir(parents=True)
    (at / "file").write_text("x")
    (tree.folder / "link").symlink_to(tree.root)
    tree.section = tree.section.model_copy(update={"path": str(tree.folder / "link")})
    tree.begin()
    (at / "file").unlink()
    assert tree.told()["deleted"] == 1


def test_a_path_that_goes_is_told_whole_and_one_that_comes_back_is_watched(tree: Tree) -> None:
    for number in range(9):
        (tree.root / str(number)).write_text("x")
    tree.begin()
    tree.root.rename(tree.folder / "elsewhere")
    tree.sensor._checked_us = 0
    assert tree.told()["deleted"] == 9
    assert "is gone" in tree.problems[-1]
    tree.root.mkdir()
    (tree.root / "new").write_text("x")
    tree.told()
    (tree.root / "new").unlink()
    assert tree.told()["deleted"] == 1


def test_lost_events_are_loud_and_what_they_were_about_is_found(tree: Tree) -> None:
    for number in range(300):
        (tree.root / str(number)).write_text("x")
    tree.begin()
    events: Any = tree.sensor._events
    for number in range(150):
        (tree.root / str(number)).unlink()
    (tree.root / "200").write_text("changed")
    while events.read():
        pass  # as if the kernel had dropped them
    events.lost += 1
    read = tree.told()
    assert (read["deleted"], read["overwritten"], read["lost"]) == (150, 1, 1)
    assert "dropped events" in tree.problems[0]
    assert not tree.sensor.look().problem


def test_without_watches_left_it_fails_loudly(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "inotify").begin()
    events: Any = tree.sensor._events
    events.unwatched = 3
    (tree.root / "x").write_text("x")
    tree.told()
    assert "max_user_watches" in tree.problems[0]
    tree.close()


def test_what_was_deleted_while_nobody_looked_is_counted_by_the_next_life(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "inotify")
    for number in range(9):
        (tree.root / str(number)).write_text("x")
    tree.begin()
    tree.told()
    memory = tree.memory
    assert memory == {"files": "9"}
    tree.close()
    for number in range(4):
        (tree.root / str(number)).unlink()
    tree.begin(memory)
    assert tree.begun["deleted"] == 4, "those that nobody saw go"
    (tree.root / "8").unlink()
    assert tree.told()["deleted"] == 1
    tree.close()


def test_fanotify_says_who_did_it_and_leaves_others_out_if_told_to(
    tmp_path: Path, as_root: None
) -> None:
    tree = Tree(tmp_path, "fanotify", only_target=True)
    for number in range(4):
        (tree.root / str(number)).write_text("x")
    tree.begin()
    subprocess.run(["rm", str(tree.root / "0")], check=True)
    assert tree.told()["deleted"] == 1, "no cell is known: it counts"
    [mine] = [
        line for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"
    ]
    tree.cells["a"] = CellFacts(f"/sys/fs/cgroup{mine[3:].rstrip('/')}/no-such-cell", ())
    (tree.root / "1").unlink()
    assert "deleted" not in tree.told(), "this process is not in that cell"
    (tree.root / "2").unlink()
    tree.close()


def test_its_group_outlives_its_eye(tmp_path: Path, as_root: None) -> None:
    tree = Tree(tmp_path, "fanotify")
    (tree.root / "below").mkdir()
    for number in range(4):
        (tree.root / "below" / str(number)).write_text("x")
    group = Files.prepare(tree.section)
    assert group is not None
    for life in range(2):
        (tree.root / "below" / str(life)).unlink()
        context = SensorContext(SystemClock(), {}, descriptor=os.dup(group))
        tree.sensor = Files(tree.section, context)
        assert tree.settle()["deleted"] == 1
        tree.close()
    os.close(group)


def test_it_reads_no_fifo_follows_no_link_and_writes_nothing(tree: Tree) -> None:
    secret = tree.folder / "secret"
    secret.mkdir()
    (secret / "key").write_text("x")
    os.symlink(secret, tree.root / "link")
    os.mkfifo(tree.root / "pipe")
    (tree.root / "file").write_text("x")
    before = {path: path.lstat().st_mtime_ns for path in tree.root.iterdir()}
    tree.begin()
    (secret / "key").unlink()
    assert tree.told() == {}
    assert {path: path.lstat().st_mtime_ns for path in tree.root.iterdir()} == before
    assert stat.S_ISFIFO((tree.root / "pipe").lstat().st_mode)
