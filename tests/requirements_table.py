"""Which requirement and ruling is met by which test: two pages of `docs/`, kept true.

`requirements.md` is half written by hand (what an ID asks, what is left to do) and half read
from the tests: a test whose function name bears an ID, `test_REC_1_a_flipped_bit_is_found`,
shows it. From the two follows the state: *met* (shown, nothing left), *partly* (shown,
something left), *open* (not shown, so something must be left). `threat-model.md` gets the
tests of its rulings in the same way.

Run as a program it writes both anew; a test compares pages and tests.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "requirements.md"
THREATS = ROOT / "docs" / "threat-model.md"
GROUPS = ["SR", "MON", "DET", "DEC", "ACT", "VER", "RST", "DRL", "REC", "REP", "HMI", "SEC", "REL"]
NOTHING = "-"
"""What stands in a cell that holds nothing."""
_ID = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(GROUPS)})_(\d+)(?![0-9])")
_ROW = re.compile(r"^\| (?P<id>[A-Z]+-\d+) \| (?P<asks>.*?) \| .*? \| .*? \| (?P<left>.*?) \|$")
_RULING = re.compile(
    r"^\| (?P<id>SR-\d+) \| (?P<ruling>.*?) \| (?P<defence>.*?) \| .*? \| (?P<residual>.*?) \|$"
)
_COUNTS = re.compile(r"^Of \d+ .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement or ruling."""

    id: str
    """As `REC-1`."""
    asks: str
    """What it asks, in short; written by hand."""
    left: str
    """What is left to do and who does it; written by hand, `-` for nothing."""

    def state(self, tests: list[str]) -> str:
        """Tell met, partly or open."""
        if not tests:
            return "open"
        return "met" if self.left == NOTHING else "partly"

    def line(self, tests: list[str]) -> str:
        """Write the row."""
        return f"| {self.id} | {self.asks} | {self.state(tests)} | {_cell(tests)} | {self.left} |"


def _cell(tests: list[str]) -> str:
    return "<br>".join(f"`{name}`" for name in tests) or NOTHING


def ids_of(name: str) -> set[str]:
    """Give the IDs that a test's name bears."""
    return {f"{group}-{number}" for group, number in _ID.findall(name.replace("__", "_"))}


def names_of_tests() -> set[str]:
    """Give every test that pytest would run, and those of the suites that it runs for plugins."""
    names = set()
    for path in [*(ROOT / "tests").rglob("test_*.py"), ROOT / "src" / "offswitch" / "testing.py"]:
        tree = ast.parse(path.read_text(), str(path))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for body in (tree.body, *(one.body for one in classes)):
            functions = (n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {one.name for one in functions if one.name.startswith("test_")}
    return names


def shown_by() -> dict[str, list[str]]:
    """Give for each ID the names of the tests that bear it, sorted."""
    found: dict[str, set[str]] = {}
    for name in names_of_tests():
        for one in ids_of(name):
            found.setdefault(one, set()).add(name)
    return {one: sorted(names) for one, names in found.items()}


def rows_of(page: str) -> list[Row]:
    """Read what was written by hand."""
    matches = (_ROW.match(line) for line in page.splitlines())
    return [Row(found["id"], found["asks"], found["left"]) for found in matches if found]


def page_with(page: str, tests: dict[str, list[str]]) -> str:
    """Give the page with its tests and states as they are now."""
    rows = {row.id: row for row in rows_of(page)}
    lines = []
    for line in page.splitlines():
        found = _ROW.match(line)
        lines.append(rows[found["id"]].line(tests.get(found["id"], [])) if found else line)
    states = [row.state(tests.get(row.id, [])) for row in rows.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("met", "partly", "open"))
    return _COUNTS.sub(f"Of {len(rows)} IDs: {counts}.", "\n".join(lines) + "\n", count=1)


def threats_with(page: str, tests: dict[str, list[str]]) -> str:
    """Give the threat model with the tests of its rulings as they are now."""
    lines = []
    for line in page.splitlines():
        found = _RULING.match(line)
        if found:
            one, ruling, defence, residual = found.groups()
            cell = _cell(tests.get(one, []))
            lines.append(f"| {one} | {ruling} | {defence} | {cell} | {residual} |")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write both pages anew."""
    tests = shown_by()
    for path, write in ((PAGE, page_with), (THREATS, threats_with)):
        before = path.read_text()
        after = write(before, tests)
        path.write_text(after)
        sys.stdout.write(f"{path.name}: {'unchanged' if before == after else 'written anew'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
