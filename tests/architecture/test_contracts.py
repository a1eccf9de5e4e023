"""Who may import whom: that the contracts hold, name everything, and could fail.

`lint-imports` reads the code; here the same is seen at run time as well: the stop path is
imported by a Python that has no third-party packages at all.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "offswitch"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS, PURE, STOP_PATH, HANDS = PROJECT["tool"]["importlinter"]["contracts"]


def modules(*names: str) -> Iterator[str]:
    """Give each module below the named ones (`offswitch.model`), dotted."""
    for name in names:
        place = ROOT / "src" / name.replace(".", "/")
        files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
        for file in sorted(files):
            dotted = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
            yield dotted.removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Give the top-level names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def without_packages(code: str) -> subprocess.CompletedProcess[str]:
    """Run code by an isolated Python with our source, and no package beside the library."""
    begin = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", begin + code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_stop_path_runs_where_no_package_is_installed() -> None:
    wanted = [name for name in modules(*STOP_PATH["source_modules"]) if "__main__" not in name]
    assert len(wanted) > 40
    done = without_packages("".join(f"import {name}\n" for name in wanted))
    assert (done.returncode, done.stderr) == (0, "")


def test_that_check_can_fail() -> None:
    assert "No module named 'pydantic'" in without_packages("import pydantic").stderr


def test_the_contract_names_every_third_party_that_we_use() -> None:
    ours = {"offswitch", *sys.stdlib_module_names}
    used = {name for path in SOURCE.rglob("*.py") for name in imports(path)} - ours
    assert used <= set(STOP_PATH["forbidden_modules"])
    assert used <= set(PURE["forbidden_modules"])


def test_the_contract_names_every_room_of_the_stop_path() -> None:
    rooms = ["model", "control", "guard", "warden"]
    local = [f"actuators.{one.stem}" for one in SOURCE.glob("actuators/[!_]*.py")]
    verbs = ["__main__", "cli.stop", "cli.status", "cli.reset"]
    assert {f"offswitch.{room}" for room in rooms + local + verbs} <= set(
        STOP_PATH["source_modules"]
    )
    layered = " ".join(LAYERS["layers"])
    for room in SOURCE.iterdir():
        if room.name not in {"__init__.py", "__main__.py", "__pycache__", "py.typed"}:
            assert room.stem in layered, f"{room.name} has no place among the layers"


@pytest.mark.parametrize(
    ("place", "line", "broken"),
    [
        ("model/level.py", "import socket", PURE["name"]),
        ("model/level.py", "from offswitch.control import frames", PURE["name"]),
        ("clock.py", "import numpy", STOP_PATH["name"]),
        ("cli/words.py", "import rich", STOP_PATH["name"]),
        ("control/frames.py", "from offswitch.warden import loop", LAYERS["name"]),
        ("warden/loop.py", "from offswitch.actuators.hands import http", HANDS["name"]),
    ],
)
def test_a_planted_import_breaks_its_contract(
    place: str, line: str, broken: str, tmp_path: Path
) -> None:
    for name in modules("offswitch"):
        source = ROOT / "src" / name.replace(".", "/")
        source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        copy = tmp_path / source.relative_to(ROOT / "src")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    planted = tmp_path / "offswitch" / place
    planted.write_text(f"{planted.read_text()}\n{line}\n")
    check = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; "
    check += (
        f"sys.exit(lint_imports(config_filename={str(ROOT / 'pyproject.toml')!r}, no_cache=True))"
    )
    command = [sys.executable, "-P", "-c", check]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{broken} BROKEN" in done.stdout


def test_nothing_happens_and_nothing_is_written_on_import() -> None:
    names = [name for name in modules(*STOP_PATH["source_modules"]) if "__main__" not in name]
    watch = "import os, threading; before = set(os.listdir('/proc/self/fd'))\n"
    after = (
        "assert set(os.listdir('/proc/self/fd')) == before; assert threading.active_count() == 1"
    )
    done = without_packages(watch + "".join(f"import {name}\n" for name in names) + after)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
