"""The keeper stays small enough to be read at a sitting (SEC-6)."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

from offswitch.warden import keeper

ROOM = Path(keeper.__path__[0])
OWN = ("__main__.py", "keeper.py", "door.py", "orders.py", "grip.py")
MOST = 500


def statements(path: Path) -> int:
    """Count the lines that do something: no blanks, comments, docstrings or imports."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        idle = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not idle:
            if isinstance(node, ast.Import | ast.ImportFrom):
                continue
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) else node.end_lineno
            lines.update(range(node.lineno, max(node.lineno, last or 0) + 1))
    text = path.read_text().splitlines()
    return sum(1 for number in lines if text[number - 1].strip(" )]},:\t"))


def test_SEC_6_the_keeper_is_minimal() -> None:
    assert len((ROOM / "keeper.py").read_text().splitlines()) <= MOST
    assert sum(statements(ROOM / name) for name in OWN) <= MOST


def test_SEC_6_the_keeper_is_standard_library_only_and_shares_no_work_with_the_warden() -> None:
    program = "import sys, offswitch.warden.keeper.keeper; print(*sorted(sys.modules))"
    argv = [sys.executable, "-I", "-c", program]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    own = {name for name in loaded if name.startswith("offswitch")}
    outside = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert {name for name in outside if not name.startswith("_")} <= {"offswitch", "sitecustomize"}
    wardens = (
        "daemon",
        "stopping",
        "starting",
        "loop",
        "recording",
        "door.server",
        "reset",
        "latch.store",
    )
    for name in wardens:
        assert importlib.util.find_spec(f"offswitch.warden.{name}"), "it is there, and elsewhere"
        assert f"offswitch.warden.{name}" not in own
    assert not {name for name in own if ".actuators" in name or ".ledger" in name}
