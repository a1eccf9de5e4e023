"""The code in the documents runs: commands by a shell, TOML by the loader, Python in a cell.

A block of `sh` is typed line by line into one shell, in an installation of its own; a comment
`# exit N` after a command is what it must end with (0 if none is there), and one that ends
in `&` is waited for until its target is there, as a person would.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation
from offswitch.config.load import installed_kinds, parse
from requirements_table import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


def blocks(kind: str) -> list[object]:
    """Give every block of a kind, with where it stands."""
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}:{page.read_text().count(chr(10), 0, at)}")
        for page in PAGES
        for at, found, code in ((m.start(), *m.groups()) for m in BLOCK.finditer(page.read_text()))
        if found == kind
    ]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation without a warden: the commands start one, as they do for a newcomer."""
    one = Installation(tmp_path)
    try:
        yield one
    finally:
        one.close()


def script(code: str) -> str:
    """Make a shell script of a block that tells the first line that ends otherwise."""
    lines = [f"export PATH={shlex.quote(str(BIN))}:$PATH"]
    for line in code.splitlines():
        command, _, said = line.partition("  # ")
        wanted = re.match(r"\s*exit (\d+)", said)
        if not command.strip() or command.lstrip().startswith("#"):
            continue
        if command.rstrip().endswith("&"):
            lines += [command, "for i in $(seq 400); do", "  offswitch target list 2>/dev/null |"]
            lines += ["    grep -q running && break; sleep 0.05", "done"]
            continue
        expected = wanted[1] if wanted else "0"
        lines += [f"echo {shlex.quote('$ ' + line)}", f"{command}; code=$?"]
        lines += [f"[ $code = {expected} ] || {{ echo UNEXPECTED exit $code; exit 1; }}"]
    return "\n".join(lines)


@pytest.mark.parametrize("code", blocks("sh"))
def test_commands_end_as_the_page_says(code: str, own: Installation) -> None:
    said = own.folder / "said"
    with said.open("w") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script(code)],
            cwd=own.work,
            env=own.env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        assert shell.wait(90) == 0, said.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


@pytest.mark.parametrize("code", blocks("toml"))
def test_configurations_are_accepted(code: str) -> None:
    if "pyproject.toml" in code.splitlines()[0]:
        assert tomllib.loads(code)["project"]["entry-points"]
        return
    config = parse(code.encode(), "page", installed_kinds())
    assert config.model_fields_set


@pytest.mark.parametrize("code", blocks("python"))
def test_programs_run_in_a_cell(code: str, own: Installation) -> None:
    (own.work / "page.py").write_text(code)
    command = [str(BIN / "offswitch"), "run", "--", sys.executable, "page.py"]
    done = subprocess.run(
        command,
        cwd=own.work,
        env=own.env | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if "a new ledger; keep" not in line]
    assert (done.returncode, told) == (0, [])
    assert done.stdout


def test_there_is_something_to_run() -> None:
    assert blocks("sh")
    assert blocks("toml")
    assert blocks("python")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_page_shows_is_known(page: Path) -> None:
    shown = set(re.findall(r"`offswitch ([a-z]+)[^`]*`", page.read_text()))
    known = {"run", "stop", "reset", "start", "status", "up", "demo", "board", "doctor"}
    known |= {"target", "rule", "detector", "ledger", "config", "install"}
    known |= {"alarm", "decision", "discover", "drill", "incident", "people", "sensor", "ticket"}
    known |= {"gateway", "hook", "mcp", "assess"}
    assert shown <= known, "a page shows a command that is not there"


@pytest.mark.skipif(not os.access(ROOT / ".git", os.R_OK), reason="not a checkout")
def test_the_two_commands_of_the_readme_are_there() -> None:
    for name in ("scripts/offswitch", "scripts/test", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK)
        subprocess.run(["bash", "-n", ROOT / name], check=True)
