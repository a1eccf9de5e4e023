"""`offswitch run` around programs that no one here wrote, for root and for an ordinary person.

Root works below a 0700 home, with the Python that its PATH finds; the person has no root,
starts a private warden of their own, and stands on the lower rung. Both get what they would
have got without us: exit code, output, files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

import offswitch
from installation import PYTHON, Installation
from needs import needs, needs_program, needs_root

PERSON = 64_321
"""A user id of an ordinary person; it needs no name."""


class Someone:
    """Root or a person, with a home that is closed to others, and a project in it."""

    def __init__(self, base: Path, uid: int, command: list[str], env: dict[str, str]) -> None:
        self.uid = uid
        self.command = command
        self.home = base / "home-of-someone"
        self.project = self.home / "code" / "project"
        self.project.mkdir(parents=True)
        self.env = env | {"HOME": str(self.home), "LANG": "C.UTF-8"}
        self.own()

    def own(self) -> None:
        for folder, _folders, files in os.walk(self.home):
            for name in [".", *files]:
                os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)
        self.home.chmod(0o700)

    def popen(self, *words: str, stderr: int | TextIO = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin a command of Offswitch's as this person."""
        return subprocess.Popen(
            [*self.command, *words],
            user=self.uid,
            group=self.uid,
            extra_groups=[],
            cwd=self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            umask=0o022,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program under the switch, to its end."""
        with self.popen("run", "--", *words) as process:
            out, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, errors)


@pytest.fixture(scope="module", params=["root", "person"])
def someone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Someone]:
    needs_root()
    if request.param == "root":
        yield from root(tmp_path_factory.mktemp("root"))
    else:
        yield from person()


def root(base: Path) -> Iterator[Someone]:
    installation = Installation(base)
    program = f"{os.path.dirname(sys.executable)}/offswitch"
    try:
        installation.start()
        yield Someone(base, 0, [program], installation.env)
    finally:
        installation.close()


def person() -> Iterator[Someone]:
    """Give somebody whose Python is the system's, and who finds our code where it lies."""
    base = Path(tempfile.mkdtemp(prefix="offswitch-person-"))
    base.chmod(0o755)
    ours = readable(os.path.dirname(os.path.dirname(offswitch.__file__)), base / "ours")
    packages = readable(os.path.dirname(os.path.dirname(pytest.__file__)), base / "packages")
    needs(sys.version_info[:2] == (3, 11), "the Python that the system has, 3.11")
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(base / "venv")], check=True)
    site = base / "venv/lib/python3.11/site-packages/offswitch.pth"
    site.write_text(f"{ours}\n{packages}\n")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    command = [str(base / "venv/bin/python"), "-I", "-m", "offswitch"]
    someone = Someone(base, PERSON, command, env)
    someone.env["OFFSWITCH_HOME"] = str(someone.home / "state")
    someone.env["OFFSWITCH_RUN"] = str(someone.home / "state" / "run")
    try:
        yield someone
    finally:
        end_all_of(PERSON)
        shutil.rmtree(base)
        for left in Path("/dev/shm").glob("offswitch-*"):
            with contextlib.suppress(OSError):
                if left.stat().st_uid == PERSON:
                    shutil.rmtree(left)


def readable(path: str, copy: Path) -> str:
    """Give `path`, or where it lies below a closed folder, links to its files in an open one."""
    if others_may_read(path):
        return path
    shutil.copytree(path, copy, copy_function=_link, ignore=shutil.ignore_patterns("__pycache__"))
    return str(copy)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def others_may_read(path: str) -> bool:
    folders = [path, *(str(folder) for folder in Path(path).parents)]
    return all(os.stat(folder).st_mode & 0o005 == 0o005 for folder in folders)


def end_all_of(uid: int) -> None:
    child = os.fork()
    if child == 0:
        os.setresuid(uid, uid, 1_899_999_000)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)


def test_a_shell_script_that_spawns(someone: Someone) -> None:
    script = someone.project / "build.sh"
    script.write_text(
        "#!/bin/sh\nset -e\nfor part in a b c; do (sleep 0.05; echo $part > $part.out) & done\n"
        "wait\ncat a.out b.out c.out | tee all.out | tr a-z A-Z\necho done >&2\nexit 7\n"
    )
    script.chmod(0o755)
    someone.own()
    done = someone.run("./build.sh")
    assert done.stdout == "A\nB\nC\n", done.stderr
    assert done.stderr.splitlines()[-1] == "done"
    assert done.returncode == 7
    assert (someone.project / "all.out").stat().st_uid == someone.uid


