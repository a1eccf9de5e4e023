"""Scopes: by path and by label, what they cover, contain and resemble."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.errors import Usage
from offswitch.model.scope import (
    EVERYTHING,
    Scope,
    nearest,
    parse_scope,
    scopes_over,
)
from offswitch.model.target import Target
from values import label_scopes, names, path_scopes, scopes, targets


def covered_by_hand(scope: str, target: Target) -> bool:
    """Decide it in another way: part by part."""
    if scope == "/":
        return True
    if "=" in scope:
        key, _, value = scope.partition("=")
        return (key, value) in target.labels.items()
    wanted, have = scope.split("/"), target.name.split("/")
    return have[: len(wanted)] == wanted


@given(scopes, targets)
def test_a_scope_covers_by_path_or_by_label_and_nothing_else(scope: Scope, target: Target) -> None:
    assert scope.covers(target) == covered_by_hand(scope.text, target)


def test_shop_eu_covers_checkout_and_not_europe() -> None:
    scope = parse_scope("shop/eu")
    assert scope.covers(Target("shop/eu"))
    assert scope.covers(Target("shop/eu/checkout"))
    for other in ("shop/europe", "shop/e", "shop", "shop/eu.1", "shop/eu-1/x", "x/shop/eu"):
        assert not scope.covers(Target(other)), other


def test_a_label_scope_covers_exactly_its_value() -> None:
    scope = parse_scope("tenant=acme")
    assert scope.covers(Target("a", {"tenant": "acme", "model": "m"}))
    assert not scope.covers(Target("a", {"tenant": "acme2"}))
    assert not scope.covers(Target("a", {"model": "acme"}))
    assert not scope.covers(Target("tenant"))
    assert not scope.covers_path("tenant=acme")


@given(scopes, scopes, targets)
def test_what_contains_a_scope_covers_all_that_it_covers(
    wide: Scope, narrow: Scope, target: Target
) -> None:
    if wide.contains(narrow) and narrow.covers(target):
        assert wide.covers(target)
    assert wide.contains(wide)
    assert EVERYTHING.contains(wide)
    if wide.contains(narrow) and narrow.contains(wide):
        assert wide == narrow


@given(path_scopes, path_scopes, path_scopes)
def test_containing_is_transitive(a: Scope, b: Scope, c: Scope) -> None:
    if a.contains(b) and b.contains(c):
        assert a.contains(c)


@given(label_scopes, path_scopes)
def test_a_label_lies_below_everything_and_below_no_path(label: Scope, path: Scope) -> None:
    assert path.contains(label) == (path == EVERYTHING)
    assert not label.contains(path)


@given(names)
def test_a_spelling_is_canonical(name: str) -> None:
    scope = parse_scope(name)
    assert scope.text == name
    assert parse_scope(f"/{name}/") == scope
    assert parse_scope(scope.text) == scope


def test_everything_has_two_spellings() -> None:
    assert parse_scope("/") is EVERYTHING
    assert parse_scope("all") is EVERYTHING


@pytest.mark.parametrize(
    "text",
    [
        "", "//", " ", "a b", "a//b", ".", "..", "a/../b", "a/.", "*", "a*", "x=", "=x", "=",
        "T=x", "tenant=a b", "tenant=a=b", "tenant=a\n", "a\n", "\ta", "a\0", "é", "\u0430",
        "\x1b[31m", "-rf", "--all", "all/x", "a" * 201, "a/" * 90 + "a", "~", "$(id)", "a;b",
        "a%2Fb", "\ud800", "\u202ea", "a\u200bb", "\u0661",
    ],
)  # fmt: skip
def test_what_is_no_scope_is_refused_with_a_next_step(text: str) -> None:
    with pytest.raises(Usage) as refused:
        parse_scope(text)
    assert refused.value.hint
    assert refused.value.message.isprintable()


@given(st.text(max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    """Whatever is typed is a scope in one canonical spelling, or a usage error."""
    try:
        scope = parse_scope(text)
    except Usage:
        return
    assert parse_scope(scope.text) == scope
    assert scope.text.isascii()
    assert scope.text.isprintable()


def test_the_nearest_names_come_first_labels_included() -> None:
    known = [
        Target("shop/eu/checkout", {"tenant": "acme"}),
        Target("shop/us/checkout"),
        Target("train/large"),
    ]
    assert nearest(parse_scope("shop/eu/chekout"), known)[0] == "shop/eu/checkout"
    assert nearest(parse_scope("tenant=acne"), known)[0] == "tenant=acme"
    assert nearest(parse_scope("shop"), [], 3) == []
    assert len(nearest(parse_scope("x"), known, 2)) == 2


def test_the_nearest_of_ten_thousand_names_is_found_among_the_likeliest() -> None:
    """Only so many are measured: the warden that asks has stops to obey meanwhile."""
    many = [Target(f"fleet/host{number}/agent") for number in range(10_000)]
    assert nearest(parse_scope("shop/checkuot"), [*many, Target("shop/checkout")])[0] == (
        "shop/checkout"
    )
    assert "fleet/host777/agent" in nearest(parse_scope("fleet/host777/agnt"), many)


@given(scopes, targets)
def test_the_scopes_over_a_target_are_those_that_cover_it(scope: Scope, target: Target) -> None:
    assert (scope.text in set(scopes_over(target))) == scope.covers(target)
