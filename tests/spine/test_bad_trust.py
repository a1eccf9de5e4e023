"""Nothing of ours is loaded from where anybody else can write (SR-1)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import offswitch
from installation import Installation, until
from needs import needs_root
from offswitch.warden.trust import writable_by_others

START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from offswitch.warden.__main__ import main; sys.exit(main(sys.argv[2:]))"
)
STRANGER = 4242


class Copy:
    """A copy of our code, and a place to serve, that a test may spoil."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        self.home = folder / "home"
        self.run = folder / "run"
        for path in (self.code, self.home, self.run):
            path.mkdir(mode=0o711)
        ignored = shutil.ignore_patterns("cli", "watch", "demo", "static")
        shutil.copytree(Path(offswitch.__file__).parent, self.code / "offswitch", ignore=ignored)

    def start(self) -> subprocess.CompletedProcess[str]:
        """Start a warden from the copy, and wait until it has refused."""
        argv = [sys.executable, "-I", "-c", START, str(self.code)]
        argv += ["--home", str(self.home), "--run", str(self.run), "--private", "--no-recorder"]
        env = {"PATH": os.environ["PATH"]}
        return subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=30, check=False
        )

    def assert_refused(self, path: Path) -> None:
        came = self.start()
        assert came.returncode == 5, f"{path}: {came.stderr}"
        assert str(path) in came.stderr
        assert "Traceback" not in came.stderr
        assert not (self.run / "control" / "warden").exists(), "it listened"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    needs_root()
    return Copy(tmp_path)


def test_SR_1_a_root_warden_refuses_code_that_others_can_write_and_names_it(copy: Copy) -> None:
    wire = copy.code / "offswitch" / "model" / "wire.py"
    package = copy.code / "offswitch" / "model"
    cached = package / "__pycache__"
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(package)], check=True)
    bytecode = next(cached.glob("wire.*.pyc"))
    spoilt: list[tuple[Path, Callable[[Path], None]]] = [
        (wire, by_mode),
        (bytecode, by_owner),
        (cached, by_group),
        (package, by_owner),
        (copy.code, by_mode),
    ]
    for path, spoil in spoilt:
        mode = path.stat().st_mode
        spoil(path)
        copy.assert_refused(path)
        os.chown(path, 0, 0)
        path.chmod(mode)


def by_mode(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def by_owner(path: Path) -> None:
    os.chown(path, STRANGER, -1)


def by_group(path: Path) -> None:
    os.chown(path, 0, STRANGER)
    path.chmod(path.stat().st_mode | 0o020)


def test_SR_1_a_root_warden_refuses_state_and_configuration_that_others_can_write(
    copy: Copy,
) -> None:
    spoilt: list[tuple[str, Callable[[Path], None]]] = [
        ("latch", by_mode),
        ("authority", by_owner),
        ("offswitch.toml", by_group),
        ("targets/a.json", by_mode),
    ]
    (copy.home / "targets").mkdir()
    for name, spoil in spoilt:
        path = copy.home / name
        path.write_text("")
        spoil(path)
        copy.assert_refused(path)
        path.unlink()


def test_SR_1_a_folder_above_that_others_can_write_is_no_home(copy: Copy) -> None:
    copy.folder.chmod(0o777)
    copy.assert_refused(copy.folder)


PLANTED = (
    "sched", "json", "socket", "select", "struct", "heapq", "array", "mmap", "zlib", "fcntl",
    "grp", "pwd", "traceback", "signal", "hashlib", "threading", "sqlite3", "offswitch",
    "sitecustomize", "usercustomize", "typing", "dataclasses",
)  # fmt: skip


def plant(folder: Path, witness: Path) -> None:
    folder.mkdir()
    code = (
        "import os, sys\n"
        f"fd = os.open({str(witness)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)\n"
        "os.write(fd, (__name__ + ' in ' + ' '.join(sys.orig_argv) + '\\n').encode())\n"
        "os.close(fd)\n"
        "raise ImportError('planted')\n"
    )
    for name in PLANTED:
        (folder / f"{name}.py").write_text(code)


def test_SR_1_a_planted_module_is_never_loaded_by_any_of_our_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target writes `sched.py` into the folder in which somebody will press or run."""
    witness = tmp_path / "witness"
    folder = tmp_path / "planted"
    plant(folder, witness)
    one = Installation(tmp_path)
    monkeypatch.chdir(folder)
    try:
        ran = one.cli("run", "--target", "a", "--", "/bin/true", cwd=str(folder))
        assert ran.returncode == 0, ran.stderr
        assert one.cli("stop", "a", cwd=str(folder)).returncode == 0
        assert one.cli("status", cwd=str(folder)).returncode == 3
        assert one.cli("reset", "a", "--reason", "x", cwd=str(folder)).returncode == 0
        assert not witness.exists(), witness.read_text()
        pids = one.pids()
        os.kill(pids["warden"], 9)
        until(lambda: not Path(f"/proc/{pids['warden']}").exists(), "the first warden is gone")
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT"):
            monkeypatch.setenv(name, str(folder))
        monkeypatch.delenv("PYTHONHOME")
        one.start()
        one.run("/bin/true", target="b")
        one.stop("b")
        assert not witness.exists(), witness.read_text()
    finally:
        monkeypatch.undo()
        one.close()


def test_who_could_change_a_path_is_named_for_each_step(tmp_path: Path) -> None:
    needs_root()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    assert not writable_by_others([str(deep / "file"), str(deep / "missing")], 0)
    os.chown(tmp_path / "a", STRANGER, 0)
    (deep / "file").chmod(0o666)
    found = writable_by_others([str(deep / "file")], 0)
    assert found == [
        f"{deep / 'file'} is writable by everyone",
        f"{tmp_path / 'a'} belongs to user {STRANGER}",
    ]
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "sticky" / "ours").write_text("")
    assert not writable_by_others([str(tmp_path / "sticky" / "ours")], 0), "nobody can rename it"
