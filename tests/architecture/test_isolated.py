"""Every Python that we start is isolated: nothing planted where it works is imported (SR-1)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "offswitch"


def launches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give each list or tuple that begins with this interpreter, and what follows it there."""
    for node in ast.walk(tree):
        elements = node.elts if isinstance(node, ast.List | ast.Tuple) else []
        words = [ast.unparse(element) for element in elements]
        if words[:1] == ["sys.executable"]:
            yield node.lineno, words[1] if len(words) > 1 else ""


def test_SR_1_no_python_of_ours_is_started_without_isolation() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        if where.startswith("demo/fleet"):
            continue  # what it starts are the demo's targets, under their own users
        found += [
            f"{where}:{line}"
            for line, second in launches(ast.parse(path.read_text()))
            if second != "'-I'"
        ]
    assert not found, f"without -I: {found}"


def test_SR_1_no_unit_of_ours_starts_python_without_isolation() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for match in re.finditer(r"Exec\w*=\S*python\S* (-\S+)", path.read_text()):
            found += [f"{path.name}: {match[0]}"] if match[1] != "-I" else []
    assert not found


@pytest.mark.parametrize("text", ["[sys.executable, '-m', 'x']", "(sys.executable,)"])
def test_what_is_looked_for_is_found(text: str) -> None:
    assert next(launches(ast.parse(text)))[1] != "'-I'"
