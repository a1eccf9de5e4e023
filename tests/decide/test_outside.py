"""Orders from outside: what holds, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.decide.outside import Issuer, OutsideOrder, issuer_of, parse_outside
from offswitch.decide.sshsig import parse_key
from offswitch.errors import OffswitchError, Refused, Usage
from offswitch.model.level import Level
from offswitch.model.scope import parse_scope

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
BODY = {
    "kind": "order",
    "v": 1,
    "from": "acme",
    "scopes": ["tenant=acme", "shop/eu"],
    "level": "kill",
    "deadline_us": NOW + HOUR,
    "reason": "it wrote to our customers",
    "reference": "ACME-17",
    "installation": "here",
}


@pytest.fixture
def acme(ssh_key: Callable[[str], Path]) -> Issuer:
    line = ssh_key("acme").with_suffix(".pub").read_text()
    return Issuer("acme", (parse_key(line),), (parse_scope("tenant=acme"), parse_scope("shop")))


@pytest.fixture
def order(ssh_key: Callable[[str], Path], sign: Callable[..., str]) -> Callable[..., OutsideOrder]:
    """Make a signed order; what is given stands in it instead."""

    def make(
        key: str = "acme",
        namespace: str = "offswitch-order",
        **other: Any,  # noqa: ANN401
    ) -> OutsideOrder:
        line = json.dumps({**BODY, **{name.removesuffix("_"): v for name, v in other.items()}})
        return parse_outside(f"{line}\n{sign(ssh_key(key), line, namespace)}")

    return make


def test_DEC_8_an_order_of_one_who_is_known_about_what_is_theirs_holds(
    acme: Issuer, order: Callable[..., OutsideOrder]
) -> None:
    read = order()
    assert issuer_of(read, [acme], "here", NOW) is acme
    assert (read.scopes, read.level) == (("tenant=acme", "shop/eu"), Level.KILL)


def test_DEC_8_a_line_that_was_signed_with_its_newline_holds_too(
    acme: Issuer, ssh_key: Callable[[str], Path], sign: Callable[..., str]
) -> None:
    line = json.dumps(BODY)
    signature = sign(ssh_key("acme"), f"{line}\n", "offswitch-order")
    assert issuer_of(parse_outside(f"{line}\n{signature}"), [acme], "here", NOW)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"key": "mallory"}, "not acme's"),
        ({"namespace": "offswitch-warrant"}, "not over this order"),
        ({"from_": "other"}, "nobody of the name"),
        ({"scopes": ["shop/eu", "bank"]}, "may not ask for bank"),
        ({"scopes": ["/"]}, "may not ask for /"),
        ({"scopes": ["tenant=other"]}, "may not ask for tenant=other"),
        ({"installation": "there"}, "another installation"),
        ({"deadline_us": NOW}, "deadline is over"),
        ({"deadline_us": NOW + 400 * 24 * HOUR}, "a year"),
    ],
)
def test_DEC_8_what_does_not_hold_is_refused(
    acme: Issuer, order: Callable[..., OutsideOrder], change: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        issuer_of(order(**change), [acme], "here", NOW)


def test_DEC_8_a_signature_over_another_order_is_refused(
    acme: Issuer, ssh_key: Callable[[str], Path], sign: Callable[..., str]
) -> None:
    signature = sign(ssh_key("acme"), json.dumps(BODY), "offswitch-order")
    line = json.dumps({**BODY, "level": "poweroff"})
    with pytest.raises(Refused, match="not over this order"):
        issuer_of(parse_outside(f"{line}\n{signature}"), [acme], "here", NOW)
    for garbled in ("", signature[:-40], signature.replace("SSH", "PGP")):
        with pytest.raises(OffswitchError):
            issuer_of(parse_outside(f"{line}\n{garbled}"), [acme], "here", NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"kind": "warrant"}, {"scopes": []}, {"scopes": "shop"}, {"scopes": ["a"] * 65},
        {"level": "stop"}, {"level": None}, {"deadline_us": "soon"}, {"deadline_us": True},
        {"reason": " "}, {"reason": "x" * 2001}, {"reference": "a b"}, {"reference": ""},
        {"from": "ACME\x1b[2J"}, {"more": 1}, {"scopes": ["../x"]},
    ],
)  # fmt: skip
def test_DEC_8_odd_words_are_no_order(change: dict[str, Any]) -> None:
    with pytest.raises(Usage):
        parse_outside(json.dumps({**BODY, **change}))


def test_DEC_8_a_key_that_stands_twice_is_no_order() -> None:
    line = json.dumps(BODY).replace('"v": 1', '"v": 1, "level": "poweroff"')
    with pytest.raises(Usage):
        parse_outside(line)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*BODY, "x"]), values), st.text(max_size=200))
def test_DEC_8_whatever_is_handed_in_is_an_order_or_a_usage_error(
    other: dict[str, Any], tail: str
) -> None:
    for text in (tail, json.dumps({**BODY, **other}) + tail, json.dumps(other)):
        try:
            order = parse_outside(text)
        except Usage:
            continue
        with pytest.raises(Refused):
            issuer_of(order, [Issuer("acme", (), (parse_scope("/"),))], "here", NOW)
