"""The workspace of an allotted user: what lies there, and that nothing harmful outlasts it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from offswitch.warden.cells import seccomp, workspace
from offswitch.warden.cells.toolchain import hops, prefix_of, prefixes
from stage import PYTHON, Actor, Stage


class Home:
    """A closed home (0700) with a project and a Python of its own, as a newcomer's is."""

    def __init__(self, root: Path) -> None:
        self.path = root / "closed-home"
        self.path.mkdir(mode=0o700)
        self.path.chmod(0o700)
        self.project = self.path / "code" / "project"
        self.project.mkdir(parents=True)
        self.project.chmod(0o700)
        (self.project / "data").write_text("from the disk")
        (self.project / "data").chmod(0o600)
        (self.path / "secret").write_text("key")
        self.python = self.path / ".pyenv" / "versions" / "3.11"
        (self.python / "bin").mkdir(parents=True)
        shutil.copy(PYTHON, self.python / "bin" / "python3.11")
        (self.python / "bin" / "python3").symlink_to("python3.11")
        shims = self.path / ".pyenv" / "shims"
        shims.mkdir()
        (shims / "python3").write_text(
            f'#!/usr/bin/env bash\nexec "{self.python}/bin/python3" "$@"\n'
        )
        (shims / "python3").chmod(0o755)
        self.env = {"PATH": f"{shims}:/usr/bin:/bin", "HOME": str(self.path), "USER": "root"}


@pytest.fixture
def home(stage: Stage) -> Iterator[Home]:
    return Home(stage.root)


def inside(stage: Stage, home: Home, *argv: str, **options: object) -> Actor:
    """Run something in the workspace of the project, and wait for it."""
    page = Path(stage.place.run, "page")
    if not page.exists():
        page.write_text("page")
        Path(stage.place.run, "secret").write_text("x")
        Path(stage.place.home, "latch").write_text("x")
        page.chmod(0o444)
    given = {
        "cwd": str(home.project),
        "env": home.env,
        "workspace": True,
        "closed": (stage.place.home, stage.place.run),
        "page": str(page),
    }
    actor = stage.bear(list(argv), **(given | options))  # type: ignore[arg-type]
    actor.wait()
    return actor


def said(stage: Stage, home: Home, script: str, **options: object) -> str:
    actor = inside(stage, home, "bash", "-c", script, **options)
    failure = stage.failure(actor)
    assert failure is None, failure
    return actor.said()


def test_a_project_and_a_python_below_a_closed_home_work(stage: Stage, home: Home) -> None:
    program = (
        "import os, sys; print(os.getcwd(), open('data').read()); open('made', 'w').write('x')"
    )
    actor = inside(stage, home, "python3", "-c", program)
    assert stage.failure(actor) is None
    assert actor.said().strip() == f"{home.project} from the disk"
    made = (home.project / "made").stat()
    assert (made.st_uid, made.st_gid) == (0, 0), "on the disk it belongs to the project's owner"


def test_what_else_lies_in_the_closed_home_is_not_there(stage: Stage, home: Home) -> None:
    text = said(stage, home, f"ls -A {home.path}; cat {home.path}/secret; touch {home.path}/x")
    assert text.split()[:2] == [".pyenv", "code"]
    assert "No such file" in text
    assert "Read-only file system" in text
    assert "key" not in text


def test_the_interpreter_cannot_be_changed(stage: Stage, home: Home) -> None:
    text = said(stage, home, f"echo x > {home.python}/bin/python3.11; rm -rf {home.path}/.pyenv")
    assert text.count("Read-only file system") >= 2
    assert (home.python / "bin" / "python3.11").stat().st_size > 1000


def test_SEC_3_folders_of_ours_are_hidden_and_only_the_page_shows(stage: Stage, home: Home) -> None:
    place = stage.place
    text = said(
        stage,
        home,
        f"ls -A {place.run} {place.home}; cat {place.run}/page; echo; echo x > {place.run}/page;"
        f"rm {place.run}/page; touch {place.run}/stop",
    )
    assert text.splitlines()[:4] == [f"{place.home}:", "", f"{place.run}:", "page"]
    assert text.count("Read-only file system") == 3
    assert Path(place.run, "page").read_text() == "page"


