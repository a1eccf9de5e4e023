"""What the documents point at is there: tests, files, commands, each row's defence or its lack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from requirements_table import ROOT, THREATS, names_of_tests

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")])
TESTS = names_of_tests()
MACHINES = re.compile(r"(?<![\w.])/(root|home)/(?!\.\.\.)\w|\.internal\b|localhost:\d")


def rows(page: str) -> list[list[str]]:
    """Give the cells of each row of each table, without heads and rules."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    assert named <= TESTS, "a page names a test that is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|scripts|benchmarks|docs)/[\w./-]+)`", page.read_text())
    exact = [name for name in named if "NAME" not in name]
    assert [name for name in exact if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_shows_a_folder_of_somebodys_machine(page: Path) -> None:
    assert MACHINES.findall(page.read_text()) == []


def test_each_row_of_the_threat_model_has_a_test_or_names_what_is_left() -> None:
    found = rows(THREATS.read_text())
    bare = []
    for cells in found:
        if cells[0] in {"who, and how", "ID"}:
            continue
        shown, residual = cells[-2], cells[-1]
        assert "test_" in shown or shown == "-", f"{cells[0]}: {shown} is no test"
        if "`test_" not in shown and "*residual*" not in residual:
            bare.append(cells[0])
    assert bare == []


def test_the_threat_model_has_every_ruling_once() -> None:
    first = [cells[0] for cells in rows(THREATS.read_text())]
    assert [cell for cell in first if cell.startswith("SR-")] == [f"SR-{n}" for n in range(1, 27)]


def test_every_decision_is_listed_once_and_numbered_without_a_hole() -> None:
    folder = ROOT / "docs" / "adr"
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name[:4] for name in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text()) == pages
