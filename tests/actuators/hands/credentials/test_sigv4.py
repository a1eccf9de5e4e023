"""Signature Version 4 by AWS's published examples; botocore checks it in tests/peers."""

from __future__ import annotations

import pytest

from offswitch.actuators.hands.credentials.aws.sigv4 import Keys, Scope, keys_of, signed
from offswitch.errors import BadConfig

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TIME_S = 1440938160  # 2015-08-30 12:36:00 UTC
SUITE = Scope("us-east-1", "service")


@pytest.mark.parametrize(
    ("method", "url", "scope", "body", "headers", "known"),
    [
        (
            "GET",
            "https://example.amazonaws.com/",
            SUITE,
            b"",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            SUITE,
            b"",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            SUITE,
            b"Param1=value1",
            {"Content-Type": "application/x-www-form-urlencoded"},
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "GET",
            "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
            Scope("us-east-1", "iam"),
            b"",
            {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
    ids=["vanilla", "query", "form", "iam"],
)
def test_the_published_examples_are_signed_as_they_say(
    method: str, url: str, scope: Scope, body: bytes, headers: dict[str, str], known: str
) -> None:
    made = signed(KEYS, scope, method, url, body, TIME_S, headers)
    assert made["authorization"].endswith(f"Signature={known}")
    assert made["x-amz-date"] == "20150830T123600Z"


def test_a_port_of_its_own_is_part_of_the_host() -> None:
    made = signed(KEYS, SUITE, "GET", "http://127.0.0.1:5000/", b"", TIME_S)
    assert made["host"] == "127.0.0.1:5000"
    assert signed(KEYS, SUITE, "GET", "https://[::1]:443/", b"", TIME_S)["host"] == "[::1]"


def test_a_session_shows_its_token_and_signs_it() -> None:
    keys = Keys("ASIA", "secret", "the token")
    made = signed(keys, SUITE, "GET", "https://example.amazonaws.com/", b"", TIME_S)
    assert made["x-amz-security-token"] == "the token"
    assert "host;x-amz-date;x-amz-security-token" in made["authorization"]


def test_credentials_are_read_as_everybody_has_them() -> None:
    text = (
        "# mine\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=a=b=\n\n[b]\n"
        "aws_session_token=no\n"
    )
    assert keys_of(text, "secret_file") == Keys("AKIA1", "a=b=", "")


def test_SR_4_neither_a_repr_nor_an_error_shows_a_secret() -> None:
    assert "secret" not in repr(Keys("AKIA", "secret", "secret"))
    with pytest.raises(BadConfig) as raised:
        keys_of("aws_access_key_id=AKIA\nsecret = hush", "secret_file")
    assert "hush" not in str(raised.value)
    assert "aws_secret_access_key" in str(raised.value)
