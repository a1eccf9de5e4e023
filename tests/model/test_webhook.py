"""Standard Webhooks: the published example, and whoever shows a signature of another key."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from offswitch.model.webhook import signature, signed_by, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIME, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
KNOWN = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_of_the_standard_is_signed_as_it_says() -> None:
    assert signature(SECRET, ID, TIME, BODY) == KNOWN
    assert signed_headers(SECRET, ID, TIME, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": str(TIME),
        "webhook-signature": KNOWN,
    }


def test_one_right_signature_among_several_is_enough() -> None:
    assert signed_by(SECRET, ID, TIME, BODY, f"v1,AAAA v2,odd {KNOWN}")


@pytest.mark.parametrize(
    "shown", ["", "v1,", KNOWN[3:], KNOWN + "=", "ü", signature("other", ID, TIME, BODY)]
)
def test_any_other_signature_is_none(shown: str) -> None:
    assert not signed_by(SECRET, ID, TIME, BODY, shown)


def test_a_secret_with_nothing_behind_its_prefix_is_no_empty_key() -> None:
    by_anybody = hmac.new(b"", f"{ID}.{TIME}.".encode() + BODY, hashlib.sha256).digest()
    shown = "v1," + base64.b64encode(by_anybody).decode()
    assert not signed_by("whsec_", ID, TIME, BODY, shown)


def test_what_was_changed_on_the_way_is_not_signed() -> None:
    assert not signed_by(SECRET, ID, TIME, BODY + b" ", KNOWN)
    assert not signed_by(SECRET, ID, TIME + 1, BODY, KNOWN)
    assert not signed_by(SECRET, ID + "x", TIME, BODY, KNOWN)
