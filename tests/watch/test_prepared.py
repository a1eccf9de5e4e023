"""What a sensor gets from root: modules, secrets, a descriptor, before rights are given away."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import offswitch
from offswitch.config.secret_file import read_secret
from offswitch.errors import BadConfig

ROOM = Path(offswitch.__file__).parent / "watch"
LOADED = """
import sys
from offswitch.config.load import Loaded, installed_kinds, parse
from offswitch.watch.prepared import prepare
from offswitch.watch.readings.store import whole
kinds = installed_kinds()
prepare(Loaded(parse(b"", "x", kinds), kinds, "x", ""))
whole()
print(*sys.modules)
"""


def later(tree: ast.AST) -> Iterator[str]:
    """Name the modules of ours that are imported inside of functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    yield node.module


def test_SR_4_what_is_imported_later_was_imported_while_it_could_be_read() -> None:
    """The project may lie below a folder that only root may pass: an eye could not read it."""
    files = ROOM.rglob("*.py")
    wanted = {name for path in files for name in later(ast.parse(path.read_text()))}
    ours = {name for name in wanted if name.startswith("offswitch.")}
    assert ours
    command = [sys.executable, "-I", "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ours | {"lmdb._envid", "numpy.ma"} <= set(done.stdout.split())


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush\n")
    file.chmod(0o600)
    assert read_secret(str(file)) == "hush"
    file.chmod(0o640)
    with pytest.raises(BadConfig, match="others may read it"):
        read_secret(str(file))
    link = tmp_path / "link"
    link.symlink_to(file)
    for path in (link, tmp_path, tmp_path / "none"):
        with pytest.raises(BadConfig):
            read_secret(str(path))
    file.chmod(0o600)
    for data in (b"", b"\xff", b"x" * 70_000):
        file.write_bytes(data)
        with pytest.raises(BadConfig):
            read_secret(str(file))
    os.unlink(file)
