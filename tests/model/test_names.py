"""Names, labels, levels and kinds of errors: closed vocabularies that hostile input meets first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch import errors
from offswitch.errors import Internal, OffswitchError, Usage, from_kind
from offswitch.model.level import Level, parse_level
from offswitch.model.target import MAX_NAME, check_label, check_name
from values import label_keys, label_values, names

HOSTILE = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", " a", "a ", "a b", "a\n",
    "a\r", "a\0b", "a\x1b[2J", "é", "\u0430", "a\u202eb", "\ud800", "a=b", "a%2Fb", "-a", "--all",
    "all", "all/a", "a" * (MAX_NAME + 1), "a/" * 70 + "a", "a\\b", "a'b", 'a"b', "a;b", "$HOME",
    "*", "~", "a\tb", "a\u00a0b", "①",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_name_is_refused_and_shown_harmlessly(name: str) -> None:
    with pytest.raises(Usage) as refused:
        check_name(name)
    assert refused.value.message.isprintable()
    assert refused.value.hint


@given(names)
def test_a_lawful_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


@given(st.text(max_size=40))
def test_a_name_that_is_taken_makes_a_file_name(name: str) -> None:
    try:
        check_name(name)
    except Usage:
        return
    file = name.replace("/", "%2F") + ".json.new"
    assert len(file.encode()) <= 255
    assert "/" not in file
    assert file.isascii()
    assert not name.startswith("-")


def test_the_longest_name_with_the_most_slashes_still_makes_a_file_name() -> None:
    deepest = "/".join("a" * 50)
    assert len(check_name(deepest).replace("/", "%2F") + ".json.new") <= 255
    assert check_name("a" * MAX_NAME)


@given(label_keys, label_values)
def test_a_lawful_label_is_taken(key: str, value: str) -> None:
    assert check_label(key, value) == (key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "a"), ("Tenant", "a"), ("tenant ", "a"), ("1a", "a"), ("a=b", "a"), ("a/b", "a"),
        ("é", "a"), ("a\n", "a"), ("a" * 64, "a"), ("tenant", ""), ("tenant", "a b"),
        ("tenant", "a\n"), ("tenant", "a=b"), ("tenant", "é"), ("tenant", "a" * 201),
        ("tenant", "\x1b[31m"), ("tenant", "\ud800"), ("tenant", "*"),
    ],
)  # fmt: skip
def test_what_is_no_label_is_refused(key: str, value: str) -> None:
    with pytest.raises(Usage) as refused:
        check_label(key, value)
    assert refused.value.message.isprintable()


def test_levels_are_a_ladder() -> None:
    labels = ["restrict", "drain", "freeze", "kill", "poweroff"]
    assert [level.label for level in sorted(Level)] == labels
    assert [parse_level(label) for label in labels] == list(Level)


@pytest.mark.parametrize("text", ["", "KILL", "kill ", "0", "4", "stop", "off", "\n", "k\u0131ll"])
def test_what_is_no_level_is_refused_with_the_five(text: str) -> None:
    with pytest.raises(Usage, match="unknown level") as refused:
        parse_level(text)
    assert "restrict, drain, freeze, kill, poweroff" in refused.value.hint


def test_every_kind_comes_back_as_the_error_that_it_was() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if name in {"OffswitchError", "from_kind"}:
            continue
        again = from_kind(kind.kind, "what happened", "what to do")
        assert type(again) is kind
        assert again.as_dict() == {
            "kind": kind.kind,
            "message": "what happened",
            "hint": "what to do",
        }
        assert again.exit_code == kind.exit_code


def test_the_kinds_are_those_that_were_promised() -> None:
    promised = [
        "usage",
        "config",
        "not-found",
        "ambiguous",
        "latched",
        "refused",
        "unreachable",
        "unconfirmed",
        "unsupported",
        "busy",
        "storage",
        "corrupt",
        "timeout",
        "internal",
    ]
    kinds = [
        cls.kind for cls in OffswitchError.__subclasses__() if cls.__module__ == errors.__name__
    ]
    assert sorted(kinds) == sorted(promised)


def test_an_unknown_kind_is_internal_and_no_plugin_takes_one_over() -> None:
    class Stolen(OffswitchError):
        kind = "stolen"
        exit_code = 0

        def __init__(self) -> None:
            super().__init__("x")

    for kind in ("stolen", "", "nonsense", "Usage"):
        error = from_kind(kind, "m")
        assert type(error) is Internal
        assert str(error) == "m"


def test_an_error_shows_its_next_step() -> None:
    assert str(Usage("no such level", "use kill")) == "no such level\n  next: use kill"