def test_SR_1_state_and_code_of_ours_in_the_project_can_be_neither_written_nor_renamed(
    stage: Stage, home: Home
) -> None:
    ours = home.project / "venv" / "lib" / "offswitch"
    ours.mkdir(parents=True)
    (ours / "cell.py").write_text("ours")
    state = home.project / "state" / "deep"
    state.mkdir(parents=True)
    (state / "latch").write_text("latched")
    text = said(
        stage,
        home,
        "echo x > venv/lib/offswitch/cell.py; mv venv other; rm -rf venv; mv state other;"
        "ls -A state/deep; mkdir venv/planted; echo fine > elsewhere",
        read_only=(str(ours),),
        closed=(stage.place.home, stage.place.run, str(state)),
    )
    assert text.count("Read-only file system") >= 3
    assert text.count("busy") >= 2
    assert "latch" not in text.splitlines()
    assert (ours / "cell.py").read_text() == "ours"
    assert (state / "latch").read_text() == "latched"
    assert (home.project / "elsewhere").read_text() == "fine\n"


def test_SR_1_a_folder_that_is_our_own_code_is_refused(stage: Stage, home: Home) -> None:
    actor = inside(stage, home, "true", read_only=(str(home.project),))
    failure = stage.failure(actor)
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("refused", 125)


def test_git_and_a_virtual_environment_work_there(stage: Stage, home: Home) -> None:
    text = said(
        stage,
        home,
        "git init -q . && git add data && git -c user.email=a@b -c user.name=c commit -qm x"
        " && git log --format=%s; whoami; python3 -m venv --without-pip v && v/bin/python -c"
        " 'import sys; print(sys.prefix)'; echo $HOME; cd ~ && pwd",
    )
    assert text.splitlines() == [
        "x",
        f"cell-{stage.actors[0].cell.uid}",
        f"{home.project}/v",
        str(home.project),
        str(home.project),
    ]


CAPABILITY = r"""python3 -c 'import os
os.setxattr("tool", "security.capability", b"\1\0\0\2" + b"\xff" * 4 + b"\0" * 12)'"""
MARKS = (
    "chmod u+s tool",
    "chmod 6755 tool",
    "chmod g+s tool",
    "install -m 4755 /bin/true tool",
    "rm tool; umask 0; python3 -c 'import os; os.open(\"tool\", 0o101, 0o4777)'",
    "rm tool; umask 0; python3 -c 'import os; os.mknod(\"tool\", 0o106755)'",
    "python3 -c 'import os; os.fchmod(os.open(\"tool\", 1), 0o4755)'",
    "unshare -Ur " + CAPABILITY,
)


def is_marked(tool: Path) -> bool:
    marked = tool.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    return bool(marked) or "security.capability" in os.listxattr(tool)


@pytest.mark.parametrize("attempt", MARKS)
def test_SEC_3_no_mark_of_root_can_be_left_on_the_disk(
    stage: Stage, home: Home, attempt: str
) -> None:
    """The cell's files are root's outside: a set-user-id bit or a capability would be, too."""
    inside(stage, home, "bash", "-c", f"cp /bin/true tool; {attempt}")
    assert not (home.project / "tool").exists() or not is_marked(home.project / "tool")


