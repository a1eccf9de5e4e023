"""Signing in at somebody else's, against a small real provider on loopback."""

from __future__ import annotations

import time

import httpx2
import pytest
from joserfc.jwk import RSAKey

from house import House
from installation import until
from offswitch.decide.authority import add_person
from oidc_provider import OidcProvider

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture(scope="module")
def home(sso: House) -> House:
    return sso


@pytest.fixture(autouse=True)
def _as_it_was(provider: OidcProvider) -> None:
    provider.claims = {"sub": "s-1", "preferred_username": "ada", "groups": ["ops"]}
    provider.wrong = {}
    provider.signs_with = provider.key
    provider.hangs.clear()


def arrive(
    home: House, visitor: httpx2.Client | None = None
) -> tuple[httpx2.Response, httpx2.Client]:
    """Go to the provider and come back, as a browser does."""
    visitor = visitor or home.stranger()
    there = visitor.get("/sign-in/sso?to=/people")
    assert there.status_code == 303, there.text
    back = httpx2.get(there.headers["location"])
    assert back.status_code == 302
    return visitor.get(back.headers["location"]), visitor


def test_who_the_provider_signs_in_has_the_roles_of_their_groups(
    home: House, provider: OidcProvider
) -> None:
    assert "Sign in with your organisation" in home.stranger().get("/sign-in").text
    got, ada = arrive(home)
    assert got.status_code == 200, got.text
    assert 'content="0;url=/people"' in got.text
    said = ada.get("/api/v1/session").json()
    assert (said["name"], said["roles"]) == ("ada", ["operator"])
    provider.claims["groups"] = ["audit", "others"]
    _got, ada = arrive(home)
    assert ada.get("/api/v1/session").json()["roles"] == ["auditor"]
    provider.claims["groups"] = ["others"]
    got, nobody = arrive(home)
    assert got.status_code == 403
    assert "No group of ada has a role here" in got.text
    assert nobody.get("/api/v1/session").status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"exp": 1},
        {"iat": 1 << 40},
        {"nonce": "replayed"},
        {"azp": "another"},
        {"preferred_username": "<script>"},
        {"preferred_username": None},
    ],
)
def test_a_word_of_the_provider_that_does_not_hold_signs_nobody_in(
    home: House, provider: OidcProvider, wrong: dict[str, object]
) -> None:
    provider.wrong = wrong
    got, visitor = arrive(home)
    assert got.status_code == 403, got.text
    assert visitor.get("/api/v1/session").status_code == 401


def test_another_subject_of_a_name_that_is_taken_signs_nobody_in(
    home: House, provider: OidcProvider
) -> None:
    assert arrive(home)[0].status_code == 200
    provider.claims["sub"] = "s-2"
    got, visitor = arrive(home)
    assert got.status_code == 403, got.text
    assert "Somebody else is ada here" in got.text
    assert visitor.get("/api/v1/session").status_code == 401


def test_a_forged_signature_signs_nobody_in(home: House, provider: OidcProvider) -> None:
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    got, visitor = arrive(home)
    assert got.status_code == 403
    assert visitor.get("/api/v1/session").status_code == 401


def test_a_way_back_that_this_browser_did_not_begin_signs_nobody_in(home: House) -> None:
    victim, attacker = home.stranger(), home.stranger()
    there = attacker.get("/sign-in/sso")
    back = httpx2.get(there.headers["location"]).headers["location"]
    assert victim.get(back).status_code == 403
    assert victim.get("/api/v1/session").status_code == 401
    assert attacker.get(back).status_code == 200
    assert attacker.get(back).status_code == 403, "a code is good once"


def test_SEC_5_no_provider_makes_anybody_safety_or_takes_a_name_that_is_here(
    home: House, provider: OidcProvider
) -> None:
    provider.claims |= {"sub": "s-9", "preferred_username": "root"}
    got, _visitor = arrive(home)
    assert got.status_code == 403
    assert "Somebody else is root here" in got.text
    add_person(home.installation.home, "grace", uid=None, keys=[], totp="JBSWY3DP" * 4)
    home.installation.ask({"op": "people"})
    client = home.person("root")

    def known() -> bool:
        said = client.get("/api/v1/people").json()["confirmers"]
        return any(one["name"] == "grace" for one in said)

    until(known, "the warden knows grace")
    provider.claims |= {"sub": "s-10", "preferred_username": "grace"}
    _got, grace = arrive(home)
    assert grace.get("/api/v1/session").json()["roles"] == ["operator"]


def test_a_provider_that_hangs_or_is_gone_holds_up_nobody_else(
    home: House, provider: OidcProvider
) -> None:
    home.kill()
    home.start()  # it has forgotten what the provider said of itself
    provider.hangs.set()
    waiting = httpx2.Client(base_url=home.url, timeout=0.3)
    with pytest.raises(httpx2.TimeoutException):
        waiting.get("/sign-in/sso")
    began = time.monotonic()
    assert home.person("root").post("/stop", data={"scope": "x"}).status_code == 303
    assert time.monotonic() - began < 5
    provider.close()
    got = home.stranger().get("/sign-in/sso")
    assert got.status_code == 503
    assert "password and a passkey need no provider" in got.text
    waiting.close()
