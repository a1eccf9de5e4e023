"""People at the station: who gets in, what an admin can change, and what ends a session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from house import House
from installation import until
from offswitch.station.app import _PAGES
from offswitch.station.people.pauses import Pauses, neighbourhood

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture(scope="module")
def home(town: House) -> House:
    return town


PASSWORD = "a long enough word"


@pytest.fixture(scope="module")
def admin(home: House) -> httpx2.Client:
    return home.client()


def let_in(home: House, admin: httpx2.Client, name: str, *roles: str) -> httpx2.Client:
    """Let somebody in by a link, and give their signed-in client."""
    link = admin.post("/api/v1/people", json={"name": name, "roles": roles}).json()["link"]
    client = home.stranger()
    assert client.post(link, data={"new": PASSWORD}).status_code == 303
    client.headers["x-csrf"] = client.get("/api/v1/session").json()["csrf"]
    return client


def entries(home: House, kind: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [
            one
            for one in home.installation.entries()
            if one["kind"] == kind and what in str(one["what"])
        ]
        return bool(found)

    until(there, f"an entry {kind} of {what}")
    return found


def test_the_first_password_is_gone_from_the_disk_once_it_was_used(
    home: House, admin: httpx2.Client
) -> None:
    assert not Path(home.folder, "first").exists()
    assert "first" not in home.stranger().get("/sign-in").text


def test_a_link_lets_somebody_set_a_password_once_and_all_of_it_is_recorded(
    home: House, admin: httpx2.Client
) -> None:
    link = admin.post("/api/v1/people", json={"name": "ada", "roles": ["auditor"]}).json()["link"]
    visitor = home.stranger()
    assert "ada" in visitor.get(link).text
    assert visitor.post(link, data={"new": "short"}).status_code == 400
    assert visitor.post(link, data={"new": PASSWORD}).status_code == 303
    assert visitor.get("/api/v1/session").json()["roles"] == ["auditor"]
    assert home.stranger().post(link, data={"new": PASSWORD}).status_code == 404
    assert home.client("ada", PASSWORD).get("/people").status_code == 200
    assert entries(home, "people", "added ada")[0]["by"] == "person:operator"
    assert entries(home, "people", "password")[-1]["by"] == "person:ada"


def test_SEC_5_an_admin_gives_no_one_the_role_safety(home: House, admin: httpx2.Client) -> None:
    for ask in (
        admin.post("/api/v1/people", json={"name": "eve", "roles": ["safety"]}),
        admin.patch("/api/v1/people/operator", json={"roles": ["safety", "admin", "operator"]}),
        admin.post("/people", data={"name": "eve", "role": "safety"}),
        admin.post("/people/operator/roles", data={"role": ["safety", "admin", "operator"]}),
    ):
        assert ask.status_code in {400, 422}, ask.text
    powers = admin.get("/api/v1/session").json()["powers"]
    assert "reset" not in powers
    assert "bypass" not in powers
    assert "offswitch people add NAME --role safety" in admin.get("/people").text


def test_the_last_who_can_stop_and_the_last_who_lets_others_in_stay(
    home: House, admin: httpx2.Client
) -> None:
    assert admin.delete("/api/v1/people/operator").status_code == 409
    assert admin.patch("/api/v1/people/operator", json={"roles": ["admin"]}).status_code == 409
    assert admin.patch("/api/v1/people/operator", json={"roles": ["operator"]}).status_code == 409


def test_other_roles_end_the_sessions_and_a_removed_person_is_nobody(
    home: House, admin: httpx2.Client
) -> None:
    bob = let_in(home, admin, "bob", "operator")
    assert bob.get("/api/v1/people").status_code == 200
    assert admin.patch("/api/v1/people/bob", json={"roles": ["auditor"]}).status_code == 200
    assert bob.get("/api/v1/session").status_code == 401
    bob = home.client("bob", PASSWORD)
    assert bob.post("/api/v1/people", json={"name": "x", "roles": []}).status_code == 403
    assert entries(home, "refused", "people")[-1]["by"] == "person:bob"
    assert admin.delete("/api/v1/people/bob").status_code == 204
    assert bob.get("/api/v1/session").status_code == 401


def test_a_new_password_ends_every_other_session_and_gives_this_one_a_new_key(
    home: House, admin: httpx2.Client
) -> None:
    here = let_in(home, admin, "grace", "operator")
    there = home.client("grace", PASSWORD)
    before = here.cookies["offswitch"]
    assert here.post("/me/password", data={"old": "wrong", "new": "x" * 12}).status_code == 400
    got = here.post("/me/password", data={"old": PASSWORD, "new": "another long word"})
    assert got.status_code == 303
    assert here.cookies["offswitch"] != before
    assert here.get("/api/v1/session").status_code == 200
    assert there.get("/api/v1/session").status_code == 401


def test_sessions_are_listed_and_any_other_can_be_ended(home: House, admin: httpx2.Client) -> None:
    here = let_in(home, admin, "hedy", "operator")
    there = home.client("hedy", PASSWORD)
    listed = here.get("/api/v1/sessions").json()["sessions"]
    assert [one["this"] for one in listed].count(True) == 1
    other = next(one["id"] for one in listed if not one["this"])
    assert here.get("/me").text.count("/end") == 1
    assert here.delete(f"/api/v1/sessions/{other}").status_code == 204
    assert there.get("/api/v1/session").status_code == 401
    assert admin.delete(f"/api/v1/sessions/{listed[0]['id']}").status_code == 404


def test_a_key_that_was_set_beforehand_is_never_the_session_that_begins(home: House) -> None:
    visitor = home.stranger()
    visitor.cookies.set("offswitch", "planted")
    name, password = home.first
    got = visitor.post("/sign-in", data={"name": name, "password": password})
    given = got.headers["set-cookie"]
    assert "planted" not in given
    assert "HttpOnly" in given
    assert "SameSite=strict" in given
    planted = home.stranger()
    planted.cookies.set("offswitch", "planted")
    assert planted.get("/api/v1/session").status_code == 401


OPEN = {"/stop", "/sign-in", "/sign-in/passkey", "/sign-in/passkey/ask", "/invited/x"}
"""What needs no session's token: STOP, and what is asked before there is a session."""


