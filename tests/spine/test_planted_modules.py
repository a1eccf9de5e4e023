"""A module planted where we are started is never ours (SR-1).

Without `python -I` a `sched.py` in the working directory is imported before the library's,
and runs as whoever started us: root, for a warden.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until

NAMES = ["sched", "json", "socket", "signal", "hashlib", "sqlite3", "offswitch", "sitecustomize"]


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation whose working folder is full of modules that tell of their import."""
    one = Installation(tmp_path)
    for name in NAMES:
        (one.work / f"{name}.py").write_text(
            "import os\n"
            f"with open({str(one.folder)!r} + '/sprung', 'a') as file:\n"
            f"    file.write('{name} by ' + open('/proc/self/cmdline').read() + chr(10))\n"
            f"raise ImportError('{name} was planted')\n"
        )
    try:
        yield one
    finally:
        one.close()


def sprung(one: Installation) -> str:
    path = one.folder / "sprung"
    return path.read_text() if path.exists() else ""


def test_SR_1_a_planted_module_is_loaded_by_no_process_of_ours(trap: Installation) -> None:
    program = [PYTHON, "-I", "-c", "import time; time.sleep(60)"]
    argv = [f"{os.path.dirname(sys.executable)}/offswitch", "run", "--target", "trap", "--"]
    with subprocess.Popen(
        [*argv, *program],
        cwd=trap.work,
        env=trap.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as running:
        until(lambda: trap.cli("target", "list").stdout.count("running"), "the target runs")
        said = [trap.cli(word, cwd=trap.work) for word in ("status", "doctor")]
        stopped = trap.cli("stop", "--all", cwd=trap.work)
        running.wait(20)
    assert stopped.returncode == 0, stopped.stderr
    assert said[0].returncode == 0, said[0].stderr
    helpers = trap.pids()
    assert {"warden", "keeper", "observer", "recorder"} <= helpers.keys()
    for pid in helpers.values():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert "-I" in words, f"{words} was started without -I"
    assert sprung(trap) == ""


def test_the_trap_works_where_python_is_not_isolated(trap: Installation) -> None:
    command = [sys.executable, "-c", "import sched"]
    done = subprocess.run(command, cwd=trap.work, capture_output=True, text=True, check=False)
    assert "was planted" in done.stderr
    assert sprung(trap)
