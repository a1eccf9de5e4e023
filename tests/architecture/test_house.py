"""The house style that no linter knows: sizes, and what a module says is its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "offswitch"
FILES = sorted(SOURCE.rglob("*.py"))
LONG_FILE = 500
LONG_FUNCTION = 60
REASONS: dict[str, str] = {}
"""Files beyond 500 lines, and why."""


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


TREES = {dotted(path): ast.parse(path.read_text(), str(path)) for path in FILES}


def promised(tree: ast.Module) -> set[str] | None:
    """Give what `__all__` lists; None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def taken() -> Iterator[tuple[str, str, str]]:
    """Give who takes which name from which module of ours."""
    for user, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "") in TREES:
                for name in node.names:
                    if f"{node.module}.{name.name}" not in TREES:
                        yield user, str(node.module), name.name


def test_a_file_beyond_500_lines_has_a_reason() -> None:
    sizes = {str(p.relative_to(SOURCE)): p.read_text().count("\n") for p in FILES}
    long = {name for name, lines in sizes.items() if lines > LONG_FILE}
    assert long <= REASONS.keys()
    assert set(REASONS) <= sizes.keys()


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{module}.{node.name}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION
    ]
    assert long == []


def test_a_module_lists_what_others_take_from_it() -> None:
    secret = [
        f"{user} takes {name} from {module}"
        for user, module, name in taken()
        if name not in (promised(TREES[module]) or set())
    ]
    assert secret == []


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "misc", "base"])
def test_no_file_is_named_by_what_it_is_not(word: str) -> None:
    assert [path for path in FILES if path.stem == word] == []


def test_every_file_begins_with_its_story() -> None:
    assert [module for module, tree in TREES.items() if not ast.get_docstring(tree)] == []