def test_no_form_of_any_page_is_taken_without_its_sessions_token_or_from_another_site(
    home: House, admin: httpx2.Client
) -> None:
    before = admin.get("/api/v1/people").json()["people"]
    forms = {
        re.sub(r"\{.*?\}", "x", route.path)
        for router in _PAGES
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in route.methods
    }
    asked = 0
    for form in sorted(forms - OPEN):
        if form.startswith(("/d/", "/hooks/", "/chat/")):  # these bring a key of their own
            continue
        for headers in ({"x-csrf": ""}, {"x-csrf": "forged"}, {"sec-fetch-site": "cross-site"}):
            data = {"name": "mallory", "role": "admin", "scope": "/"}
            got = admin.post(form, data=data, headers=headers)
            asked += 1
            assert got.status_code == 403, (form, headers, got.status_code)
    assert asked > 30
    for form in OPEN - {"/stop"}:
        got = admin.post(form, data={}, headers={"sec-fetch-site": "cross-site"})
        assert got.status_code in {403, 422} or form.endswith("/ask"), form
    assert admin.get("/api/v1/people").json()["people"][0]["roles"] == before[0]["roles"]


def test_a_stop_from_another_site_is_refused_and_from_an_old_page_obeyed(
    home: House, admin: httpx2.Client
) -> None:
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        got = admin.post("/stop", data={"scope": "never"}, headers=headers)
        assert got.status_code == 403
    got = admin.post("/stop", data={"scope": "old"}, headers={"x-csrf": "of yesterday"})
    assert got.status_code == 303
    scopes = [one["scope"] for one in home.installation.status()["latched"]]
    assert "old" in scopes
    assert "never" not in scopes


def test_every_form_of_every_page_bears_the_token_but_stop(
    home: House, admin: httpx2.Client
) -> None:
    admin.post("/api/v1/tokens", json={"name": "lists", "scope": "/"})
    for page in ("/", "/people", "/me", "/devices"):
        for form in re.findall(r"<form.*?</form>", admin.get(page).text, re.DOTALL):
            if 'method="post"' in form:
                assert ('name="csrf"' in form) != ('action="/stop"' in form), form


def test_pauses_grow_are_bounded_and_forgotten() -> None:
    pauses, second = Pauses(), 1_000_000
    waits = []
    for _ in range(20):
        pauses.tried("ada", "192.0.2.1", 0)
        waits.append(pauses.wait_us("ada", "192.0.2.1", 0) // second)
    assert waits[:6] == [0, 0, 1, 2, 4, 8]
    assert max(waits) == 300
    assert pauses.wait_us("bob", "192.0.2.1", 0) == 60 * second, "the address waits, too"
    assert pauses.wait_us("ada", "198.51.100.7", 0) == 10 * second, "and a little the name"
    assert pauses.wait_us("ada", "192.0.2.1", 3601 * second) == 0
    for number in range(10_000):
        pauses.tried(f"n{number}", f"10.0.{number >> 8}.{number & 255}", 0)
    assert all(len(kept) <= 4096 for kept in pauses._tries.values())


def test_who_came_from_there_before_waits_for_their_own_mistakes_only() -> None:
    pauses, second = Pauses(), 1_000_000
    pauses.tried("ada", "192.0.2.1", 0)
    pauses.passed("ada", "192.0.2.1", 0)
    for number in range(100):
        pauses.tried("ada", f"198.51.100.{number}", second)
        pauses.tried("eve", "192.0.2.1", second)
    assert pauses.wait_us("ada", "192.0.2.1", second) == 0
    for _ in range(50):
        pauses.tried("ada", "192.0.2.1", second)
    assert pauses.wait_us("ada", "192.0.2.1", second) == 5 * second


def test_an_address_is_what_one_neighbour_has() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") == "2001:db8::"
    assert neighbourhood("::ffff:192.0.2.1") == "192.0.2.1"
    assert neighbourhood("garbled" * 100) == ("garbled" * 100)[:64]


def test_wrong_passwords_are_slowed_down_and_recorded_and_stop_nobody_who_was_there(
    home: House, admin: httpx2.Client
) -> None:
    operator = home.client()
    for _ in range(4):
        got = home.stranger().post("/sign-in", data={"name": "nobody", "password": "x"})
    assert got.status_code == 429
    assert int(got.headers["retry-after"]) >= 1
    assert entries(home, "refused", "sign-in")
    assert home.client().get("/").status_code == 200, "who was here before still comes in"
    assert operator.post("/stop", data={"scope": "aside"}).status_code == 303
    assert entries(home, "people", "signed in")[0]["by"] == "person:operator"
