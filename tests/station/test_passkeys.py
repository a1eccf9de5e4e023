"""Passkeys in a real Chromium, with the authenticator that it simulates (WebAuthn)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from house import House
from installation import until
from offswitch.decide.authority import add_person
from offswitch.decide.passkey import read_line
from offswitch.errors import Refused
from offswitch.station.people.passkeys import SIGN_IN, Challenges

pytestmark = pytest.mark.usefixtures("as_root")

NAME, PASSWORD = "root", "secret of root"


@pytest.fixture(scope="module")
def home(sso: House) -> House:
    return sso


@pytest.fixture(scope="module")
def visit(home: House, browser: Any) -> Iterator[Any]:  # noqa: ANN401
    """Give a page of a browser with an authenticator, at http://localhost: addresses have none."""
    context = browser.new_context(base_url=f"http://localhost:{urlsplit(home.url).port}")
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    about = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": about})
    page.goto("/sign-in?to=/me")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Passkeys").wait_for()
    yield page
    context.close()


def test_a_passkey_is_registered_signs_in_and_confirms_what_the_warden_checks(
    home: House,
    visit: Any,  # noqa: ANN401
) -> None:
    page = visit
    page.get_by_label("What you call it").fill("desk")
    page.get_by_label("Your password, once more").fill("wrong, and so refused")
    page.get_by_role("button", name="Register a passkey").click()
    page.get_by_text("name or password are wrong").wait_for()
    page.get_by_label("Your password, once more").fill(PASSWORD)
    page.get_by_role("button", name="Register a passkey").click()
    page.get_by_role("rowheader", name="desk").wait_for()
    line = re.search(r"passkey:v1:[\w.:-]+", page.content())
    assert line is not None

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/")
    page.goto("/me")
    assert page.get_by_role("cell", name="passkey", exact=True).count() == 1

    # Root has the warden know it; what the browser then signs counts for this very digest.
    who, raw = read_line(line[0])
    add_person(home.installation.home, who, uid=None, keys=[], passkeys=[raw])
    page.evaluate(
        """(digest) => {
            const form = document.createElement("form");
            form.dataset.passkeyConfirm = digest;
            form.innerHTML = '<textarea name="proof"></textarea><button data-passkey>go</button>';
            form.submit = () => { form.dataset.sent = "1"; };
            document.body.append(form);
            const again = document.createElement("script");
            again.src = document.querySelector('script[src*="passkey"]').src;
            document.head.append(again);
        }""",
        "ab" * 32,
    )
    page.get_by_role("button", name="go").click()
    page.locator('form[data-sent="1"]').wait_for(state="attached")
    proof = page.locator('textarea[name="proof"]').input_value()
    ask = {"op": "prove", "about": "test", "people": 1, "role": "safety", "proofs": [proof]}
    right = home.installation.ask({**ask, "digest": "ab" * 32})
    assert right["people"] == [who], right
    wrong = home.installation.ask({**ask, "digest": "cd" * 32})
    assert wrong["people"] == []
    assert wrong["refused"]


def test_a_challenge_is_ours_fresh_for_one_purpose_and_taken_once() -> None:
    ours, second = Challenges(), 1_000_000
    good = ours.make(SIGN_IN, 1000 * second)
    with pytest.raises(Refused):
        ours.take("register:ada", good, 1001 * second)
    with pytest.raises(Refused):
        ours.take(SIGN_IN, good, 1301 * second)
    with pytest.raises(Refused):
        ours.take(SIGN_IN, good, 999 * second)
    with pytest.raises(Refused):
        Challenges().take(SIGN_IN, good, 1001 * second)
    ours.take(SIGN_IN, good, 1001 * second)
    with pytest.raises(Refused):
        ours.take(SIGN_IN, good, 1001 * second)
    for wrong in (b"", b"x" * 32, good[:31], bytes([good[0] ^ 1]) + good[1:]):
        with pytest.raises(Refused):
            ours.take(SIGN_IN, wrong, 1001 * second)


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "passkey {}",
        "passkey []",
        "passkey {",
        'passkey {"clientDataJSON": "e30"}',
        "code ada 1",
    ],
)
def test_a_garbled_word_of_a_passkey_signs_nobody_in(home: House, proof: str) -> None:
    got = home.stranger().post("/sign-in/passkey", json={"proof": proof})
    assert got.status_code in {400, 403}, got.text
    assert "set-cookie" not in got.headers


def test_a_refused_passkey_is_recorded(home: House) -> None:
    def recorded() -> bool:
        home.stranger().post("/sign-in/passkey", json={"proof": "passkey {}"})
        found = home.installation.entries()
        return any(one["kind"] == "refused" and "passkey" in str(one["why"]) for one in found)

    until(recorded, "the refusal")
