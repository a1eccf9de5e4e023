"""The page of requirements says what the tests show: no more, and no less."""

from __future__ import annotations

from collections import Counter

import pytest

from requirements_table import (
    NOTHING,
    PAGE,
    THREATS,
    ids_of,
    page_with,
    rows_of,
    shown_by,
    threats_with,
)

SHOWN = shown_by()
NUMBERS = {"SR": 26, "MON": 6, "DET": 7, "DEC": 8, "ACT": 13, "VER": 6, "RST": 8}
NUMBERS |= {"DRL": 9, "REC": 6, "REP": 6, "HMI": 9, "SEC": 8, "REL": 7}
THE_SPINE = {
    "SR": (1, 2, 3, 7, 8, 9, 11, 14, 16, 18, 21, 22),
    "MON": (2,),
    "DET": (1, 3, 5),
    "DEC": (1, 2, 4),
    "ACT": (1, 4, 6, 7, 8, 12),
    "VER": (2, 3, 4),
    "RST": (1, 2, 3),
    "REC": (1, 2, 3),
    "SEC": (3, 6, 8),
}
"""What version 0.1 promises to show."""


def test_the_page_is_what_the_tests_show() -> None:
    page = PAGE.read_text()
    assert page == page_with(page, SHOWN), "run scripts/requirements-table"
    threats = THREATS.read_text()
    assert threats == threats_with(threats, SHOWN), "run scripts/requirements-table"


def test_every_requirement_and_ruling_stands_on_the_page_once() -> None:
    wanted = [f"{group}-{n}" for group, last in NUMBERS.items() for n in range(1, last + 1)]
    assert Counter(row.id for row in rows_of(PAGE.read_text())) == Counter(wanted)


def test_no_test_bears_an_id_that_does_not_exist() -> None:
    assert SHOWN.keys() <= {row.id for row in rows_of(PAGE.read_text())}


def test_what_is_open_says_what_is_left_and_who_does_it() -> None:
    tests = SHOWN
    silent = [row.id for row in rows_of(PAGE.read_text()) if row.id not in tests]
    left = {row.id: row.left for row in rows_of(PAGE.read_text())}
    assert [one for one in silent if left[one] == NOTHING] == []


@pytest.mark.parametrize("one", [f"{group}-{n}" for group in THE_SPINE for n in THE_SPINE[group]])
def test_what_this_version_promises_is_shown(one: str) -> None:
    assert SHOWN.get(one), f"no test bears {one}"


def test_a_claim_that_nothing_shows_is_found() -> None:
    page = "Of 0 IDs.\n| REC-1 | all of it | met | `test_REC_1_it` | - |\n"
    assert page_with(page, {"REC-1": ["test_REC_1_it"]}).endswith(page.split("\n", 1)[1])
    assert "| REC-1 | all of it | open | - | - |" in page_with(page, {})
    assert page_with(page, {}).startswith("Of 1 IDs: 0 met, 0 partly, 1 open.\n")


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_REC_1_a_bit", {"REC-1"}),
        ("test_SR_2_and_RST_4", {"SR-2", "RST-4"}),
        ("test_ACT_12", {"ACT-12"}),
        ("test_SR_21", {"SR-21"}),
        ("test_x_DIRECT_1", set()),
        ("test_words_rec_1", set()),
    ],
)
def test_names_bear_ids(name: str, ids: set[str]) -> None:
    assert ids_of(name) == ids