def test_git(someone: Someone) -> None:
    needs_program("git")
    (someone.project / "file").write_text("text\n")
    someone.own()
    script = (
        "git init -q repo && cd repo && cp ../file . && git add . &&"
        " git -c user.name=a -c user.email=b@c commit -qm first &&"
        " git log --format=%s && git status --short"
    )
    done = someone.run("sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "first\n"), done.stderr
    repository = str(someone.project / "repo")
    command = ["git", "-c", "safe.directory=*", "-C", repository, "fsck", "--strict"]
    checked = subprocess.run(command, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def wheel(folder: Path) -> Path:
    """Make a little package as pip installs it."""
    path = folder / "greeting-1.0-py3-none-any.whl"
    files = {
        "greeting.py": "def greet():\n    print('hello from the wheel')\n",
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        "greeting-1.0.dist-info/entry_points.txt": ("[console_scripts]\ngreet = greeting:greet\n"),
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{name},sha256={digest.decode().rstrip('=')},{len(text)}\n"
        archive.writestr(
            "greeting-1.0.dist-info/RECORD", record + "greeting-1.0.dist-info/RECORD,,\n"
        )
    return path


def test_pip_and_what_it_installed(someone: Someone) -> None:
    program = "import ensurepip; print(ensurepip._get_packages()['pip'].wheel_path or '')"
    found = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=False)
    needs(found.stdout.strip(), "the pip that the system's Python brings (python3-venv)")
    pip = [PYTHON, f"{found.stdout.strip()}/pip", "--disable-pip-version-check"]
    package = wheel(someone.project)
    someone.own()
    done = someone.run(*pip, "install", "--no-index", "--target", "packages", package.name)
    assert done.returncode == 0, done.stderr
    assert "Successfully installed greeting-1.0" in done.stdout
    script = "import sys; sys.path.insert(0, 'packages'); import greeting; greeting.greet()"
    assert someone.run(PYTHON, "-c", script).stdout == "hello from the wheel\n"


def test_a_web_server_under_load_then_stopped_then_refused(someone: Someone) -> None:
    wrk = needs_program("wrk")
    (someone.project / "index.html").write_text("hello\n")
    someone.own()
    words = ["--target", "web", "--", "python3", "-u", "-m", "http.server"]
    words += ["--bind", "127.0.0.1", "0"]
    with (
        (someone.home.parent / "log").open("w", encoding="utf-8") as log,
        someone.popen("run", *words, stderr=log) as server,
    ):
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "Serving HTTP" in line
        url = line.split("(")[1].split(")")[0]
        load = [wrk, "-t1", "-c4", "-d1s", url]
        report = subprocess.run(load, capture_output=True, text=True, check=True).stdout
        assert "requests in" in report
        assert "Non-2xx" not in report
        with urllib.request.urlopen(url, timeout=5) as page:
            assert page.read() == b"hello\n"

        with someone.popen("stop", "web", "--json") as stop:
            out, errors = stop.communicate(timeout=30)
        answer = json.loads(out)
        assert answer["targets"][0]["state"] == "stopped", errors
        assert answer["confirmed"], answer
        assert stop.returncode == 0
        assert server.wait(10) == 137
        with pytest.raises(OSError, match=r"refused|reset"):
            urllib.request.urlopen(url, timeout=5)
    with someone.popen("run", "--target", "web", "--", "true") as again:
        _out, errors = again.communicate(timeout=30)
    assert again.returncode == 125
    assert "latched" in errors


def test_python_finds_its_script_and_its_own_output(someone: Someone) -> None:
    (someone.project / "agent.py").write_text(
        "import json, os, pathlib, sqlite3, ssl, subprocess, sys\n"
        "pathlib.Path('made').mkdir()\n"
        "sqlite3.connect('made/db').execute('create table t (x)').connection.commit()\n"
        "print(json.dumps([os.getcwd(), sys.argv[1:], subprocess.check_output(['echo', 'sub'],"
        " text=True)]))\n"
        "sys.exit(3)\n"
    )
    someone.own()
    done = someone.run("python3", "agent.py", "--flag", "two words")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout) == [str(someone.project), ["--flag", "two words"], "sub\n"]
    assert (someone.project / "made" / "db").stat().st_size > 0