@pytest.mark.parametrize("attempt", MARKS)
def test_SEC_3_without_the_filter_each_mark_is_left(
    stage: Stage, home: Home, attempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin that fails."""
    monkeypatch.setattr(seccomp, "forbid_lasting_marks", lambda: None)
    actor = inside(stage, home, "bash", "-c", f"cp /bin/true tool; {attempt}")
    assert is_marked(home.project / "tool"), actor.said()


def test_ordinary_modes_and_files_are_not_disturbed(stage: Stage, home: Home) -> None:
    text = said(
        stage,
        home,
        "touch a && chmod 750 a && chmod +t . && mkdir -p d/e && cp -a data b && ln -s a l"
        " && mv a c && tar cf t.tar c d && tar xf t.tar && stat -c %a c && for i in $(seq 200); do"
        " cat data > /dev/null; done; rm -rf c d b l t.tar; chmod -t .",
    )
    assert text.split() == ["750"]


def test_the_filter_knows_both_machines_and_no_others() -> None:
    for machine in ("x86_64", "aarch64"):
        code = seccomp.program(machine)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 256
    with pytest.raises(KeyError):
        seccomp.program("z80")


@pytest.mark.parametrize("cwd", ["/", "/etc", "/usr", "/proc", "/dev/shm"])
def test_a_folder_of_the_system_is_shown_as_it_is(stage: Stage, home: Home, cwd: str) -> None:
    text = said(stage, home, "pwd; touch /etc/x /usr/x; id -u", cwd=cwd)
    assert text.splitlines()[0] == cwd
    assert text.count("cannot touch") == 2


def test_a_home_as_working_directory_is_lent_whole(stage: Stage, home: Home) -> None:
    script = "cat secret; echo; echo x > new; python3 -c 'print(1)'"
    text = said(stage, home, script, cwd=str(home.path))
    assert text.split() == ["key", "1"]
    assert (home.path / "new").stat().st_uid == 0


def test_what_a_person_should_know_of_the_folder_is_said() -> None:
    assert workspace.remarks("/home/her/project", "/home/her") == []
    assert workspace.remarks("/dev/shm/project", "/root") == []
    assert "may not write there" in workspace.remarks("/etc/nginx", "/root")[0]
    assert "change all of it" in workspace.remarks("/root", "/root")[0]


def test_a_folder_that_is_not_there_is_named(stage: Stage, home: Home) -> None:
    failure = stage.failure(inside(stage, home, "true", cwd=str(home.path / "gone")))
    assert failure is not None
    assert failure.kind == "not-found"
    assert "gone" in failure.message


def test_a_linked_working_directory_is_entered_by_its_real_path(stage: Stage, home: Home) -> None:
    link = home.path / "link"
    link.symlink_to(home.project)
    assert said(stage, home, "pwd; cat data", cwd=str(link)).splitlines() == [
        str(home.project),
        "from the disk",
    ]


def test_where_the_file_system_cannot_be_lent_the_error_names_path_and_ways_on(
    stage: Stage, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("offswitch.warden.cells.mounts.lend", refuse)
    failure = stage.failure(inside(stage, home, "true"))
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("unsupported", 125)
    assert str(home.project) in failure.message
    assert "--user NAME" in failure.hint
    assert "--user root" in failure.hint
    assert "another folder" in failure.hint


def test_files_of_others_stay_theirs(stage: Stage, home: Home) -> None:
    (home.project / "hers").write_text("hers")
    (home.project / "hers").chmod(0o600)
    os.chown(home.project / "hers", 12345, 12345)
    text = said(stage, home, "stat -c '%u %n' hers data; cat hers")
    uid = stage.actors[0].cell.uid
    assert text.splitlines()[:2] == ["12345 hers", f"{uid} data"]
    assert "Permission denied" in text


def test_the_machine_keeps_its_own_mounts(stage: Stage, home: Home) -> None:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        before = file.read()
    inside(stage, home, "true")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert file.read() == before


def test_environment_variables_that_name_closed_folders_are_dropped(
    stage: Stage, home: Home
) -> None:
    env = home.env | {"TMPDIR": str(home.path / "tmp"), "XDG_RUNTIME_DIR": "/run/user/0", "X": "y"}
    assert said(stage, home, "echo $TMPDIR $XDG_RUNTIME_DIR $X", env=env).split() == ["y"]


def test_the_topmost_closed_folder_is_found(tmp_path: Path) -> None:
    outer = Path(tempfile.mkdtemp(dir="/tmp"))
    inner = outer / "a" / "b"
    inner.mkdir(parents=True)
    outer.chmod(0o755)
    assert workspace.closed_above(str(inner)) is None
    (outer / "a").chmod(0o700)
    inner.chmod(0o700)
    assert workspace.closed_above(str(inner)) == str(outer / "a")
    shutil.rmtree(outer)


def test_a_program_is_followed_through_links_and_interpreters(home: Home) -> None:
    path = [f"{home.path}/.pyenv/shims", "/usr/bin"]
    assert hops("python3", path)[:1] == [f"{home.path}/.pyenv/shims/python3"]
    assert "/usr/bin/bash" in hops("python3", path)
    assert hops(f"{home.python}/bin/python3", []) == [
        f"{home.python}/bin/python3",
        f"{home.python}/bin/python3.11",
    ]
    assert hops("no-such-program", path) == []
    assert prefix_of("/opt/x/bin/tool") == "/opt/x"
    assert prefix_of("/opt/x/tool") == "/opt/x/tool"
    assert f"{home.path}/.pyenv" in prefixes("python3", path)


def test_a_virtual_environment_of_the_running_python_shows_both_prefixes(tmp_path: Path) -> None:
    found = prefixes(sys.executable, [])
    assert os.path.realpath(sys.base_prefix) in [os.path.realpath(each) for each in found]


def test_links_that_run_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert hops(str(tmp_path / "a"), []) == []
