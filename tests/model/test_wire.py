"""The one spelling: RFC 8785 for strings and integers, and nothing but that is read."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.errors import Corrupt
from offswitch.model.wire import canonical, digest, parse
from values import whole

values = st.recursive(
    st.integers(-(2**53) + 1, 2**53 - 1) | whole,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(whole, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_was_written_is_read_again(value: object) -> None:
    data = canonical(value)
    assert parse(data) == value
    assert canonical(parse(data)) == data
    assert json.loads(data) == value


@given(st.dictionaries(whole, st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_keys_says_nothing(value: dict[str, int]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical(backwards) == canonical(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        # RFC 8785, section 3.2.2.2: the string of the example there, and its spelling
        (
            '\u20ac$\u000f\nA\'B"\\\\"/',
            b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"',
        ),
        # the same section: two-letter escapes, then \u00xx in lower case, and nothing else
        ("\b\t\n\f\r", b'"\\b\\t\\n\\f\\r"'),
        ("\x00\x1f\x7f", b'"\\u0000\\u001f\x7f"'),
        ("/\u2028\u2029", '"/\u2028\u2029"'.encode()),
        ("\U0001f600", '"\U0001f600"'.encode()),
        # section 3.2.2.1 and 3.2.4: no blanks, UTF-8
        ({"a": [1, "b", {}], "b": []}, b'{"a":[1,"b",{}],"b":[]}'),
        (0, b"0"),
        (-1, b"-1"),
        (2**53 - 1, b"9007199254740991"),
        (-(2**53) + 1, b"-9007199254740991"),
    ],
)
def test_rfc_8785_spellings(value: object, wanted: bytes) -> None:
    assert canonical(value) == wanted
    assert parse(wanted) == value


def test_rfc_8785_section_3_2_3_orders_keys_by_utf_16_code_units() -> None:
    """The RFC's own example: in UTF-8 order the emoji would come after the Hebrew letter."""
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    said = list(json.loads(canonical(value)).values())
    assert said == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


@pytest.mark.parametrize(
    "value",
    [
        1.0, 1.5, float("nan"), float("inf"), True, False, None, 2**53, -(2**53), 10**400,
        "\ud800", {"\udfff": 1}, {1: "a"}, {None: 1}, b"bytes", {1, 2}, object(),
        [[True]], {"a": {"b": [None]}}, {"a": 0.0},
    ],
)  # fmt: skip
def test_what_has_no_canonical_spelling_is_refused(value: object) -> None:
    with pytest.raises(Corrupt):
        canonical(value)


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(Corrupt, match=r"\$\.a\.b\[1\]"):
        canonical({"a": {"b": [1, None]}})


@pytest.mark.parametrize(
    "data",
    [
        b"", b" 1", b"1 ", b"01", b"-0", b"+1", b"1.0", b"1e2", b"1E2", b"NaN", b"Infinity",
        b"true", b"null", b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1,}', b"[1,]",
        b'"\\u0041"', b'"\\/"', b'"\\u000A"', b'"\\u001F"', b'"\\ud83d\\ude00"', b'"\\ud800"',
        b'"\\u007f"', b'"\xed\xa0\x80"', b'"\xff"', b'\xef\xbb\xbf"a"', '"a"'.encode("utf-16"),
        b"'a'", b'"a', b"9007199254740992", b"9" * 5000, b"[" * 100_000, b"[" * 66 + b"]" * 66,
        b'{"a":1}\n', b'{"a":1}{"a":1}', b"\x00",
    ],
)  # fmt: skip
def test_other_spellings_of_the_same_thing_are_refused(data: bytes) -> None:
    """Two spellings of one order would have two digests: only one is read."""
    with pytest.raises(Corrupt):
        parse(data)


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        value = parse(data)
    except Corrupt:
        return
    assert canonical(value) == data


def test_what_is_nested_too_deeply_or_in_itself_is_refused() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    circle: list[object] = []
    circle.append(circle)
    for value in (deep, circle):
        with pytest.raises(Corrupt):
            canonical(value)
    assert parse(b"[" * 65 + b"]" * 65)
    with pytest.raises(Corrupt):
        parse(b"[" * 990 + b"]" * 990)


def test_a_digest_is_sha_256_over_its_domain_and_the_spelling() -> None:
    by_hand = hashlib.sha256(b'offswitch/order/v1\x00{"a":1}').hexdigest()
    assert digest("order", {"a": 1}) == by_hand
    assert digest("entry", {"a": 1}) != by_hand, "an order is never taken for an entry"
